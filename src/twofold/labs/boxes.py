"""The lab of boxes: overlap, anchors, matching and suppression, by `scratch.boxes`; of a detector's boxes, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.labs.images import SAMPLES, Opened
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.scene import CLASSES, SIDE, TRUTH, ordered, scene
from twofold.scratch.boxes import (
    apply_offsets,
    area,
    corner_to_center,
    intersection,
    iou,
    match,
    multiscale_anchors,
    nms,
    nms_by_class,
    offsets,
)
from twofold.scratch.generalised_iou import giou

MOST_BOXES = 200
"""So many of a detector's candidates are shown, the best."""

# What a detector might say of the scene before suppression: each object several times, one also as something else, and
# a few places without any.
RAW: tuple[tuple[tuple[float, float, float, float], float, str], ...] = (
    ((16, 34, 71, 106), 0.95, "pullover"),
    ((38, 59, 102, 93), 0.92, "boot"),
    ((14, 30, 69, 102), 0.88, "pullover"),
    ((80, 12, 119, 38), 0.84, "bag"),
    ((19, 37, 74, 109), 0.81, "pullover"),
    ((41, 60, 106, 96), 0.79, "boot"),
    ((34, 57, 99, 90), 0.71, "boot"),
    ((77, 15, 116, 41), 0.66, "bag"),
    ((10, 38, 72, 104), 0.62, "pullover"),
    ((15, 35, 72, 107), 0.57, "coat"),
    ((22, 30, 66, 96), 0.44, "pullover"),
    ((40, 50, 100, 95), 0.38, "boot"),
    ((82, 10, 121, 37), 0.35, "bag"),
    ((60, 18, 98, 60), 0.28, "bag"),
    ((2, 2, 30, 24), 0.22, "bag"),
    ((95, 95, 125, 125), 0.17, "boot"),
)


Place = Annotated[float, Field(ge=0, le=SIDE)]
Corners = Annotated[tuple[Place, Place, Place, Place], AfterValidator(ordered)]
Size = Annotated[float, Field(ge=0.05, le=1.5)]
Ratio = Annotated[float, Field(ge=0.1, le=10)]
Cells = Annotated[int, Field(ge=1, le=8)]
Share = Annotated[float, Field(ge=0, le=1)]
Change = Annotated[float, Field(ge=-20, le=20)]
Index = Annotated[int, Field(ge=0, le=100_000)]


class BoxesSettings(LabSettings):
    """What decides the lab of boxes. Boxes are left, top, right and bottom, in pixels of an image of 128 px.

    Attributes:
        view: two boxes, the anchors of a pixel, which anchor learns which object, or suppression.
        image: the name of an image, or "scene": three garments with boxes that are known.
        a, b: the two boxes.
        rows, columns: of the finest feature map.
        maps: number of feature maps, each with half the rows and columns of the one before and sizes twice as large.
        sizes, ratios: of the anchors at a pixel of the finest map; sizes in parts of the image, ratios width / height.
        cell: map, row and column of the pixel whose anchors are shown.
        truth, classes: the objects: their boxes, and what they are.
        threshold: from this intersection over union on an anchor takes the object that it overlaps most.
        way: of matching, see `scratch.boxes.match`.
        match_step: how much of the matching is done: the steps of the first part one by one, then all of the second.
        pair: an anchor and an object whose offsets are shown; the first that were matched if left out.
        said: four offsets set by hand, to be decoded.
        run: a detector that was given; "" for the boxes that come with the lab.
        confidence: boxes with a lower score are left out.
        overlap: a box drops those that overlap it by more.
        by_class: whether it drops those of its own class alone.
        step: how many boxes suppression has taken.
    """

    view: Literal["iou", "anchors", "matching", "suppression"] = "iou"
    image: str = "scene"
    a: Corners = (20, 24, 76, 104)
    b: Corners = (44, 56, 108, 112)
    rows: Cells = 4
    columns: Cells = 4
    maps: Annotated[int, Field(ge=1, le=3)] = 1
    sizes: Annotated[tuple[Size, ...], Field(min_length=1, max_length=4)] = (0.4, 0.25)
    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1, max_length=4)] = (1.0, 2.0, 0.5)
    cell: tuple[Index, Index, Index] = (0, 1, 1)
    truth: Annotated[tuple[Corners, ...], Field(min_length=1, max_length=5)] = TRUTH
    classes: Annotated[
        tuple[Annotated[str, Field(max_length=40)], ...], Field(min_length=1, max_length=5)
    ] = CLASSES  # fmt: skip
    threshold: Share = 0.5
    way: Literal["d2l", "torchvision"] = "d2l"
    match_step: Index = 1
    pair: tuple[Index, Index] | None = None
    said: tuple[Change, Change, Change, Change] = (0, 0, 0, 0)
    run: str = ""
    confidence: Annotated[float, Field(ge=0.01, le=1)] = 0.1
    overlap: Share = 0.75
    by_class: bool = False
    step: Index = 1


