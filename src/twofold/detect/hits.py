"""Which detections are right: each true box is found once, by the detection with the highest score that overlaps it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torchvision.ops import box_iou

from twofold.data.targets import BoxTargets
from twofold.detect.detections import Detections


@dataclass(frozen=True, eq=False)
class Hits:
    """What came of each detection and of each true box, at one threshold of the overlap.

    Attributes:
        right: whether a detection found a true box of its class.
        counted: whether a detection counts at all: in a crowd it is neither right nor wrong.
        found: whether a true box was found.
    """

    right: Bool[Tensor, " detections"]
    counted: Bool[Tensor, " detections"]
    found: Bool[Tensor, " truths"]


def find_hits(found: Detections, truth: BoxTargets, threshold: float = 0.5) -> Hits:
    """Return which detections are right, in each image by falling score, each taking the free box it overlaps most.

    Args:
        found: of n images, in each by falling score.
        truth: of the same images.
        threshold: the least intersection over union of a right detection.
    """
    right, counted = np.zeros(len(found.scores), dtype=bool), np.ones(len(found.scores), dtype=bool)
    taken = np.zeros(len(truth.labels), dtype=bool)
    crowd, labels = truth.crowd.numpy(), truth.labels.numpy()
    start, first = 0, 0
    for num_found, num_true in zip(found.counts.tolist(), truth.counts.tolist(), strict=True):
        end, last = start + num_found, first + num_true
        if num_found and num_true:
            overlaps = box_iou(found.boxes[start:end], truth.boxes[first:last]).nan_to_num(0.0).numpy()
            same = found.labels[start:end].numpy()[:, None] == labels[first:last]
            overlaps = np.where(same & ~crowd[first:last], overlaps, 0.0)
            # Detections that overlap nothing enough are wrong whatever the others find.
            for row in np.flatnonzero(overlaps.max(axis=1) >= threshold):
                free = np.where(taken[first:last], 0.0, overlaps[row])
                best = int(free.argmax())
                if free[best] >= threshold:
                    right[start + row] = taken[first + best] = True
            if crowd[first:last].any():
                inside = _share_inside(found.boxes[start:end], truth.boxes[first:last])
                in_crowd = (same & crowd[first:last] & (inside >= threshold)).any(axis=1)
                counted[start:end] = right[start:end] | ~in_crowd
        start, first = end, last
    return Hits(torch.from_numpy(right), torch.from_numpy(counted), torch.from_numpy(taken))


def _share_inside(boxes: Tensor, regions: Tensor) -> np.ndarray:
    low = torch.maximum(boxes[:, None, :2], regions[:, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1, keepdim=True).clamp(min=1e-9)
    return ((high - low).clamp(min=0).prod(dim=2) / areas).numpy()


def best_f1(found: Detections, hits: Hits, num_true: int) -> tuple[float, float]:
    """Return the score from which on detections have the best F1, and that F1; (0.5, 0) where nothing is right.

    F1 is 2 · right / (detections + true boxes), over all classes and images together.

    Args:
        found: the detections.
        hits: which of them are right.
        num_true: how many true boxes there are, without crowds.
    """
    scores, order = found.scores[hits.counted].sort(descending=True)
    right = hits.right[hits.counted][order].cumsum(0)
    if not len(scores) or not int(right[-1]):
        return 0.5, 0.0
    f1 = 2 * right.double() / (torch.arange(1, len(scores) + 1) + num_true)
    # Detections with one score stand or fall together: only the last of them is a place to cut.
    last = torch.ones_like(right, dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]
    f1 = f1.masked_fill(~last, -1.0)
    best = int(f1.argmax())
    # Halfway to the next score, so that rounding on another machine changes nothing.
    below = float(scores[best + 1]) if best + 1 < len(scores) else 0.0
    return (float(scores[best]) + below) / 2, float(f1[best])
