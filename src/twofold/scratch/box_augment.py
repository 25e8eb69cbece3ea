"""Augmentation of images with boxes: crops that keep an object in view, and zooming out.

A detector meets each object at one size and place. Two changes show it larger and smaller, and the boxes move along
(Liu et al., "SSD: single shot multibox detector", 2016; in the paper they give most of its accuracy):

- **Crops that keep their overlap with some box** (`iou_crop`, section 2.2) show objects larger. A random crop that
  knows nothing of the boxes often shows none of them, or slivers. Here a *constraint* is drawn first, the crop's least
  intersection over union with some box, and then parts of the image are tried until one keeps it.
- **Zooming out** (`zoom_out`, section 3.6) shows objects smaller: the image is shrunk and lies somewhere on a canvas of
  its mean colour. There are few small objects in most data sets, and they are the hardest.

Both keep the size of the image, so that a batch stays one tensor. A point of the image's axis x goes where its pixels
go; with a part that starts at s and is w long, in an image of width W,

    crop: x' = (x − s) W / w,    zooming out: x' = s + x w / W

As in `augment.py`, *drawing* what to do and *doing* it are separate functions, and an image is uint8 (channels, height,
width). Boxes are corners (x1, y1, x2, y2) in pixels, as in `boxes.py`. A box that is cut away becomes four zeros: it
keeps its row, since its label does, and has no area, by which it is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from twofold.scratch.augment import Image, resize, resized_crop
from twofold.scratch.boxes import Boxes, iou

Part = tuple[int, int, int, int]
"""Top, left, height and width of a part of an image, in pixels."""

CONSTRAINTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, None)
"""The least intersection over union of a crop with some box; None is the whole image, as it is."""


# Crops that keep their overlap with some box


def iou_crop(image: Image, boxes: Boxes, part: Part) -> tuple[Image, Boxes]:
    """Return a part of the image at the size of the image, and the boxes in it.

    A box whose middle lies outside the part is cut away: what is left of it is less than half. The others are clipped.

    >>> image = torch.tensor([[[0, 100], [200, 100]]], dtype=torch.uint8)
    >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 1.0, 0.5, 2.0]])
    >>> cropped, moved = iou_crop(image, boxes, (0, 0, 2, 1))  # the left half: the middle of the first is on its edge
    >>> cropped
    tensor([[[  0,   0],
             [200, 200]]], dtype=torch.uint8)
    >>> moved
    tensor([[0., 0., 0., 0.],
            [0., 1., 1., 2.]])
    """
    top, left, height, width = _checked(part, image)
    image_height, image_width = image.shape[1:]
    x1, y1, x2, y2 = boxes.unbind(1)
    x = torch.stack([x1, x2]).sub(left).mul(image_width / width).clamp(0, image_width)
    y = torch.stack([y1, y2]).sub(top).mul(image_height / height).clamp(0, image_height)
    moved = torch.stack([x[0], y[0], x[1], y[1]], dim=1)
    kept = has_middle(boxes, part)
    return resized_crop(image, *part, (image_height, image_width)), torch.where(kept[:, None], moved, 0)


def choose_part(boxes: Boxes, parts: Sequence[Part], constraints: Sequence[float | None], whole: Part) -> Part:
    """Return the first of `parts` that keeps the first constraint which any of them keeps; `whole` where that is None.

    A part keeps a constraint if it has the middle of some box in it, and its intersection over union with that box is
    at least so much. Where there are no boxes, it keeps all. A box without area is none.

    Args:
        boxes: of one image.
        parts: the crops to try, in order.
        constraints: in the order in which they are tried; see `CONSTRAINTS`.
        whole: the part that is the image.

    >>> boxes, whole = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (0, 0, 9, 9)
    >>> parts = [(5, 5, 4, 4), (0, 0, 8, 8), (0, 0, 5, 5)]  # beside the box, overlaps of 16/64 and of 16/25
    >>> choose_part(boxes, parts, [0.5, None], whole), choose_part(boxes, parts, [0.1, None], whole)
    ((0, 0, 5, 5), (0, 0, 8, 8))
    >>> choose_part(boxes, parts, [0.7, None], whole)
    (0, 0, 9, 9)
    """
    overlaps = [largest_overlap(boxes, part) for part in parts]
    for least in constraints:
        if least is None:
            return whole
        for part, overlap in zip(parts, overlaps, strict=True):
            if overlap >= least:
                return part
    return whole


def largest_overlap(boxes: Boxes, part: Part) -> float:
    """Return the largest intersection over union of a part with a box whose middle it has; −1 if it has none.

    1 where there are no boxes: then any part will do. In float64, where rounding hardly ever decides.

    >>> largest_overlap(torch.tensor([[0.0, 0.0, 4.0, 4.0], [5.0, 5.0, 6.0, 6.0]]), (0, 0, 4, 8))
    0.5
    >>> largest_overlap(torch.zeros(0, 4), (0, 0, 4, 8))
    1.0
    """
    top, left, height, width = part
    x1, y1, x2, y2 = boxes.unbind(1)
    real = boxes[(x2 > x1) & (y2 > y1)].double()
    if len(real) == 0:
        return 1.0
    inside = real[has_middle(real, part)]
    corners = torch.tensor([[left, top, left + width, top + height]], dtype=real.dtype, device=real.device)
    return iou(corners, inside).max().item() if len(inside) else -1.0


def has_middle(boxes: Boxes, part: Part) -> Tensor:
    """Return for each box whether its middle lies in the part; on its edge it does not.

    >>> has_middle(torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 3.0, 2.0]]), (0, 1, 9, 9))  # middles at 1 and 1½
    tensor([False,  True])
    """
    top, left, height, width = part
    x1, y1, x2, y2 = boxes.double().unbind(1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return (left < x) & (x < left + width) & (top < y) & (y < top + height)


def has_allowed_shape(part: Part, size: tuple[int, int], ratio: tuple[float, float] = (0.5, 2.0)) -> bool:
    """Return whether resizing a part to an image's size (height, width) distorts it no more than `ratio` allows.

    With the part's sides as shares of the image's, low ≤ (w / W) / (h / H) ≤ high. Both sides are multiplied by h W, so
    that a quotient of just 2 is not rounded to more than 2.

    >>> has_allowed_shape((0, 0, 10, 20), (100, 100)), has_allowed_shape((0, 0, 10, 21), (100, 100))
    (True, False)
    """
    (_, _, height, width), (image_height, image_width) = part, size
    return ratio[0] * (height * image_width) <= width * image_height <= ratio[1] * (height * image_width)


# Zooming out


def zoom_out(image: Image, boxes: Boxes, place: Part, fill: int | None = None) -> tuple[Image, Boxes]:
    """Return the image shrunk into `place`, with `fill` or its mean colour around it, and the boxes in it.

    >>> image = torch.tensor([[[0, 100], [200, 101]]], dtype=torch.uint8)  # the mean is 100¼
    >>> shrunk, moved = zoom_out(image, torch.tensor([[0.0, 0.0, 1.0, 2.0]]), (1, 0, 1, 2))
    >>> shrunk
    tensor([[[100, 100],
             [100, 100]]], dtype=torch.uint8)
    >>> moved
    tensor([[0., 1., 1., 2.]])
    """
    top, left, height, width = _checked(place, image)
    image_height, image_width = image.shape[1:]
    if fill is not None and not 0 <= fill <= 255:
        raise ValueError(f"fill must lie in 0..255, got {fill}")
    colour = image.flatten(1).double().mean(dim=1).add(0.5).floor() if fill is None else torch.tensor([fill])
    canvas = colour.to(image.dtype)[:, None, None].expand_as(image).clone()
    canvas[:, top : top + height, left : left + width] = resize(image, (height, width))
    x1, y1, x2, y2 = boxes.unbind(1)
    x = torch.stack([x1, x2]).clamp(0, image_width) * (width / image_width) + left
    y = torch.stack([y1, y2]).clamp(0, image_height) * (height / image_height) + top
    return canvas, torch.stack([x[0], y[0], x[1], y[1]], dim=1)


# What to do, at random


def draw_parts(
    height: int,
    width: int,
    scale: tuple[float, float] = (0.3, 1.0),
    ratio: tuple[float, float] = (0.5, 2.0),
    num_tries: int = 50,
    generator: Generator | None = None,
) -> list[Part]:
    """Return the crops to try in an image of `height` x `width`: of `num_tries`, those that have an allowed shape.

    Height and width are drawn independently, as shares of the image's uniform in `scale`, then the place.

    >>> draw_parts(10, 20, scale=(1.0, 1.0), num_tries=2)  # only the image itself
    [(0, 0, 10, 20), (0, 0, 10, 20)]
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be 1 px or more, got {height} and {width}")
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two shares of the sides with 0 < low <= high <= 1, got {scale}")
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"ratio must be two values with 0 < low <= high, got {ratio}")
    if ratio[0] > scale[1] / scale[0] or ratio[1] < scale[0] / scale[1]:
        raise ValueError(f"no part with sides in scale={scale} has a ratio in {ratio}; widen one of them")
    parts = []
    for _ in range(num_tries):
        across, down, at_x, at_y = torch.rand(4, generator=generator).tolist()
        h = max(1, int(height * (scale[0] + (scale[1] - scale[0]) * down)))
        w = max(1, int(width * (scale[0] + (scale[1] - scale[0]) * across)))
        part = int(at_y * (height - h + 1)), int(at_x * (width - w + 1)), h, w
        if has_allowed_shape(part, (height, width), ratio):
            parts.append(part)
    return parts