class BoxesLab(Lab):
    """See `twofold lab boxes`."""

    name = "boxes"
    Settings = BoxesSettings
    reads = (
        "scratch.boxes:iou",
        "scratch.boxes:intersection",
        "scratch.generalised_iou:giou",
        "scratch.boxes:corner_to_center",
        "scratch.boxes:anchors",
        "scratch.boxes:match",
        "scratch.boxes:offsets",
        "scratch.boxes:apply_offsets",
        "scratch.boxes:nms",
        "scratch.boxes:nms_by_class",
    )
    exercises: ClassVar = (
        Exercise(
            "Two boxes: lay one exactly on the other, then move it sideways by half of its width (arrow keys: by a "
            "pixel). First guess the intersection over union, IoU: is it a half?",
            "两个框：让一个与另一个完全重合，再把它横向移动半个宽度（方向键：每次一个像素）。"
            "先猜一猜交并比（IoU）：是二分之一吗？",
            lambda s, shown: s.view == "iou" and _half_shifted(s.a, s.b),
        ),
        Exercise(
            "Two boxes that share nothing have an IoU of 0, near or far. Bring the generalised IoU, GIoU, below −0.5.",
            "没有公共部分的两个框，无论远近，交并比都是 0。让广义交并比（GIoU）小于 −0.5。",
            lambda s, shown: s.view == "iou" and shown["giou"] < -0.5,
        ),
        Exercise(
            "Anchors: with n sizes and m ratios, give each pixel of the map exactly five anchors. Why not n · m?",
            "锚框：用 n 种大小和 m 种宽高比，让特征图的每个像素恰好有五个锚框。为什么不是 n · m 个？",
            lambda s, shown: s.view == "anchors" and shown["maps"][0]["per_pixel"] == 5,
        ),
        Exercise(
            "Matching: make an object so small or so long that no anchor overlaps it by 0.2. Which one learns it "
            "all the same?",
            "匹配：让一个物体小到或长到与任何锚框的交并比都不到 0.2。哪个锚框仍然要学习它？",
            lambda s, shown: s.view == "matching" and s.way == "d2l" and bool((shown["iou"].amax(0) < 0.2).any()),
        ),
        Exercise(
            "Matching: set the four offsets by hand until the decoded box (the anchor, moved and scaled by them) "
            "covers its object with an IoU of 0.9. The table below the image tells which values.",
            "匹配：手动设定四个偏移量，使解码后的框（按它们移动和缩放的锚框）与物体的交并比达到 0.9。"
            "图像下方的表格会告诉你该取什么值。",
            lambda s, shown: s.view == "matching" and any(s.said) and shown["pair"]["said_iou"] >= 0.9,
        ),
        Exercise(
            "Matching as torchvision does it (matching as in: torchvision): move the objects so that one of them goes "
            "without any anchor.",
            "按 torchvision 的方式匹配（匹配方式：torchvision）：移动物体，使其中一个得不到任何锚框。",
            lambda s, shown: (
                s.view == "matching"
                and s.way == "torchvision"
                and not set(range(len(s.truth))) <= set(shown["final"].tolist())
            ),
        ),
        Exercise(
            "Suppression: find thresholds that leave one box for each of the three objects, of the right class.",
            "抑制：找到合适的阈值，使三个物体各留下一个框，并且类别正确。",
            lambda s, shown: s.view == "suppression" and not s.run and _names(shown, shown["kept"]) == sorted(CLASSES),
        ),
        Exercise(
            "Keep two boxes that overlap by more than the threshold of suppression. What has to differ?",
            "让两个重叠超过抑制阈值的框都留下来。它们必须有什么不同？",
            lambda s, shown: s.view == "suppression" and _overlapping(shown["boxes"][shown["kept"]], s.overlap),
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._picture: tuple[str, Tensor] | None = None
        self._found: tuple[tuple[str, str], Any] | None = None
        self._matched: tuple[BoxesSettings, dict[str, Any]] | None = None

    def about(self) -> dict[str, Any]:
        """Return the names of the classes to choose from, and the side of the image."""
        return {"samples": list(SAMPLES), "side": SIDE, "most_boxes": MOST_BOXES}

    def compute(self, settings: BoxesSettings) -> dict[str, Any]:
        """Return the image, and what the view asks for."""
        if settings.view == "suppression":
            return self._suppression(settings)
        shown = {"iou": _two, "anchors": _anchors, "matching": self._matching}[settings.view](settings)
        return {**shown, "picture": self._image(settings.image)}

    def command(self, settings: BoxesSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        program = {"iou": _two_program, "anchors": _anchors_program, "matching": self._matching_program}
        if settings.view == "suppression":
            lines = self._suppression_program(settings)
        else:
            lines = program[settings.view](settings)
        return Command(print_line(self.name, settings, self.opened), "\n".join(lines))

    def _matching(self, settings: BoxesSettings) -> dict[str, Any]:
        """Return the values of matching, computed once for the page and for the program."""
        if self._matched is None or self._matched[0] != settings:
            self._matched = (settings, _matching(settings))
        return self._matched[1]

    def _matching_program(self, settings: BoxesSettings) -> list[str]:
        return _matching_program(settings, self._matching(settings)["pair"])

    def _image(self, name: str) -> Tensor:
        if self._picture is None or self._picture[0] != name:
            if name == "scene" and name not in self.opened.names:
                picture = scene()
            else:
                colour = self.opened.image(name).mode == "RGB"
                picture = (self.opened.pixels(name, (SIDE, SIDE), colour=colour)[0] * 255).round().byte()
            self._picture = (name, picture)
        return self._picture[1]

    def _suppression(self, settings: BoxesSettings) -> dict[str, Any]:
        boxes, scores, labels, picture = self._candidates(settings)
        # Of two as good the first comes first; a detector's come by falling score already.
        chosen = [i for i in scores.argsort(descending=True, stable=True).tolist() if scores[i] >= settings.confidence]
        num_above, chosen = len(chosen), chosen[:MOST_BOXES]
        boxes, scores, labels = boxes[chosen], scores[chosen], [labels[i] for i in chosen]
        numbers = torch.tensor([sorted(set(labels)).index(label) for label in labels], dtype=torch.int64)
        if settings.by_class:
            kept = nms_by_class(boxes, scores, numbers, settings.overlap)
        else:
            kept = nms(boxes, scores, settings.overlap)
        steps = _steps(boxes, numbers if settings.by_class else torch.zeros_like(numbers), kept, settings.overlap)
        return {
            "boxes": boxes,
            "scores": scores,
            "labels": labels,
            "kept": kept,
            "num_raw": num_above,
            "steps": steps,
            "step": min(settings.step, len(steps)),
            "picture": picture,
        }

    def _candidates(self, settings: BoxesSettings) -> tuple[Tensor, Tensor, list[str], Tensor]:
        if not settings.run:
            boxes, scores, labels = zip(*RAW, strict=True)
            return torch.tensor(boxes).float(), torch.tensor(scores), list(labels), self._image(settings.image)
        seen = self._seen(settings.run, settings.image)
        return seen.moved, seen.scores, list(seen.class_names), seen.pixels

    def _seen(self, run: str, image: str) -> Any:
        """Return what a detector makes of an image; the last is kept, as thresholds change often."""
        if self._found is None or self._found[0] != (run, image):
            from twofold.inference.predictor import load
            from twofold.inference.torch_predictor import TorchPredictor
            from twofold.interpret import explain_detections

            path = self.opened.runs.get(run)
            if path is None:
                raise ValueError(f"there is no run {run[:60]!r} here; give it with --run")
            predictor = load(path, device="cpu")
            if not isinstance(predictor, TorchPredictor):
                raise TwofoldError(f"{path} is an exported file; give the run that it is from")
            colour = predictor.spec.channels == 3
            if image == "scene" and image not in self.opened.names:
                given = scene().expand(3 if colour else 1, -1, -1)
            else:
                given = (self.opened.pixels(image, colour=colour)[0] * 255).round().byte()
            seen = explain_detections(predictor, predictor.pixels(given), threshold=0.01)
            self._found = ((run, image), seen)
        return self._found[1]

    def _suppression_program(self, settings: BoxesSettings) -> list[str]:
        function = "nms_by_class" if settings.by_class else "nms"
        call = "boxes, scores, numbers" if settings.by_class else "boxes, scores"
        numbers = "numbers = torch.tensor([sorted(set(labels)).index(label) for label in labels])"
        if settings.run:
            path, image = self.opened.runs.get(settings.run, settings.run), settings.image
            if image == "scene" and image not in self.opened.names:
                source = ["from twofold.labs.scene import scene"]
                given = ["image = scene().expand(predictor.spec.channels, -1, -1)"]
            else:
                source = ["from twofold.labs import pixels"]
                given = [
                    f"image = pixels({self.opened.path_of(image) or image!r}, colour=predictor.spec.channels == 3)[0]",
                    "image = (image * 255).round().byte()",
                ]
            lines = [
                *(["import torch", ""] if settings.by_class else []),
                "import twofold",
                "from twofold.interpret import explain_detections",
                *source,
                f"from twofold.scratch.boxes import {function}",
                "",
                f"predictor = twofold.load({path!r}, device='cpu')",
                *given,
                f"seen = explain_detections(predictor, predictor.pixels(image), threshold={settings.confidence})",
                f"boxes, scores, labels = seen.moved[:{MOST_BOXES}], seen.scores[:{MOST_BOXES}], "
                f"seen.class_names[:{MOST_BOXES}]",
            ]
        else:
            raw = [each for each in RAW if each[1] >= settings.confidence]
            lines = ["import torch", "", f"from twofold.scratch.boxes import {function}", ""]
            lines += ["boxes = torch.tensor([", *(f"    {list(box)}," for box, _, _ in raw), "]).float().view(-1, 4)"]
            lines += [f"scores = torch.tensor({[score for _, score, _ in raw]})"]
            lines += [f"labels = {[label for _, _, label in raw]}"] if settings.by_class else []
        lines += [numbers] if settings.by_class else []
        return [*lines, f"kept = {function}({call}, threshold={settings.overlap})", "print(boxes[kept], scores[kept])"]


def _two(settings: BoxesSettings) -> dict[str, Any]:
    a, b = torch.tensor([settings.a]).float(), torch.tensor([settings.b]).float()
    shared = float(intersection(a, b))
    meet = [*torch.maximum(a, b)[0, :2].tolist(), *torch.minimum(a, b)[0, 2:].tolist()]
    hull = torch.cat([torch.minimum(a, b)[:, :2], torch.maximum(a, b)[:, 2:]], dim=1)
    return {
        **{
            name: {"corners": box[0].tolist(), "centre": corner_to_center(box)[0].tolist(), "area": float(area(box))}
            for name, box in (("a", a), ("b", b))
        },
        "intersection": {"corners": meet if shared else None, "area": shared},
        "union": float(area(a) + area(b)) - shared,
        "hull": {"corners": hull[0].tolist(), "area": float(area(hull))},
        "iou": float(iou(a, b)),
        "giou": float(giou(a, b)),
    }


def _layout(settings: BoxesSettings) -> tuple[list[tuple[int, int]], list[list[float]], list[list[float]]]:
    """Return (rows, columns), sizes and ratios of each feature map."""
    maps = [(-(-settings.rows // 2**k), -(-settings.columns // 2**k)) for k in range(settings.maps)]
    sizes = [[size * 2**k for size in settings.sizes] for k in range(settings.maps)]
    return maps, sizes, [list(settings.ratios)] * settings.maps


def _all_anchors(settings: BoxesSettings) -> Float[Tensor, "anchors 4"]:
    return SIDE * multiscale_anchors(*_layout(settings))


def _anchors(settings: BoxesSettings) -> dict[str, Any]:
    maps, sizes, ratios = _layout(settings)
    every = _all_anchors(settings)
    per_pixel = len(settings.sizes) + len(settings.ratios) - 1
    level = min(settings.cell[0], settings.maps - 1)
    rows, columns = maps[level]
    row, column = min(settings.cell[1], rows - 1), min(settings.cell[2], columns - 1)
    before = sum(high * wide for high, wide in maps[:level])
    first = (before + row * columns + column) * per_pixel
    own = every[first : first + per_pixel]
    pairs = [(size, ratios[level][0]) for size in sizes[level]]
    pairs += [(sizes[level][0], ratio) for ratio in ratios[level][1:]]
    return {
        "maps": [
            {"size": list(size), "sizes": some, "per_pixel": per_pixel, "count": size[0] * size[1] * per_pixel}
            for size, some in zip(maps, sizes, strict=True)
        ],
        "total": len(every),
        "cell": [level, row, column],
        "pairs": pairs,
        "anchors": own,
        "centres": corner_to_center(own),
    }


def _matching(settings: BoxesSettings) -> dict[str, Any]:
    if len(settings.classes) != len(settings.truth):
        raise ValueError(f"{len(settings.truth)} objects need as many classes, got {len(settings.classes)}")
    anchors, truth = _all_anchors(settings), torch.tensor(settings.truth).float()
    overlap = iou(anchors, truth)
    final = match(anchors, truth, settings.threshold, way=settings.way)
    first = _first_part(overlap, settings.way)
    step = min(settings.match_step, len(first) + 1)
    if step > len(first):
        matched = final
    else:
        matched = torch.full((len(anchors),), -1)
        for anchor, true_box, _ in first[:step]:
            matched[anchor] = true_box
    pair = settings.pair or first[min(max(step, 1), len(first)) - 1][:2]
    anchor, true_box = min(pair[0], len(anchors) - 1), min(pair[1], len(truth) - 1)
    # Those that the table has room for: the best of each object, and whatever is matched.
    best = overlap.topk(min(5, len(anchors)), dim=0).indices.flatten().tolist()
    rows = sorted({*best[:20], *(each[0] for each in first), anchor, *(final >= 0).nonzero().flatten().tolist()[:12]})
    return {
        "anchors": anchors,
        "truth": truth,
        "iou": overlap,
        "rows": rows,
        "first": first,
        "step": step,
        "matched": matched,
        "final": final,
        "pair": _pair(anchors[anchor][None], truth[true_box][None], settings) | {"anchor": anchor, "truth": true_box},
    }


def _first_part(overlap: Float[Tensor, "anchors truth"], way: str) -> list[tuple[int, int, float]]:
    """Return the steps of the first part of `scratch.boxes.match`: anchor, true box, and their overlap."""
    if way == "torchvision":
        best = enumerate(overlap.argmax(dim=0).tolist())
        return [(anchor, true_box, float(overlap[anchor, true_box])) for true_box, anchor in best]
    steps, free = [], overlap.clone()
    for _ in range(min(free.shape)):
        anchor, true_box = divmod(int(free.argmax()), free.shape[1])
        steps.append((anchor, true_box, float(overlap[anchor, true_box])))
        free[anchor], free[:, true_box] = -1, -1
    return steps


def _pair(anchor: Tensor, truth: Tensor, settings: BoxesSettings) -> dict[str, Any]:
    change = offsets(anchor, truth)
    said = apply_offsets(anchor, torch.tensor([settings.said]).float())
    return {
        "iou": float(iou(anchor, truth)),
        "anchor_centre": corner_to_center(anchor)[0].tolist(),
        "truth_centre": corner_to_center(truth)[0].tolist(),
        "offsets": change[0].tolist(),
        "decoded": apply_offsets(anchor, change)[0].tolist(),
        "said_box": said[0].tolist(),
        "said_iou": float(iou(said, truth)),
    }


def _steps(boxes: Tensor, groups: Tensor, kept: Tensor, threshold: float) -> list[dict[str, Any]]:
    """Return for each box that suppression takes, by falling score, which it removes and with what overlap."""
    left, steps = set(range(len(boxes))), []
    for taken in kept.tolist():
        overlap = iou(boxes[taken][None], boxes)[0].tolist()
        left.discard(taken)
        removed = [i for i in sorted(left) if groups[i] == groups[taken] and overlap[i] > threshold]
        left.difference_update(removed)
        steps.append({"taken": taken, "removed": [[i, overlap[i]] for i in removed]})
    return steps


def _half_shifted(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    width, height = a[2] - a[0], a[3] - a[1]
    # By hand, boxes are alike to a pixel or two.
    off = (b[2] - b[0] - width, b[3] - b[1] - height, a[1] - b[1], abs(a[0] - b[0]) - width / 2)
    return max(map(abs, off)) <= 2


def _names(shown: Mapping[str, Any], rows: Tensor) -> list[str]:
    return sorted(shown["labels"][row] for row in rows.tolist())


def _overlapping(boxes: Tensor, threshold: float) -> bool:
    return len(boxes) > 1 and float(iou(boxes, boxes).fill_diagonal_(0).max()) > threshold


# The same as programs


def _two_program(settings: BoxesSettings) -> list[str]:
    return [
        "import torch",
        "",
        "from twofold.scratch.boxes import area, intersection, iou",
        "from twofold.scratch.generalised_iou import giou",
        "",
        f"a = torch.tensor([{list(map(float, settings.a))}])",
        f"b = torch.tensor([{list(map(float, settings.b))}])",
        "shared = intersection(a, b)",
        "union = area(a)[:, None] + area(b) - shared",
        "print(shared, union, iou(a, b), giou(a, b))",
    ]


def _anchor_lines(settings: BoxesSettings) -> list[str]:
    maps, sizes, ratios = _layout(settings)
    if settings.maps == 1:
        return [f"every = {SIDE} * anchors({settings.rows}, {settings.columns}, sizes={sizes[0]}, ratios={ratios[0]})"]
    return [
        f"maps = {maps}",
        f"sizes = {sizes}",
        f"every = {SIDE} * multiscale_anchors(maps, sizes, ratios={ratios})",
    ]


def _anchors_program(settings: BoxesSettings) -> list[str]:
    shown = _anchors(settings)
    per_pixel, (level, row, column) = shown["maps"][0]["per_pixel"], shown["cell"]
    before = sum(each["count"] for each in shown["maps"][:level])
    first = before + (row * shown["maps"][level]["size"][1] + column) * per_pixel
    return [
        f"from twofold.scratch.boxes import {'anchors' if settings.maps == 1 else 'multiscale_anchors'}",
        "",
        *_anchor_lines(settings),
        "print(len(every))",
        f"own = every[{first}:{first + per_pixel}]  # row {row}, column {column}",
        "print(own)",
    ]


def _matching_program(settings: BoxesSettings, pair: Mapping[str, Any]) -> list[str]:
    names = f"{'anchors' if settings.maps == 1 else 'multiscale_anchors'}, apply_offsets, iou, match, offsets"
    if settings.maps > 1:
        names = "apply_offsets, iou, match, multiscale_anchors, offsets"
    return [
        "import torch",
        "",
        f"from twofold.scratch.boxes import {names}",
        "",
        *_anchor_lines(settings),
        f"truth = torch.tensor({[list(map(float, box)) for box in settings.truth]})",
        "overlap = iou(every, truth)",
        f"matched = match(every, truth, {settings.threshold}, way={settings.way!r})",
        "print(overlap, matched)",
        f"anchor, true_box = every[[{pair['anchor']}]], truth[[{pair['truth']}]]",
        "change = offsets(anchor, true_box)",
        "print(change, apply_offsets(anchor, change))",
        f"said = apply_offsets(anchor, torch.tensor([{list(map(float, settings.said))}]))",
        "print(said, iou(said, true_box))",
    ]
