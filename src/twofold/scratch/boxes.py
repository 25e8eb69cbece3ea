"""Boxes: to say not only what is in an image, but where.

A detector looks at thousands of positions at once. At each it has boxes of a few fixed shapes, *anchors*, and predicts
for each anchor what is in it, and how it should be moved and scaled to fit (Ren et
al., "Faster R-CNN", 2015; Liu et al., "SSD: single shot multibox detector", 2016).

This module has all of it but the network:

- `anchors`: these boxes.
- `iou`: how well two boxes agree, from 0 to 1.
- `match`: which true box, if any, each anchor must learn.
- `offsets`: how it differs from its anchor, as four values of about the same size; `apply_offsets` turns predicted
  ones into boxes.
- `nms`: many anchors find the same object; keep the one with the highest score.

What a detector's training minimises is in `multibox.py` and `generalised_iou.py`, how good it is in `detection.py`.

A box is four values, in one of two forms: its *corners* (x1, y1, x2, y2), left, top, right and bottom, or its *centre*
(cx, cy, w, h). x goes right and y goes down. Corners compare well, centres move well. Boxes are corners unless said
otherwise, with x1 ≤ x2 and y1 ≤ y2, in pixels or, as anchors are, in parts of the image: 0 left and top, 1 right and
bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

Boxes = Float[Tensor, "boxes 4"]  # or as many offsets

# Two forms of a box, and how two boxes compare


def corner_to_center(boxes: Boxes) -> Boxes:
    """Return corners (x1, y1, x2, y2) as (cx, cy, w, h): cx = (x1 + x2)/2, w = x2 − x1, and so for y.

    >>> corner_to_center(torch.tensor([[1.0, 2.0, 5.0, 4.0]]))
    tensor([[3., 3., 4., 2.]])
    """
    x1, y1, x2, y2 = _columns("boxes", boxes)
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)


def center_to_corner(boxes: Boxes) -> Boxes:
    """Return (cx, cy, w, h) as corners: x1 = cx − w/2, x2 = cx + w/2, and so for y. The inverse.

    >>> center_to_corner(torch.tensor([[3.0, 3.0, 4.0, 2.0]]))
    tensor([[1., 2., 5., 4.]])
    """
    cx, cy, w, h = _columns("boxes", boxes)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=1)


def area(boxes: Boxes) -> Float[Tensor, " boxes"]:
    """Return (x2 − x1)(y2 − y1) of each box.

    >>> area(torch.tensor([[1.0, 2.0, 5.0, 4.0]]))
    tensor([8.])
    """
    x1, y1, x2, y2 = _columns("boxes", boxes)
    return (x2 - x1) * (y2 - y1)


def intersection(boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Return the area that each box of the first set shares with each of the second.

    >>> intersection(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 1.0, 9.0, 9.0], [5.0, 5.0, 6.0, 6.0]]))
    tensor([[1., 0.]])
    """
    top_left = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    bottom_right = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    return (bottom_right - top_left).clamp(min=0).prod(dim=2)