def draw_constraints(generator: Generator | None = None) -> list[float | None]:
    """Return all of `CONSTRAINTS` in random order: the first is the one that is drawn, the others stand in for it.

    >>> set(draw_constraints()) == set(CONSTRAINTS)
    True
    """
    return [CONSTRAINTS[i] for i in torch.randperm(len(CONSTRAINTS), generator=generator).tolist()]


def draw_zoom_out(
    height: int,
    width: int,
    sides: tuple[float, float] = (1.0, 4.0),
    p: float = 0.5,
    generator: Generator | None = None,
) -> Part:
    """Return where an image of `height` x `width` lies after zooming out; with probability 1 − p it fills its result.

    The canvas is f times as wide and as high as the image, f uniform in `sides`. It is then brought back to the size of
    the image, so that the image takes 1 / f of each side; all places are as likely.

    >>> draw_zoom_out(100, 200, sides=(1.0, 1.0), p=1.0), draw_zoom_out(100, 200, p=0.0)
    ((0, 0, 100, 200), (0, 0, 100, 200))
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be 1 px or more, got {height} and {width}")
    if not 1 <= sides[0] <= sides[1]:
        raise ValueError(f"sides must be two factors with 1 <= low <= high, got {sides}")
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in 0..1, got {p}")
    chosen, size, at_x, at_y = torch.rand(4, generator=generator).tolist()
    if chosen >= p:
        return 0, 0, height, width
    factor = sides[0] + (sides[1] - sides[0]) * size
    h, w = max(1, round(height / factor)), max(1, round(width / factor))
    return int(at_y * (height - h + 1)), int(at_x * (width - w + 1)), h, w


def _checked(part: Part, image: Tensor) -> Part:
    top, left, height, width = part
    size = tuple(image.shape[1:])
    if min(height, width) < 1 or min(top, left) < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError(
            f"top {top}, left {left}, height {height} and width {width} must lie in the image of {size} (height, width)"
        )
    return part
