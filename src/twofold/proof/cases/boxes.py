"""Cases of `scratch.boxes` against torchvision's operators and its SSD."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from twofold.proof.parity import Case, Choose, Parity, Refusal, Results, refusals
from twofold.scratch import boxes

Way = Literal["d2l", "torchvision"]
# What is compared are indices: they agree or they don't.
_EXACT = 0.0
_THRESHOLDS = (0.5, 0.25, 0.75, 0.3, 0.7, 1.0, 0.0)


def _boxes(choose: Choose, count: int, *, least: float = 0.05) -> Tensor:
    """Return `count` boxes (corners) anywhere in 0..1 and beyond, with sides of `least`..1."""
    drawn = torch.rand(count, 4, generator=choose.generator(), dtype=torch.float64)
    return torch.cat([drawn[:, :2], drawn[:, :2] + least + (1 - least) * drawn[:, 2:]], dim=1)


def _draw_boxes(choose: Choose, most: int) -> Tensor:
    """Return boxes anywhere, or on a small grid: many are then equal, touch, lie in one another or have no area."""
    count = choose.integer(0, most)
    if not choose.integer(0, 1):
        return _boxes(choose, count)
    drawn = torch.randint(0, 4, (count, 4), generator=choose.generator()).double()
    return torch.cat([drawn[:, :2], drawn[:, :2] + drawn[:, 2:]], dim=1)


def _corners(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)


# Two forms of a box


def _box_forms_case(corners: Tensor, *covers: str) -> Case:
    def read(corners: Tensor) -> Results:
        centers = boxes.corner_to_center(corners)
        return {
            "value center": centers,
            "value corner": boxes.center_to_corner(corners),
            "value there and back": boxes.center_to_corner(centers),
            "value area": boxes.area(corners),
        }

    def run(corners: Tensor) -> Results:
        return {
            "value center": ops.box_convert(corners, "xyxy", "cxcywh"),
            "value corner": ops.box_convert(corners, "cxcywh", "xyxy"),
            "value there and back": corners,
            "value area": ops.box_area(corners),
        }

    return Case({"corners": corners}, read, run, covers)


def _refused_box_forms() -> Iterator[Refusal]:
    wrong = {"three values a box": (torch.zeros(2, 3),), "five values a box": (torch.zeros(2, 5),)}
    yield from refusals(boxes.corner_to_center, lambda x: ops.box_convert(x, "xyxy", "cxcywh"), wrong)
    yield from refusals(boxes.center_to_corner, lambda x: ops.box_convert(x, "cxcywh", "xyxy"), wrong)


box_forms = Parity(
    draw=lambda choose: _box_forms_case(_draw_boxes(choose, 9)),
    edges=lambda _: [
        _box_forms_case(_corners(), "no boxes"),
        _box_forms_case(_corners((3, 4, 3, 4)), "a box of one point"),
        _box_forms_case(_corners((-9, -5, 1e4, 0.25)), "beyond the image"),
    ],
    refusals=_refused_box_forms,
    typical=lambda choose: _box_forms_case(_boxes(choose, 8732)),
)


# Intersection over union


def _overlap(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return torchvision's intersection over union, with 0 where it divides 0 by 0."""
    return ops.box_iou(boxes1, boxes2).nan_to_num(nan=0.0)


def _iou_case(boxes1: Tensor, boxes2: Tensor, *covers: str) -> Case:
    return Case({"boxes1": boxes1, "boxes2": boxes2}, boxes.iou, _overlap, covers)


def _edges_iou(choose: Choose) -> Iterator[Case]:
    none, some, unit = _corners(), _boxes(choose, 5), _corners((0, 0, 1, 1))
    yield _iou_case(none, none, "no boxes")
    yield _iou_case(some, none, "no boxes on one side")
    yield _iou_case(some, some, "identical boxes")
    yield _iou_case(unit, _corners((1, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)), "touching boxes")
    yield _iou_case(unit, unit / 4 + 0.25, "a box in another")
    yield _iou_case(unit, unit + 7, "boxes far apart")
    without_area = _corners((0, 0, 1, 1), (0.5, 0, 0.5, 1), (0.5, 0.5, 0.5, 0.5))
    yield _iou_case(without_area, without_area, "boxes without area")


