"""Cases of `scratch.box_augment` against `augment`, which crops and zooms out whole batches.

Pixels have cases of their own: there one step of the 255 is allowed, since both forms round weights in their own way
(see `cases.augment`). Which part is chosen and where the boxes are is compared as closely as rounding allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from twofold.augment import iou_crop as batched
from twofold.augment.zoom_out import ZoomOut, ZoomOutParams
from twofold.proof.cases.augment import ONE_STEP, draw_image, over_white, random_pixels
from twofold.proof.parity import Case, Choose, Parity, Refusal, Results
from twofold.scratch import box_augment
from twofold.scratch.box_augment import CONSTRAINTS, Part

_NO_BOXES = torch.zeros(1, 4)


def _boxes(choose: Choose, size: tuple[int, int], count: int) -> Tensor:
    """Return boxes in an image of `size`: anywhere, or with corners at whole pixels, many of them at its border."""
    sides = torch.tensor([size[1], size[0]] * 2).double()
    drawn = torch.rand(count, 4, generator=choose.generator(), dtype=torch.float64) * sides
    boxes = torch.cat([drawn[:, :2].minimum(drawn[:, 2:]), drawn[:, :2].maximum(drawn[:, 2:])], dim=1)
    return choose.pick((boxes, boxes.round()))


def _parts_of(params: Any) -> Tensor:
    return torch.stack([params.top, params.left, params.height, params.width], dim=1)


def _sizes(choose: Choose) -> tuple[int, int]:
    return choose.integer(1, 60), choose.integer(1, 60)


# Crops that keep their overlap with some box


def _choice_case(
    boxes: Tensor,
    size: tuple[int, int],
    tried: Sequence[Part],
    constraints: Sequence[float | None],
    *covers: str,
    ratio: tuple[float, float] = (0.5, 2.0),
) -> Case:
    """Return which of the drawn parts is chosen for these boxes, and where the boxes are then."""
    crop = batched.IouCrop(size, ratio=ratio)
    whole = 0, 0, *size

    def read(boxes: Tensor) -> Results:
        parts = [part for part in tried if box_augment.has_allowed_shape(part, size, ratio)]
        chosen = box_augment.choose_part(boxes, parts, constraints, whole)
        _, moved = box_augment.iou_crop(torch.zeros(1, *size, dtype=torch.uint8), boxes, chosen)
        return {"value part": torch.tensor(chosen), "value boxes": moved}

    def run(boxes: Tensor) -> Results:
        parts = torch.tensor([tried])
        order = torch.tensor([[CONSTRAINTS.index(least) for least in constraints]])
        fits = crop.has_allowed_shape(parts)
        drawn = batched.IouCropParams(batched.ResizedCropParams(*torch.tensor([whole]).T), parts, fits, order)
        params = crop.choose(drawn, boxes[None], size)
        return {"value part": _parts_of(params.crop)[0], "value boxes": crop.move_boxes(boxes[None], params, size)[0]}

    return Case({"boxes": boxes}, read, run, covers)


def _drawn_choice_case(choose: Choose, count: int, *covers: str, size: tuple[int, int] | None = None) -> Case:
    size = size or _sizes(choose)
    params = batched.IouCrop(size).draw(seed=choose.integer(0, 999), epoch=0, indices=torch.tensor([0]))
    constraints = [CONSTRAINTS[i] for i in params.order[0].tolist()]
    ratio = choose.pick(((0.5, 2.0), (0.9, 1.1), (0.3, 0.75)))
    tried = [(top, left, height, width) for top, left, height, width in params.tried[0].tolist()]
    covers = (*covers, f"ratio {ratio[0]} to {ratio[1]}", "several boxes" if count > 1 else "")
    return _choice_case(_boxes(choose, size, count), size, tried, constraints, *covers, ratio=ratio)


def _crop_pixels_case(image: Tensor, part: Part, *covers: str) -> Case:
    size = image.shape[1], image.shape[2]
    crop = batched.IouCrop(size)
    drawn = crop.draw(seed=0, epoch=0, indices=torch.tensor([0]))
    params = replace(drawn, crop=batched.ResizedCropParams(*torch.tensor([part]).T))
    return Case(
        {"image": image},
        read=lambda image: over_white(box_augment.iou_crop(image, _NO_BOXES, part)[0]),
        run=lambda image: over_white(crop.apply(image[None], params)[0]),
        covers=("pixels of a crop", *covers),
        tolerance=ONE_STEP,
        dtypes=(torch.float32,),
    )


def _draw_iou_crop(choose: Choose) -> Case:
    if choose.integer(0, 2):
        return _drawn_choice_case(choose, choose.integer(0, 4))
    image = draw_image(choose, most=40)
    height, width = choose.integer(1, image.shape[1]), choose.integer(1, image.shape[2])
    top, left = choose.integer(0, image.shape[1] - height), choose.integer(0, image.shape[2] - width)
    return _crop_pixels_case(image, (top, left, height, width))


def _edges_iou_crop(choose: Choose) -> Iterator[Case]:
    size, whole = (20, 20), (0, 0, 20, 20)
    box = torch.tensor([[4.0, 4.0, 12.0, 12.0]]).double()
    near, far, around = (2, 2, 10, 10), (12, 12, 8, 8), (4, 4, 8, 8)
    yield _choice_case(box[:0], size, [near, far], [0.9, None], "no boxes")
    yield _choice_case(torch.zeros(3, 4).double(), size, [near, far], [0.9, None], "only rows of zeros")
    yield _choice_case(torch.cat([torch.zeros(1, 4), box]), size, [far, near], [0.0, None], "a row of zeros")
    yield _choice_case(box, size, [far], [0.0, None], "no part has the box", "the whole image")
    yield _choice_case(box, size, [far], [None, 0.0], "the whole image")
    yield _choice_case(box, size, [far, near, around], [0.9, 0.1, None], "a part that is the box")
    yield _choice_case(box, size, [far, near], [0.9, 0.3, 0.0, None], "the second constraint")
    cut = torch.cat([box, torch.tensor([[13.0, 13.0, 19.0, 19.0], [0.0, 0.0, 8.0, 8.0]])])
    yield _choice_case(cut, size, [near], [0.0, None], "a box cut away", "a box clipped")
    border = torch.tensor([[0.0, 0.0, 6.0, 20.0], [14.0, 14.0, 20.0, 20.0]]).double()
    yield _choice_case(border, size, [(0, 0, 20, 10), (10, 10, 10, 10)], [0.3, None], "a box at the border")
    # The middle is at 8, 8: on the upper, lower, left and right edge of the first four.
    edges = [(8, 0, 12, 12), (0, 0, 8, 12), (0, 8, 12, 12), (0, 0, 12, 8)]
    yield _choice_case(box, size, [*edges, near], [0.0, None], "a middle on a part's edge")
    half = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).double()
    yield _choice_case(half, size, [(0, 0, 20, 10), whole], [0.5, None], "an overlap of just the least")
    wide = [(0, 0, 10, 20), (0, 0, 9, 20), (0, 0, 20, 9), near]
    yield _choice_case(half, size, wide, [0.0, None], "parts too wide or too high")
    yield _drawn_choice_case(choose, 1, "an image of one pixel", size=(1, 1))
    yield _crop_pixels_case(random_pixels(choose, 3, 40, 50), (0, 0, 40, 50), "the whole image")
    yield _crop_pixels_case(random_pixels(choose, 3, 40, 50), (39, 10, 1, 30), "one row")
    yield _crop_pixels_case(random_pixels(choose, 1, 5, 4), (4, 3, 1, 1), "the last pixel")


def _refused_iou_crop() -> Iterator[Refusal]:
    image, part = torch.zeros(1, 4, 6, dtype=torch.uint8), (0, 0, 2, 3)
    three = torch.ones(2, 3)
    drawn = batched.IouCrop((4, 6)).draw(seed=0, epoch=0, indices=torch.tensor([0]))
    whole = (0, 0, 4, 6)
    yield Refusal(
        "three values a box, to choose by",
        lambda: box_augment.choose_part(three, [part], [0.5], whole),
        lambda: batched.IouCrop((4, 6)).choose(drawn, three[None], (4, 6)),
    )
    yield Refusal(
        "three values a box, to move",
        lambda: box_augment.iou_crop(image, three, part),
        lambda: batched.IouCrop((4, 6)).move_boxes(three[None], drawn, (4, 6)),
    )
    yield Refusal(
        "an image smaller than the part",
        lambda: box_augment.iou_crop(image[:, :3], _NO_BOXES, whole),
        lambda: batched.IouCrop((4, 6)).apply(image[None, :, :3], drawn),
    )
    wrong: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
        "an image without pixels": ((0, 6), {}),
        "a scale above 1": ((4, 6), {"scale": (0.3, 1.1)}),
        "a ratio in the wrong order": ((4, 6), {"ratio": (2.0, 0.5)}),
        "a ratio that no part has": ((4, 6), {"scale": (0.5, 0.6), "ratio": (3.0, 4.0)}),
    }
    for what, (size, options) in wrong.items():
        yield Refusal(
            what, partial(box_augment.draw_parts, *size, **options), partial(batched.IouCrop, size, **options)
        )


iou_crop = Parity(
    draw=_draw_iou_crop,
    edges=_edges_iou_crop,
    refusals=_refused_iou_crop,
    typical=lambda choose: _drawn_choice_case(choose, 8, size=(300, 300)),
)


# Zooming out


def _place_params(place: Part) -> ZoomOutParams:
    return ZoomOutParams(*torch.tensor([place]).T)


def _zoom_boxes_case(boxes: Tensor, size: tuple[int, int], place: Part, *covers: str) -> Case:
    image = torch.zeros(1, *size, dtype=torch.uint8)
    return Case(
        {"boxes": boxes},
        read=lambda boxes: box_augment.zoom_out(image, boxes, place)[1],
        run=lambda boxes: ZoomOut(size).move_boxes(boxes[None], _place_params(place), size)[0],
        covers=covers,
    )


def _zoom_pixels_case(image: Tensor, place: Part, *covers: str, fill: int | None = None) -> Case:
    size = image.shape[1], image.shape[2]
    return Case(
        {"image": image},
        read=lambda image: over_white(box_augment.zoom_out(image, _NO_BOXES, place, fill)[0]),
        run=lambda image: over_white(ZoomOut(size, fill=fill).apply(image[None], _place_params(place))[0]),
        covers=("the mean around it" if fill is None else f"{fill} around it", *covers),
        tolerance=ONE_STEP,
        dtypes=(torch.float32,),
    )


def _colour_case(image: Tensor, place: Part, *covers: str, fill: int | None = None) -> Case:
    """Return what is around the image, which must agree in every pixel."""
    size = image.shape[1], image.shape[2]

    def without_place(result: Tensor) -> Tensor:
        top, left, height, width = place
        result[:, top : top + height, left : left + width] = 255
        return result

    return Case(
        {"image": image},
        read=lambda image: without_place(box_augment.zoom_out(image, _NO_BOXES, place, fill)[0]),
        run=lambda image: without_place(ZoomOut(size, fill=fill).apply(image[None], _place_params(place))[0]),
        covers=("the mean around it" if fill is None else f"{fill} around it", *covers),
        tolerance=0.0,
        dtypes=(torch.float32,),
    )


def _draw_place(choose: Choose, size: tuple[int, int]) -> Part:
    height, width = choose.integer(1, size[0]), choose.integer(1, size[1])
    return choose.integer(0, size[0] - height), choose.integer(0, size[1] - width), height, width


def _draw_zoom_out(choose: Choose) -> Case:
    what = choose.integer(0, 2)
    if what == 0:
        size = _sizes(choose)
        return _zoom_boxes_case(_boxes(choose, size, choose.integer(0, 4)), size, _draw_place(choose, size))
    image = draw_image(choose, most=40)
    place = _draw_place(choose, (image.shape[1], image.shape[2]))
    if min(place[2:]) == 1:
        image = image[:1]  # torch's kernel (2.15) fails an internal check on three channels shrunk to one pixel
    case = _zoom_pixels_case if what == 1 else _colour_case
    return case(image, place, fill=choose.pick((None, 0, 255, 114)))


def _edges_zoom_out(choose: Choose) -> Iterator[Case]:
    size, place = (24, 32), (3, 5, 12, 16)
    yield _zoom_boxes_case(torch.zeros(0, 4).double(), size, place, "no boxes")
    yield _zoom_boxes_case(torch.tensor([[0.0, 0.0, 32.0, 24.0]]).double(), size, place, "a box that is the image")
    border = torch.tensor([[0.0, 4.0, 8.0, 24.0], [20.0, 0.0, 32.0, 9.0]]).double()
    yield _zoom_boxes_case(border, size, place, "a box at the border")
    beyond = torch.tensor([[-8.0, -2.0, 8.0, 30.0]]).double()
    yield _zoom_boxes_case(beyond, size, place, "a box beyond the border")
    yield _zoom_boxes_case(border, size, (0, 0, *size), "an image that stays")
    image = random_pixels(choose, 3, 40, 50)
    yield _zoom_pixels_case(image, (0, 0, 40, 50), "an image that stays")
    yield _zoom_pixels_case(image, (20, 25, 20, 25), "the last corner")
    yield _zoom_pixels_case(image[:1], (39, 49, 1, 1), "shrunk to one pixel", fill=7)
    yield _zoom_pixels_case(random_pixels(choose, 1, 5, 4), (1, 1, 2, 3), "a small image")
    yield _colour_case(torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8), (0, 0, 1, 1), "a mean of a half")


def _refused_zoom_out() -> Iterator[Refusal]:
    image, place, three = torch.zeros(1, 4, 6, dtype=torch.uint8), (0, 0, 2, 3), torch.ones(2, 3)
    yield Refusal(
        "three values a box",
        lambda: box_augment.zoom_out(image, three, place),
        lambda: ZoomOut((4, 6)).move_boxes(three[None], _place_params(place), (4, 6)),
    )
    yield Refusal(
        "an image smaller than the place",
        lambda: box_augment.zoom_out(image[:, :3], _NO_BOXES, (0, 0, 4, 6)),
        lambda: ZoomOut((4, 6)).apply(image[None, :, :3], _place_params((0, 0, 4, 6))),
    )
    yield Refusal(
        "a fill above 255",
        lambda: box_augment.zoom_out(image, _NO_BOXES, place, 256),
        lambda: ZoomOut((4, 6), fill=256),
    )
    yield Refusal("an image without pixels", lambda: box_augment.draw_zoom_out(4, 0), lambda: ZoomOut((4, 0)))
    yield Refusal(
        "a canvas smaller than the image",
        lambda: box_augment.draw_zoom_out(4, 6, sides=(0.5, 2.0)),
        lambda: ZoomOut((4, 6), sides=(0.5, 2.0)),
    )
    yield Refusal(
        "a probability above 1",
        lambda: box_augment.draw_zoom_out(4, 6, p=1.5),
        lambda: ZoomOut((4, 6), probability=1.5),
    )


zoom_out = Parity(
    draw=_draw_zoom_out,
    edges=_edges_zoom_out,
    refusals=_refused_zoom_out,
    typical=lambda choose: _zoom_pixels_case(random_pixels(choose, 3, 300, 300), (30, 40, 150, 150)),
)
