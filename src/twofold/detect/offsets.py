"""Boxes as a network says them: how an anchor must move and stretch. The formulas are in `scratch.boxes`.

Whole batches, where `scratch.boxes.offsets` takes one list of pairs.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Moves in tenths of the anchor's side, stretches in fifths of a factor e: SSD's "variances". As Python's own values and
# not as a tensor, which would have to be copied to a GPU at each call.
MOVE_VARIANCE, STRETCH_VARIANCE = 0.1, 0.2
# The largest stretch, from 16 px to 1000: exp would overflow before training has begun to tame it.
_MOST = math.log(1000 / 16)


def to_offsets(anchors: Float[Tensor, "*batch 4"], boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Return how each anchor must move and stretch to become its box; both are corners and have an area."""
    start, size = anchors[..., :2], anchors[..., 2:] - anchors[..., :2]
    other = boxes[..., 2:] - boxes[..., :2]
    moves = (boxes[..., :2] + other / 2 - start - size / 2) / size
    return torch.cat([moves / MOVE_VARIANCE, (other / size).log() / STRETCH_VARIANCE], dim=-1)


def to_boxes(anchors: Float[Tensor, "*batch 4"], offsets: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Return the corners of the boxes that `offsets` make of the anchors."""
    start, size = anchors[..., :2], anchors[..., 2:] - anchors[..., :2]
    center = start + size / 2 + offsets[..., :2] * MOVE_VARIANCE * size
    half = size * (offsets[..., 2:] * STRETCH_VARIANCE).clamp(max=_MOST).exp() / 2
    return torch.cat([center - half, center + half], dim=-1)
