"""Generalised intersection over union: how far apart two boxes are, also where they do not meet.

`boxes.iou` is 0 for all boxes that do not meet, a pixel apart or a mile: as a loss it would teach nothing there. Let C
be the smallest box that holds both, and take off the part of it that neither fills (Rezatofighi et al., "Generalized
intersection over union", 2019):

    GIoU = |A ∩ B| / |A ∪ B| − (|C| − |A ∪ B|) / |C|

It is 1 for equal boxes, the intersection over union where one box holds the other, and goes to −1 as boxes move apart.
The loss is 1 − GIoU, from 0 to 2. Where smooth L1 judges four offsets each by itself, it judges the box, and does not
depend on the box's size.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from twofold.scratch.boxes import Boxes, area, intersection, iou
from twofold.scratch.loss import Reduction


def giou(boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Return the generalised intersection over union of each box of the first set with each of the second, −1 to 1.

    A part of a C without area counts as 0.

    >>> a = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    >>> giou(a, torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1.0], [3.0, 0.0, 4.0, 1.0]]))  # same, beside, far
    tensor([[ 1.0000,  0.0000, -0.5000]])
    """
    union = area(boxes1)[:, None] + area(boxes2) - intersection(boxes1, boxes2)
    top_left = torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    bottom_right = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])
    hull = (bottom_right - top_left).prod(dim=2)
    return iou(boxes1, boxes2) - (hull - union) * _inverse(hull)


def giou_loss(boxes: Boxes, truth: Boxes, *, reduction: Reduction = "mean") -> Tensor:
    """Return 1 − GIoU of each box with the true box in the same row: the mean or sum, or (with "none") each.

    >>> giou_loss(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]]))
    tensor(1.5000)
    """
    shared, union, hull, _, _ = _measures(boxes, truth)
    losses = 1 - shared * _inverse(union) + (hull - union) * _inverse(hull)
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return losses.mean() if reduction == "mean" else losses.sum()


def giou_loss_backward(grad: Tensor, boxes: Boxes, truth: Boxes, *, reduction: Reduction = "mean") -> Boxes:
    """Return the gradient in `boxes`; that in `truth` is the same with the two exchanged.

    With I, U and C the areas of intersection, union and hull, L = 2 − I/U − U/C. U = |A| + |B| − I, so

        ∂L/∂I = −1/U − I/U² + 1/C,    ∂L/∂|A| = I/U² − 1/C,    ∂L/∂C = U/C²

    Moving the right side x2 of A by one grows |A| by A's height; I by I's height, if the two meet and A's right side is
    the left one of the two; C by C's height, if A's is the right one. The left side shrinks them alike, and so for y.
    Where both sides are at the same place, each gets half, as torch has it.

    >>> boxes, truth = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]])
    >>> giou_loss_backward(torch.tensor(1.0), boxes, truth)[:, [0, 2]]  # wider to the right is better
    tensor([[ 0.1250, -0.2500]])
    """
    shared, union, hull, meet, outer = _measures(boxes, truth)
    per_union, per_hull = _inverse(union), _inverse(hull)
    in_shared = -per_union - shared * per_union**2 + per_hull
    in_area = shared * per_union**2 - per_hull
    in_hull = union * per_hull**2
    sides = boxes[:, 2:] - boxes[:, :2]
    # How fast an area grows when one of its sides gets longer: by the other side.
    growth = [
        factor[:, None] * lengths.flip(1) for factor, lengths in ((in_shared, meet), (in_area, sides), (in_hull, outer))
    ]
    lower, upper = boxes[:, :2] - truth[:, :2], boxes[:, 2:] - truth[:, 2:]
    by_shared, by_area, by_hull = growth
    start = -(by_shared * _part(lower) + by_area + by_hull * _part(-lower))
    end = by_shared * _part(-upper) + by_area + by_hull * _part(upper)
    gradient = torch.cat([start, end], dim=1)
    if reduction == "none":
        return grad[:, None] * gradient
    return grad * gradient / (len(boxes) if reduction == "mean" else 1)


def _measures(boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the areas of intersection, union and hull, and the width and height of intersection and hull."""
    if boxes.shape != truth.shape:
        raise ValueError(f"boxes and truth need one shape, got {tuple(boxes.shape)} and {tuple(truth.shape)}")
    meet = torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])
    meet = torch.where((meet > 0).all(dim=1, keepdim=True), meet, 0)  # boxes that are apart share nothing
    outer = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    shared, hull = meet.prod(dim=1), outer.prod(dim=1)
    return shared, area(boxes) + area(truth) - shared, hull, meet, outer


def _inverse(areas: Tensor) -> Tensor:
    """Return 1/area; 0 for a box without area, where nothing can be said."""
    return torch.where(areas > 0, 1 / areas, 0)


def _part(ahead: Tensor) -> Tensor:
    """Return 1 where a side is ahead of the other box's, ½ where they are equal, 0 elsewhere."""
    return (ahead.sign() + 1) / 2