iou = Parity(
    draw=lambda choose: _iou_case(_draw_boxes(choose, 6), _draw_boxes(choose, 6)),
    edges=_edges_iou,
    refusals=lambda: refusals(
        boxes.iou,
        ops.box_iou,
        {
            "three values a box": (torch.ones(2, 3), torch.ones(2, 4)),
            "five values a box": (torch.ones(2, 4), torch.ones(2, 5)),
            "three values on both sides": (torch.ones(2, 3), torch.ones(2, 3)),
        },
    ),
    typical=lambda choose: _iou_case(_boxes(choose, 8732), _boxes(choose, 20)),
)


# Anchors


def _default_boxes(maps: list[tuple[int, int]], scales: list[float], ratios: list[list[float]]) -> Tensor:
    """Return torchvision's default boxes of SSD, in parts of the image."""
    make = DefaultBoxGenerator(ratios, scales=scales, clip=False)  # pyright: ignore[reportArgumentType]
    image = ImageList(torch.zeros(1, 3, 1, 1), [(1, 1)])  # in an image of one pixel, pixels are parts of the image
    return make(image, [torch.zeros(1, 1, *size) for size in maps])[0]


def _anchors_case(maps: list[tuple[int, int]], scales: list[float], ratios: list[list[float]], *covers: str) -> Case:
    """Return the anchors of several maps. SSD's have size s_k, √(s_k s_(k+1)), and s_k with each ratio r and 1/r."""
    sizes = [[small, math.sqrt(small * large)] for small, large in pairwise(scales)]
    both_ways = [[1.0, *(way for ratio in some for way in (ratio, 1 / ratio))] for some in ratios]
    return Case(
        {},
        read=lambda: boxes.multiscale_anchors(maps, sizes, both_ways),
        run=lambda: _default_boxes(maps, scales, ratios),
        covers=(*covers, f"{len(maps)} maps"),
        dtypes=(torch.float32,),
    )


def _one_by_one(
    height: int, width: int, sizes: list[float], ratios: list[float], image_size: tuple[int, int]
) -> Tensor:
    """Return the anchors of one map from their areas and ratios in pixels, box by box."""
    image_height, image_width = image_size
    # A pixel's boxes of the first ratio come first, those of the first size and the other ratios then.
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    rows = []
    for i in range(height):
        for j in range(width):
            for size, ratio in shapes:
                pixels = size**2 * image_height * image_width
                x, y = (j + 0.5) * image_width / width, (i + 0.5) * image_height / height
                rows.append([x, y, (pixels * ratio) ** 0.5, (pixels / ratio) ** 0.5])
    corners = ops.box_convert(torch.tensor(rows, dtype=torch.float64), "cxcywh", "xyxy")
    return (corners / torch.tensor([image_width, image_height, image_width, image_height])).float()


def _image_anchors_case(
    size: tuple[int, int], sizes: list[float], ratios: list[float], image_size: tuple[int, int], *covers: str
) -> Case:
    """Return the anchors of one map, with ratios that hold in the pixels of an image."""
    return Case(
        {},
        read=lambda: boxes.anchors(*size, sizes, ratios, image_size=image_size),
        run=lambda: _one_by_one(*size, sizes, ratios, image_size),
        covers=(*covers, "ratios in pixels"),
        dtypes=(torch.float32,),
    )


