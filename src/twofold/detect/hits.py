"""Which detections are right: each true box is found once, by the detection with the highest score that overlaps it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from twofold.data.targets import BoxTargets
from twofold.detect.detections import Detections
from twofold.detect.error_kinds import judge
from twofold.scratch.detection_errors import NEITHER, RIGHT


@dataclass(frozen=True, eq=False)
class Hits:
    """What came of each detection and of each true box.

    Attributes:
        right: whether a detection found a true box of its class.
        counted: whether a detection counts at all: in a crowd it is neither right nor wrong.
        found: whether a true box was found.
    """

    right: Bool[Tensor, " detections"]
    counted: Bool[Tensor, " detections"]
    found: Bool[Tensor, " truths"]


def find_hits(found: Detections, truth: BoxTargets, num_classes: int) -> Hits:
    """Return which detections are right: in each image by falling score, each takes the free box it overlaps most.

    A right one overlaps its box by 0.5 or more.

    Args:
        found: of n images.
        truth: of the same images.
        num_classes: the number of classes.
    """
    kind, which = judge(found, truth, num_classes)
    right = kind == RIGHT
    taken = torch.zeros_like(truth.crowd)
    taken[which[right]] = True
    return Hits(right, kind != NEITHER, taken)


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