def iou(boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Return the intersection over union of each box of the first set with each of the second, 0 to 1.

    Jaccard, 1901; the measure of detection since Everingham et al., "The PASCAL visual object classes challenge", 2010.
    The intersection of two boxes is a box: from the larger of the left sides to the smaller of the right, unless
    that lies before it. The union has both areas, less what was counted twice:

        |A ∩ B| = max(0, min(x2) − max(x1)) · max(0, min(y2) − max(y1)),    |A ∪ B| = |A| + |B| − |A ∩ B|

    A box without area has 0 with all others, and with itself too, where 0/0 would be undefined.

    >>> a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> iou(a, torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 4.0, 2.0]]))  # 1, 1/7, side by side
    tensor([[1.0000, 0.1429, 0.0000]])
    """
    areas = area(boxes1)[:, None] + area(boxes2)
    shared = intersection(boxes1, boxes2)
    union = areas - shared
    return torch.where(union > 0, shared / union, 0)


# Where to look


def anchors(
    height: int, width: int, sizes: Sequence[float], ratios: Sequence[float], image_size: tuple[int, int] | None = None
) -> Float32[Tensor, "anchors 4"]:
    """Return the anchors of a feature map of `height` x `width`, in parts of the image, pixel by pixel, row by row.

    The anchors of a pixel have its centre: pixel (i, j) covers 1/height x 1/width of the image, its centre is at

        cx = (j + ½) / width,    cy = (i + ½) / height

    A size s is the side of the square with the anchor's area, a ratio r is width over height. From w h = s² and
    w / h = r follow

        w = s √r,    h = s / √r

    Of n sizes and m ratios not all n · m pairs are taken, but those with the first size or the first ratio:
    (s_1, r_1), ..., (s_n, r_1), then (s_1, r_2), ..., (s_1, r_m): n + m − 1 anchors a pixel.

    In parts of an image that is not square, a square is not square in pixels. Given `image_size`, (height, width) in
    pixels, the ratios are those in pixels: in an image H high and W wide r becomes r · H / W; s² stays the part of the
    image that an anchor covers.

    >>> anchors(1, 1, sizes=[0.5, 0.25], ratios=[1.0, 4.0])  # the 1x1 map's one pixel is the whole image
    tensor([[0.2500, 0.2500, 0.7500, 0.7500],
            [0.3750, 0.3750, 0.6250, 0.6250],
            [0.0000, 0.3750, 1.0000, 0.6250]])
    >>> anchors(1, 2, sizes=[0.5], ratios=[1.0])[:, [0, 2]]  # the left and the right half: x1 and x2
    tensor([[0.0000, 0.5000],
            [0.5000, 1.0000]])
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be 1 or more, got {height} and {width}")
    if not sizes or not ratios or min(*sizes, *ratios) <= 0:
        raise ValueError(f"sizes and ratios need one value or more, all above 0, got {sizes} and {ratios}")
    if image_size is not None and min(image_size) < 1:
        raise ValueError(f"image_size must be 1 px or more, got {image_size}")
    correction = 1.0 if image_size is None else image_size[0] / image_size[1]
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    w = torch.tensor([size * math.sqrt(ratio * correction) for size, ratio in pairs])
    h = torch.tensor([size / math.sqrt(ratio * correction) for size, ratio in pairs])
    cx = (torch.arange(width) + 0.5) / width
    cy = (torch.arange(height) + 0.5) / height
    shape = (height, width, len(pairs))
    centered = [part.expand(shape).flatten() for part in (cx[None, :, None], cy[:, None, None], w, h)]
    return center_to_corner(torch.stack(centered, dim=1))


def multiscale_anchors(
    maps: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[float]],
    ratios: Sequence[Sequence[float]],
    image_size: tuple[int, int] | None = None,
) -> Float32[Tensor, "anchors 4"]:
    """Return the anchors of several feature maps (height, width), one after the other, each with its sizes and ratios.

    A deep network's maps shrink: a fine map, with small anchors, looks for small things, a coarse one for large.

    >>> multiscale_anchors([(4, 4), (2, 2)], sizes=[[0.2, 0.3], [0.5, 0.6]], ratios=[[1.0], [1.0, 2.0, 0.5]]).shape
    torch.Size([48, 4])
    """
    if not len(maps) == len(sizes) == len(ratios) > 0:
        raise ValueError(f"each map needs its sizes and ratios, got {len(maps)}, {len(sizes)} and {len(ratios)}")
    scales = zip(maps, sizes, ratios, strict=True)
    return torch.cat([anchors(*size, some_sizes, some_ratios, image_size) for size, some_sizes, some_ratios in scales])


# What each anchor must learn