def _draw_anchors(choose: Choose) -> Case:
    def several(most: int, low: int) -> list[float]:
        return [choose.integer(low, 1000) / 250 for _ in range(choose.integer(low > 0, most))]

    if choose.integer(0, 1):
        size = choose.integer(1, 5), choose.integer(1, 5)
        image_size = choose.integer(1, 640), choose.integer(1, 640)
        return _image_anchors_case(size, several(4, 10), several(4, 50), image_size)
    maps = [(choose.integer(1, 5), choose.integer(1, 5)) for _ in range(choose.integer(1, 3))]
    scales = [choose.integer(10, 1200) / 1000 for _ in range(len(maps) + 1)]
    ratios = [[choose.integer(50, 400) / 100 for _ in range(choose.integer(0, 2))] for _ in maps]
    return _anchors_case(maps, scales, ratios)


def _refused_anchors() -> Iterator[Refusal]:
    wrong: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
        "a negative size": (([(2, 2)], [[-0.5, 0.5]], [[1.0]]), ([(2, 2)], [-0.5, 0.5], [[]])),
        "a negative ratio": (([(2, 2)], [[0.5]], [[1.0, -2.0]]), ([(2, 2)], [0.5, 0.5], [[-2.0]])),
        "fewer sizes than maps": (([(2, 2), (1, 1)], [[0.5]], [[1.0]] * 2), ([(2, 2), (1, 1)], [0.5], [[], []])),
    }
    for what, (ours, theirs) in wrong.items():
        yield Refusal(what, partial(boxes.multiscale_anchors, *ours), partial(_default_boxes, *theirs))


anchors = Parity(
    draw=_draw_anchors,
    edges=lambda _: [
        _anchors_case([(1, 1)], [0.5, 0.5], [[]], "one pixel, one size"),
        _anchors_case([(1, 7)], [0.1, 0.3], [[2.0]], "one row"),
        _anchors_case([(7, 1)], [0.1, 0.3], [[2.0]], "one column"),
        _anchors_case(
            [(4, 6), (2, 3), (1, 1)], [0.2, 0.5, 0.9, 1.0], [[2.0], [2.0, 3.0], [2.0]], "anchors beyond the image"
        ),
        _image_anchors_case((2, 3), [0.2, 0.4], [1.0, 2.0, 0.5], (480, 640), "a wide image"),
        _image_anchors_case((3, 2), [0.2, 0.4], [2.0, 1.0], (640, 480), "a high image"),
    ],
    refusals=_refused_anchors,
    typical=lambda _: _anchors_case(  # SSD300: 8732 anchors
        [(side, side) for side in (38, 19, 10, 5, 3, 1)],
        [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]],
    ),
)


# Matching


def _match_by_hand(anchors: Tensor, truth: Tensor, threshold: float) -> Tensor:
    """Return the match of each anchor by going through all pairs, most overlapping first."""
    overlap = _overlap(anchors, truth).tolist()
    pairs = [(a, t) for a in range(len(anchors)) for t in range(len(truth))]
    pairs.sort(key=lambda pair: -overlap[pair[0]][pair[1]])  # stable: the earlier anchor and true box on a tie
    enough = torch.tensor(threshold, dtype=anchors.dtype).item()  # rounded as the overlaps are
    owner: dict[int, int] = {}
    for a, t in pairs:
        if a not in owner and t not in owner.values():
            owner[a] = t
    alone = set(range(len(anchors))) - set(owner)
    for a, t in pairs:
        if a in alone and a not in owner and overlap[a][t] >= enough:
            owner[a] = t
    return torch.tensor([owner.get(a, -1) for a in range(len(anchors))], dtype=torch.int64)


