"""Boxes, anchors, matching and suppression under the names of each edition, on the readable forms.

`detect/` has them at scale, and `twofold train ssd-mini --data fashion-scenes` trains a detector with them.

The editions differ: the Chinese PyTorch edition puts anchors at the upper left corner of a pixel and not at its
centre, sorts those of a pixel by ratio first, gives each true box its anchor in turn and not the best pair first, and
adds what a network answers to the anchor as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from twofold.scratch import boxes as readable


def box_corner_to_center(boxes: Tensor) -> Tensor:
    """Return corners (x1, y1, x2, y2) as (cx, cy, w, h).

    Idea: `twofold show box-forms`.
    """
    return readable.corner_to_center(boxes)


def box_center_to_corner(boxes: Tensor) -> Tensor:
    """Return (cx, cy, w, h) as corners (x1, y1, x2, y2).

    Idea: `twofold show box-forms`.
    """
    return readable.center_to_corner(boxes)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the intersection over union of each box with each other, (n, 4) and (m, 4) to (n, m).

    Idea: `twofold show iou`.
    """
    return readable.iou(boxes1, boxes2)


# Anchors


def multibox_prior(data: Tensor, sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return the anchors of a feature map `data` (..., height, width): (1, anchors, 4), in parts of the image.

    A width is multiplied by height/width of the map, so that ratio 1 is a square in a map's pixels.

    Idea: `twofold show anchors`.
    """
    height, width = data.shape[-2:]
    centered = readable.corner_to_center(readable.anchors(height, width, list(sizes), list(ratios)))
    centered[:, 2] *= height / width
    return readable.center_to_corner(centered)[None].to(data.device)


def MultiBoxPrior(
    feature_map: Tensor, sizes: Sequence[float] = [0.75, 0.5, 0.25], ratios: Sequence[float] = [1, 2, 0.5]
) -> Tensor:
    """Return the anchors of `feature_map` (..., height, width): (1, anchors, 4), in parts of the image.

    Their centres are the upper left corners of the pixels; of a pixel those of the first size come first, by ratio.

    Idea: `twofold show anchors`.
    """
    height, width = feature_map.shape[-2:]
    anchors = readable.anchors(height, width, list(sizes), list(ratios))
    anchors -= torch.tensor([0.5 / width, 0.5 / height]).repeat(2)
    by_ratio = [0, *range(len(sizes), len(sizes) + len(ratios) - 1), *range(1, len(sizes))]
    return anchors.reshape(height * width, -1, 4)[:, by_ratio].reshape(1, -1, 4)


# What each anchor must learn


def assign_anchor_to_bbox(ground_truth: Tensor, anchors: Tensor, device: Any, iou_threshold: float = 0.5) -> Tensor:
    """Return for each anchor the index of the true box that it must learn, or −1.

    Idea: `twofold show match-anchors`.
    """
    return readable.match(anchors, ground_truth, iou_threshold).to(device)


def assign_anchor(bb: Tensor, anchor: Tensor, jaccard_threshold: float = 0.5) -> Tensor:
    """Return for each anchor the index of the true box that it must learn, or −1.

    Each true box in turn takes the anchor that it overlaps most, of those still free; each anchor left takes the box
    that it overlaps most, from the threshold on.

    Idea: `twofold show match-anchors`.
    """
    overlap = readable.iou(anchor, bb)
    assigned = torch.full((len(anchor),), -1)
    if overlap.numel() == 0:
        return assigned
    best, which = overlap.max(dim=1)
    assigned[best >= jaccard_threshold] = which[best >= jaccard_threshold]
    free = overlap.clone()
    for index in range(min(free.shape)):
        anchor_index = int(free[:, index].argmax())
        assigned[anchor_index] = index
        free[anchor_index] = -torch.inf
    return assigned


def offset_boxes(anchors: Tensor, assigned_bb: Tensor, eps: float = 1e-6) -> Tensor:
    """Return how each anchor must move and stretch to become its true box; `eps` keeps log(0) away.

    Idea: `twofold show box-offsets`.
    """
    anchor, box = readable.corner_to_center(anchors), readable.corner_to_center(assigned_bb)
    moves = 10 * (box[:, :2] - anchor[:, :2]) / anchor[:, 2:]
    return torch.cat([moves, 5 * torch.log(eps + box[:, 2:] / anchor[:, 2:])], dim=1)


def _targets(
    anchors: Tensor, labels: Tensor, assign: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    offsets, masks, classes = [], [], []
    for padded in labels:
        rows = padded[padded[:, 0] >= 0]
        which = assign(rows[:, 1:], anchors)
        has_box = which >= 0
        boxes, of_anchor = torch.zeros_like(anchors), torch.zeros_like(which)
        boxes[has_box] = rows[which[has_box], 1:]
        of_anchor[has_box] = rows[which[has_box], 0].long() + 1
        mask = has_box[:, None].float().expand(-1, 4)
        offsets.append((offset_boxes(anchors, boxes) * mask).flatten())
        masks.append(mask.flatten())
        classes.append(of_anchor)
    return torch.stack(offsets), torch.stack(masks), torch.stack(classes)


def multibox_target(anchors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what each anchor must learn.

    Args:
        anchors: (1, anchors, 4).
        labels: (images, boxes, 5): class and corners of each true box; rows of class −1 are none.

    Returns:
        The offsets, (images, anchors · 4); 1 where they count and 0 at background, as many; the classes, (images,
        anchors), 0 for background and the class + 1 otherwise.

    Idea: `twofold show multibox-loss`.
    """
    return _targets(anchors.squeeze(0), labels, lambda boxes, flat: readable.match(flat, boxes))


def MultiBoxTarget(anchor: Tensor, label: Tensor) -> list[Tensor]:
    """Return what each anchor must learn, as a list of three; see `multibox_target`.

    Idea: `twofold show multibox-loss`.
    """
    return list(_targets(anchor[0], label, assign_anchor))


# What to keep


def offset_inverse(anchors: Tensor, offset_preds: Tensor) -> Tensor:
    """Return the boxes that predicted offsets mean.

    Idea: `twofold show box-offsets`.
    """
    return readable.apply_offsets(anchors, offset_preds)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes to keep, by falling score.

    Idea: `twofold show nms`.
    """
    return readable.nms(boxes, scores, iou_threshold)


def multibox_detection(
    cls_probs: Tensor,
    offset_preds: Tensor,
    anchors: Tensor,
    nms_threshold: float = 0.5,
    pos_threshold: float = 0.009999999,
) -> Tensor:
    """Return what a detector finds: (images, anchors, 6), each row class, probability and corners.

    The class of what is dropped is −1: what overlaps a better box, and what is less probable than `pos_threshold`,
    whose probability becomes that of the background. Those that are kept come first.

    Args:
        cls_probs: (images, 1 + classes, anchors), the background first.
        offset_preds: (images, anchors · 4).
        anchors: (1, anchors, 4).
        nms_threshold: overlap from which on a box drops another.
        pos_threshold: the least probability of an object.

    Idea: `twofold show nms`.
    """
    found = []
    for probabilities, offsets in zip(cls_probs, offset_preds, strict=True):
        confidence, classes = probabilities[1:].max(dim=0)
        boxes = offset_inverse(anchors.squeeze(0), offsets.reshape(-1, 4))
        kept = nms(boxes, confidence, nms_threshold)
        is_dropped = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        is_dropped[kept] = False
        classes[is_dropped] = -1
        order = torch.cat([kept, is_dropped.nonzero().flatten()])
        classes, confidence, boxes = classes[order], confidence[order], boxes[order]
        is_background = confidence < pos_threshold
        classes[is_background] = -1
        confidence[is_background] = 1 - confidence[is_background]
        found.append(torch.cat([classes[:, None], confidence[:, None], boxes], dim=1))
    return torch.stack(found)


class Pred_BB_Info(NamedTuple):
    """A box that a network predicts: its index, class, probability and corners."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] -- the book's name for it
    class_id: int
    confidence: float
    xyxy: Sequence[float]


def non_max_suppression(bb_info_list: Sequence[Pred_BB_Info], nms_threshold: float = 0.5) -> list[Pred_BB_Info]:
    """Return the boxes to keep, by falling probability.

    Idea: `twofold show nms`.
    """
    if not bb_info_list:
        return []
    boxes = torch.tensor([list(map(float, each.xyxy)) for each in bb_info_list])
    scores = torch.tensor([float(each.confidence) for each in bb_info_list])
    return [bb_info_list[index] for index in readable.nms(boxes, scores, nms_threshold).tolist()]


def MultiBoxDetection(cls_prob: Tensor, loc_pred: Tensor, anchor: Tensor, nms_threshold: float = 0.5) -> Tensor:
    """Return what a detector finds: (images, anchors, 6), each row class, probability and corners, anchor by anchor.

    `loc_pred` (images, anchors · 4) is added to the corners of the anchors. The class of what is dropped is −1, and so
    is that of the background.

    Idea: `twofold show nms`.
    """
    found = []
    for probabilities, moves in zip(cls_prob, loc_pred, strict=True):
        confidence, classes = probabilities.max(dim=0)
        boxes = anchor[0] + moves.reshape(-1, 4)
        answers = torch.full((len(boxes),), -1.0)
        kept = readable.nms(boxes, confidence, nms_threshold)
        answers[kept] = classes[kept].float() - 1
        found.append(torch.cat([answers[:, None], confidence[:, None], boxes], dim=1))
    return torch.stack(found)


# Names of the Chinese PyTorch edition


def compute_intersection(set_1: Tensor, set_2: Tensor) -> Tensor:
    """Return the area that each box shares with each other, (n, 4) and (m, 4) to (n, m).

    Idea: `twofold show iou`.
    """
    return readable.intersection(set_1, set_2)


def compute_jaccard(set_1: Tensor, set_2: Tensor) -> Tensor:
    """Return the intersection over union of each box with each other, (n, 4) and (m, 4) to (n, m).

    Idea: `twofold show iou`.
    """
    return readable.iou(set_1, set_2)


def xy_to_cxcy(xy: Tensor) -> Tensor:
    """Return corners (x1, y1, x2, y2) as (cx, cy, w, h).

    Idea: `twofold show box-forms`.
    """
    return readable.corner_to_center(xy)