def match(
    anchors: Float[Tensor, "anchors 4"],
    truth: Float[Tensor, "truth 4"],
    threshold: float = 0.5,
    *,
    way: Literal["d2l", "torchvision"] = "d2l",
) -> Int64[Tensor, " anchors"]:
    """Return for each anchor the index of the true box that it must learn, or −1 for none: background.

    1. No true box may go without (Erhan et al., "Scalable object detection using deep neural networks", 2014). The pair
       of anchor and true box that overlaps most belongs together, then the most overlapping pair of those left, and so
       on until each true box has its own anchor, however small their overlap. (More true boxes than anchors: as many
       as there are anchors.)
    2. Each anchor left takes the true box that it overlaps most, if their intersection over union is `threshold` or
       more (Liu et al., 2016).

    On a tie the earlier anchor is taken, then the earlier true box.

    That is D2L's `way`. In torchvision's each true box takes the anchor that it overlaps most in the first step,
    whether another has it or not: it needs no search for the best pair, and where two true boxes want the same anchor
    the later one has it, so that the earlier may go without.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [0.0, 0.0, 4.0, 1.0], [9.0, 9.0, 9.5, 9.5]])
    >>> truth = torch.tensor([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 10.0, 10.0]])
    >>> iou(boxes, truth)
    tensor([[1.0000, 0.0000],
            [0.7500, 0.0000],
            [0.2500, 0.0000],
            [0.0000, 0.0625]])
    >>> match(boxes, truth)  # anchors 0 and 3 in the first step, 1 in the second
    tensor([ 0,  0, -1,  1])
    >>> both = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.5]])  # both overlap anchor 0 most
    >>> match(boxes[[0, 2]], both), match(boxes[[0, 2]], both, way="torchvision")
    (tensor([0, 1]), tensor([ 1, -1]))
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must lie in 0..1, got {threshold}")
    if way not in ("d2l", "torchvision"):
        raise ValueError(f"way must be 'd2l' or 'torchvision', got {way!r}")
    overlap = iou(anchors, truth)
    matched = torch.full((len(anchors),), -1, device=anchors.device)
    if overlap.numel() == 0:
        return matched
    best, which = overlap.max(dim=1)
    enough = best >= threshold
    matched[enough] = which[enough]
    # The first step comes last, where it can overwrite the second.
    if way == "torchvision":
        for true_box, anchor in enumerate(overlap.argmax(dim=0).tolist()):
            matched[anchor] = true_box
        return matched
    free = overlap.clone()
    for _ in range(min(free.shape)):
        anchor, true_box = divmod(int(free.argmax()), len(truth))
        matched[anchor] = true_box
        free[anchor], free[:, true_box] = -1, -1
    return matched


def offsets(anchors: Boxes, truth: Boxes, variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)) -> Boxes:
    """Return how each anchor must move and stretch to become its true box: what the network learns to say.

    Moves are counted in widths and heights of the anchor, so that they mean the same for small and large ones.
    Stretching is a factor, and its logarithm makes twice as wide and half as wide equally far from 0 (Girshick et
    al., "Rich feature hierarchies for accurate object detection", 2014). SSD divides all by what it called variances,
    0.1 and 0.2, about how much they differ in practice: the values to learn are then of size 1. With the anchor's
    centre form (a_x, a_y, a_w, a_h):

        ((cx − a_x) / a_w) / 0.1,    ((cy − a_y) / a_h) / 0.1,    log(w / a_w) / 0.2,    log(h / a_h) / 0.2

    >>> anchor = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    >>> offsets(anchor, torch.tensor([[2.0, 0.0, 12.0, 20.0]]))  # 2 right of 10, 5 down of 10, twice as high: log 2
    tensor([[2.0000, 5.0000, 0.0000, 3.4657]])
    """
    _check_pairs(anchors, truth, "truth")
    scale = _variances(variances, anchors)
    anchor, true_box = corner_to_center(anchors), corner_to_center(truth)
    if not bool((anchor[:, 2:] > 0).all() and (true_box[:, 2:] > 0).all()):
        raise ValueError("anchors and truth must all have a width and a height above 0; leave out those that have not")
    moves = (true_box[:, :2] - anchor[:, :2]) / anchor[:, 2:]
    stretches = (true_box[:, 2:] / anchor[:, 2:]).log()
    return torch.cat([moves, stretches], dim=1) / scale


def apply_offsets(
    anchors: Boxes, offsets: Boxes, variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
) -> Boxes:
    """Return the anchors moved and stretched: the boxes that a network's `offsets` mean. The inverse of `offsets`.

        cx = a_x + 0.1 t_x a_w,    cy = a_y + 0.1 t_y a_h,    w = a_w exp(0.2 t_w),    h = a_h exp(0.2 t_h)

    >>> anchor = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    >>> apply_offsets(anchor, torch.tensor([[2.0, 5.0, 0.0, 3.4657]])).round(decimals=3)
    tensor([[ 2.,  0., 12., 20.]])
    """
    _check_pairs(anchors, offsets, "offsets")
    anchor, change = corner_to_center(anchors), offsets * _variances(variances, anchors)
    centers = anchor[:, :2] + change[:, :2] * anchor[:, 2:]
    sides = anchor[:, 2:] * change[:, 2:].exp()
    return center_to_corner(torch.cat([centers, sides], dim=1))


# What to keep


def nms(boxes: Boxes, scores: Float[Tensor, " boxes"], threshold: float) -> Int64[Tensor, " kept"]:
    """Return the indices of the boxes to keep, by falling score: greedy non-maximum suppression.

    Take the box with the highest score (the first on a tie), drop all boxes that overlap it by *more* than
    `threshold`, and go on with those left (Felzenszwalb et al., "Object detection with discriminatively trained
    part-based models", 2010).

    >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 3.0], [5.0, 5.0, 6.0, 6.0]])
    >>> nms(boxes, torch.tensor([0.8, 0.9, 0.3]), threshold=0.5)  # 0 and 1 share 4 of 6
    tensor([1, 2])
    """
    _check_scored(boxes, scores, threshold)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(best)
        overlap = iou(boxes[best][None], boxes[rest])[0]
        # In float64, as torchvision compares: in float32 the threshold itself would be rounded, to above or below.
        left = rest[overlap.double() <= threshold]
    return torch.stack(kept) if kept else left


def nms_by_class(
    boxes: Boxes, scores: Float[Tensor, " boxes"], labels: Int64[Tensor, " boxes"], threshold: float
) -> Int64[Tensor, " kept"]:
    """Return the indices of the boxes to keep, by falling score, where a box drops only boxes of its own class.

    A dog before a bench overlaps it, and both are there; two dogs in the same place are one. So each class is
    suppressed by itself, and what is left of all is put in order (the first on a tie).

    >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 2.0, 3.0]])
    >>> nms_by_class(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 1]), threshold=0.5)
    tensor([1, 2])
    """
    if labels.shape != scores.shape:
        raise ValueError(f"labels need one value for each of the {len(scores)} scores, got {tuple(labels.shape)}")
    _check_scored(boxes, scores, threshold)
    kept = [labels[:0]]
    for label in labels.unique():
        rows = torch.nonzero(labels == label).flatten()
        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
    together = torch.cat(kept).sort().values
    return together[scores[together].argsort(descending=True, stable=True)]


def _columns(name: str, boxes: Tensor) -> tuple[Tensor, ...]:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must be (boxes, 4), got {tuple(boxes.shape)}")
    return boxes.unbind(dim=1)


def _check_scored(boxes: Tensor, scores: Tensor, threshold: float) -> None:
    _columns("boxes", boxes)
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f"scores need one value for each of the {len(boxes)} boxes, got {tuple(scores.shape)}")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must lie in 0..1, got {threshold}")


def _check_pairs(anchors: Tensor, others: Tensor, name: str) -> None:
    _columns("anchors", anchors)
    _columns(name, others)
    if len(anchors) != len(others):
        raise ValueError(f"{name} need one row for each of the {len(anchors)} anchors, got {len(others)}")


def _variances(variances: tuple[float, float, float, float], like: Tensor) -> Tensor:
    if len(variances) != 4 or min(variances) <= 0:
        raise ValueError(f"variances must be four values above 0, got {variances}")
    return torch.tensor(variances, dtype=like.dtype, device=like.device)