def _match_case(anchors: Tensor, truth: Tensor, threshold: float, *covers: str, way: Way = "d2l") -> Case:
    def run(anchors: Tensor, truth: Tensor) -> Tensor:
        overlap = _overlap(truth, anchors)
        if way == "torchvision":
            return SSDMatcher(threshold)(overlap) if overlap.numel() else torch.full((len(anchors),), -1)
        # Torchvision gives one anchor to two true boxes that both overlap it most, and one of them goes without.
        if overlap.numel() == 0 or len(overlap.max(dim=1).indices.unique()) < len(truth):
            return _match_by_hand(anchors, truth, threshold)
        return SSDMatcher(threshold)(overlap)

    return Case(
        {"anchors": anchors, "truth": truth},
        read=partial(boxes.match, threshold=threshold, way=way),
        run=run,
        covers=(*covers, way, f"threshold {threshold}"),
        tolerance=_EXACT,
    )


# Of ten parts three, or seven: the overlap is the threshold, as far as float32 and float64 can tell.
_PARTS_OF_TEN = _corners((0, 0, 10, 1), (0, 0, 3, 1), (0, 0, 7, 1))


def _edges_match(choose: Choose) -> Iterator[Case]:
    none, some = _corners(), _boxes(choose, 8)
    # Both true boxes overlap the first anchor most; the second has to make do with another, or goes without.
    wanted, both = _corners((0, 0, 4, 4), (0, 0, 4, 2), (5, 5, 6, 6)), _corners((0, 0, 4, 3), (0, 0, 4, 4))
    way: Way
    for way in ("d2l", "torchvision"):
        yield _match_case(some, none, 0.5, "no true boxes", way=way)
        yield _match_case(none, some, 0.5, "no anchors", way=way)
        yield _match_case(some, some, 0.5, "anchors that are the true boxes", way=way)
        yield _match_case(some[:1].repeat(4, 1), some[:1], 0.5, "identical anchors", way=way)
        yield _match_case(some, some[:1].repeat(3, 1), 0.5, "identical true boxes", way=way)
        yield _match_case(some[:2], some, 0.5, "more true boxes than anchors", way=way)
        yield _match_case(some, some[:2] + 90, 0.5, "true boxes that no anchor meets", way=way)
        yield _match_case(wanted, both, 0.5, "two true boxes want one anchor", way=way)
        for threshold in (0.3, 0.7):
            yield _match_case(_PARTS_OF_TEN, _PARTS_OF_TEN[:1], threshold, "an overlap of just the threshold", way=way)


match_anchors = Parity(
    draw=lambda choose: _match_case(
        _draw_boxes(choose, 12),
        _draw_boxes(choose, 5),
        choose.pick(_THRESHOLDS),
        way=choose.pick(("d2l", "torchvision")),
    ),
    edges=_edges_match,
    refusals=lambda: refusals(
        boxes.match,
        lambda anchors, truth: SSDMatcher(0.5)(ops.box_iou(truth, anchors)),
        {
            "three values an anchor": (torch.ones(2, 3), torch.ones(2, 4)),
            "five values a true box": (torch.ones(2, 4), torch.ones(2, 5)),
        },
    ),
    typical=lambda choose: _match_case(_boxes(choose, 8732), _boxes(choose, 20), 0.5),
)


# Offsets


def _box_offsets_case(choose: Choose, anchors: Tensor, truth: Tensor, *covers: str, **options: Any) -> Case:
    weights = tuple(1 / variance for variance in options.get("variances", (0.1, 0.1, 0.2, 0.2)))
    # torchvision stretches an anchor by 62.5 at most; the formula has no such limit.
    coder = BoxCoder(weights=weights, bbox_xform_clip=math.inf)  # pyright: ignore[reportArgumentType]

    def read(anchors: Tensor, truth: Tensor, change: Tensor) -> Results:
        offsets = boxes.offsets(anchors, truth, **options)
        return {
            "value offsets": offsets,
            "value there and back": boxes.apply_offsets(anchors, offsets, **options),
            "value moved": boxes.apply_offsets(anchors, change, **options),
        }

    def run(anchors: Tensor, truth: Tensor, change: Tensor) -> Results:
        return {
            "value offsets": coder.encode_single(truth, anchors),
            "value there and back": truth,
            "value moved": coder.decode_single(change, anchors),
        }

    inputs = {"anchors": anchors, "truth": truth, "change": choose.normal(len(anchors), 4)}
    return Case(inputs, read, run, (*covers, *(f"{name} {value}" for name, value in options.items())))


