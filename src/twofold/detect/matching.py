"""Which true box, if any, each anchor must learn: `scratch.boxes.match` for whole batches, in two ways.

Both first give each anchor the box that it overlaps most, from a threshold on. They differ in what they do so that no
true box goes without:

- "d2l": the pair of anchor and box that overlaps most belongs together, then the most overlapping pair of those left,
  and so on (Erhan et al., 2014): no two boxes get the same anchor;
- "torchvision": each box takes the anchor that it overlaps most; where two want the same one, the later box has it.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

Way = Literal["d2l", "torchvision"]


def match(
    anchors: Float[Tensor, "anchors 4"],
    boxes: Float[Tensor, "batch boxes 4"],
    there: Bool[Tensor, "batch boxes"],
    *,
    threshold: float = 0.5,
    way: Way = "d2l",
) -> Int64[Tensor, "batch anchors"]:
    """Return for each anchor in each image the index of the box that it must learn, or −1 for background.

    Args:
        anchors: corners.
        boxes: corners, in the same units; padded to the same number an image.
        there: which of them are boxes and no padding.
        threshold: the least intersection over union for which an anchor learns a box that is not its own.
        way: how each box gets an anchor in any case.
    """
    batch, most = boxes.shape[:2]
    if most == 0:
        return torch.full((batch, len(anchors)), -1, device=anchors.device)
    overlap = box_iou(boxes.flatten(0, 1), anchors).view(batch, most, len(anchors))
    # A box without area has 0 / 0 with itself; padding is below all.
    overlap = overlap.nan_to_num(0.0).masked_fill(~there[:, :, None], -1.0)
    best, matched = overlap.max(dim=1)
    matched = matched.masked_fill(best < threshold, -1)
    give = _greedily if way == "d2l" else _each
    give(overlap, there, matched)
    return matched


def _each(overlap: Tensor, there: Tensor, matched: Tensor) -> None:
    favourite = overlap.argmax(dim=2)
    image = torch.arange(len(there), device=there.device)
    for box in range(there.shape[1]):  # in this order, so that the later one wins
        own = there[:, box]
        matched[image[own], favourite[own, box]] = box


def _greedily(overlap: Tensor, there: Tensor, matched: Tensor) -> None:
    """Give anchors to boxes, the most overlapping pair first; on a tie the earlier anchor, then the earlier box.

    Each box remembers its best free anchor, so a round costs as many comparisons as there are boxes; only boxes whose
    anchor was just taken look again.
    """
    batch, most, num_anchors = overlap.shape
    overlap = overlap.clone()
    value, favourite = overlap.max(dim=2)
    waiting = there.clone()
    image = torch.arange(batch, device=there.device)
    for _ in range(min(most, num_anchors)):
        value = value.masked_fill(~waiting, -2.0)
        highest = value == value.amax(dim=1, keepdim=True)
        anchor = favourite.masked_fill(~highest, num_anchors).amin(dim=1)
        box = (highest & (favourite == anchor[:, None])).int().argmax(dim=1)
        active = waiting.any(dim=1)
        if not bool(active.any()):
            return
        matched[image[active], anchor[active]] = box[active]
        waiting[image[active], box[active]] = False
        overlap[image[active], :, anchor[active]] = -1.0
        again = waiting & (favourite == anchor[:, None]) & active[:, None]
        if bool(again.any()):
            value[again], favourite[again] = overlap[again].max(dim=1)