def _draw_box_offsets(choose: Choose) -> Case:
    count = choose.integer(0, 6)
    anchors, truth = _boxes(choose, count, least=0.2), _boxes(choose, count, least=0.2)
    if choose.integer(0, 1):
        return _box_offsets_case(choose, anchors, truth)
    return _box_offsets_case(choose, anchors, truth, variances=tuple(choose.integer(1, 20) / 10 for _ in range(4)))


def _edges_box_offsets(choose: Choose) -> Iterator[Case]:
    some = _boxes(choose, 5, least=0.2)
    yield _box_offsets_case(choose, some[:0], some[:0], "no boxes")
    yield _box_offsets_case(choose, some, some, "anchors that are the true boxes")
    yield _box_offsets_case(choose, some * 500, some * 400 + 30, "boxes in pixels")
    yield _box_offsets_case(choose, some, some * torch.tensor([1, 1, 9, 9]), "much larger true boxes")


def _refused_box_offsets() -> Iterator[Refusal]:
    some, coder = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(3, 1), BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    wrong = {"three values a box": (some[:, :3], some), "fewer true boxes than anchors": (some, some[:2])}
    yield from refusals(boxes.offsets, lambda anchors, truth: coder.encode_single(truth, anchors), wrong)
    wrong = {"three values a box": (some[:, :3], some), "fewer offsets than anchors": (some, some[:2])}
    yield from refusals(boxes.apply_offsets, lambda anchors, change: coder.decode_single(change, anchors), wrong)


box_offsets = Parity(
    draw=_draw_box_offsets,
    edges=_edges_box_offsets,
    refusals=_refused_box_offsets,
    typical=lambda choose: _box_offsets_case(choose, _boxes(choose, 8732, least=0.2), _boxes(choose, 8732, least=0.2)),
)


# Non-maximum suppression


def _nms_case(corners: Tensor, scores: Tensor, threshold: float, *covers: str) -> Case:
    return Case(
        {"corners": corners, "scores": scores},
        read=lambda corners, scores: boxes.nms(corners, scores, threshold),
        run=lambda corners, scores: ops.nms(corners, scores, threshold),
        covers=(*covers, f"threshold {threshold}"),
        tolerance=_EXACT,
    )


def _draw_nms(choose: Choose) -> Case:
    corners = _draw_boxes(choose, 30)
    ties = choose.integer(0, 1)
    scores = choose.tied(len(corners)) if ties else choose.normal(len(corners))
    return _nms_case(corners, scores, choose.pick(_THRESHOLDS), "ties in the scores" if ties else "")


def _edges_nms(choose: Choose) -> Iterator[Case]:
    some, many = _boxes(choose, 6), _boxes(choose, 40)
    yield _nms_case(some[:0], choose.normal(0), 0.5, "no boxes")
    yield _nms_case(some[:1], choose.normal(1), 0.5, "one box")
    yield _nms_case(some[:1].repeat(4, 1), choose.normal(4), 0.5, "identical boxes")
    yield _nms_case(some[:1].repeat(4, 1), torch.ones(4).double(), 0.5, "identical boxes and scores")
    yield _nms_case(many, torch.ones(40).double(), 0.3, "one score for all")
    touching = _corners((0, 0, 1, 1), (1, 0, 2, 1), (0, 1, 1, 2))
    yield _nms_case(touching, choose.normal(3), 0.0, "touching boxes")
    yield _nms_case(torch.zeros(3, 4).double(), choose.normal(3), 0.0, "boxes without area")
    scores = torch.tensor([0.9, 0.8, 0.7]).double()
    for threshold in (0.3, 0.7):
        yield _nms_case(_PARTS_OF_TEN, scores, threshold, "an overlap of just the threshold")
    # The second is dropped for the first, so it can't drop the third, which overlaps it alone.
    chain = _corners((0, 0, 4, 1), (1, 0, 5, 1), (2, 0, 6, 1))
    yield _nms_case(chain, scores, 0.5, "a dropped box drops none")


def _typical_nms(choose: Choose) -> Case:
    things, noise = _boxes(choose, 50), 0.02 * choose.normal(2000, 4)
    return _nms_case(things.repeat(40, 1) + noise.clamp(-0.024, 0.024), choose.normal(2000), 0.45)


nms = Parity(
    draw=_draw_nms,
    edges=_edges_nms,
    refusals=lambda: refusals(
        partial(boxes.nms, threshold=0.5),
        partial(ops.nms, iou_threshold=0.5),
        {
            "three values a box": (torch.ones(2, 3), torch.ones(2)),
            "a single box": (torch.ones(4), torch.ones(1)),
            "more scores than boxes": (torch.ones(2, 4), torch.ones(3)),
            "scores in a column": (torch.ones(2, 4), torch.ones(2, 1)),
        },
    ),
    typical=_typical_nms,
)


# Suppression class by class


def _nms_by_class_case(corners: Tensor, scores: Tensor, labels: Tensor, threshold: float, *covers: str) -> Case:
    return Case(
        {"corners": corners, "scores": scores, "labels": labels},
        read=lambda corners, scores, labels: boxes.nms_by_class(corners, scores, labels, threshold),
        run=lambda corners, scores, labels: ops.batched_nms(corners, scores, labels, threshold),
        covers=(*covers, f"threshold {threshold}"),
        tolerance=_EXACT,
    )


def _draw_nms_by_class(choose: Choose) -> Case:
    corners = _draw_boxes(choose, 30)
    ties = choose.integer(0, 1)
    scores = choose.tied(len(corners)) if ties else choose.normal(len(corners))
    labels = torch.randint(choose.integer(1, 4), (len(corners),), generator=choose.generator())
    # torchvision moves each class to a place of its own, which rounds an overlap of just the threshold.
    return _nms_by_class_case(corners, scores, labels, choose.pick((0.45, 0.31)), "ties in the scores" if ties else "")


def _edges_nms_by_class(choose: Choose) -> Iterator[Case]:
    some, labels = _boxes(choose, 6), torch.tensor([0, 1, 0, 1, 2, 2])
    yield _nms_by_class_case(some[:0], choose.normal(0), labels[:0], 0.5, "no boxes")
    yield _nms_by_class_case(some[:1].repeat(6, 1), choose.normal(6), labels, 0.5, "identical boxes")
    yield _nms_by_class_case(some[:1].repeat(6, 1), torch.ones(6).double(), labels, 0.5, "one score for all")
    yield _nms_by_class_case(some, choose.normal(6), torch.zeros_like(labels), 0.5, "one class")
    yield _nms_by_class_case(some, choose.normal(6), torch.arange(6), 0.5, "a class for each box")
    yield _nms_by_class_case(some, choose.normal(6), labels + 90, 0.5, "classes without boxes")


nms_by_class = Parity(
    draw=_draw_nms_by_class,
    edges=_edges_nms_by_class,
    refusals=lambda: refusals(
        partial(boxes.nms_by_class, threshold=0.5),
        partial(ops.batched_nms, iou_threshold=0.5),
        {
            "three values a box": (torch.ones(2, 3), torch.ones(2), torch.zeros(2).long()),
            "more scores than boxes": (torch.ones(2, 4), torch.ones(3), torch.zeros(3).long()),
            "more labels than boxes": (torch.ones(2, 4), torch.ones(2), torch.zeros(3).long()),
        },
    ),
    typical=lambda choose: _nms_by_class_case(_boxes(choose, 2000), choose.normal(2000), torch.arange(2000) % 20, 0.45),
)
