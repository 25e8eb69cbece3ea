"""How good is a detector? Precision, recall and average precision, as COCO counts them.

A detector answers with boxes, each with a class and a score. The questions of `ranking.py` are asked of boxes: of
those with the highest scores, how many are right (**precision**), and how many of the true boxes have been found
(**recall**)?
New is what "right" means (Everingham et al., "The PASCAL visual object classes challenge", 2010): a detection is right
if it overlaps a true box of its class by a *threshold* or more, and each true box can be found once. The second
detection of the same dog is wrong.

In reading order:

1. `overlaps`: by how much each detection overlaps each true box.
2. `match_detections`: which true box each detection finds.
3. `judge`: which detections are right, wrong, or neither.
4. `curve` and `read_curve`: precision and recall of the detections with the highest scores, read at 101 recalls.
5. `evaluate`: all classes, thresholds, sizes and limits. Average precision is the mean over the 101 recalls, and over
   whatever else is asked for.

COCO (Lin et al., "Microsoft COCO: common objects in context", 2014) adds to this:

- ten thresholds from 0.5 to 0.95, so that a box that fits better counts more: **AP** is the mean over them, AP50 and
  AP75 are single ones;
- *crowds*, true boxes around many objects that nobody counted: what lies in one is neither right nor wrong;
- sizes: small objects below 32² pixels, medium ones, large ones above 96². True boxes of other sizes are *ignored*, as
  crowds are: their detections are neither right nor wrong, and neither are others of another size that find nothing;
- limits: at most 1, 10 or 100 detections of a class in an image, those with the highest scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from twofold.scratch.boxes import area, intersection, iou

THRESHOLDS = [0.5 + step * ((0.95 - 0.5) / 9) for step in range(10)]
"""0.5, 0.55, ..., 0.95, rounded as COCO's own code rounds them: an overlap of just 0.6 must count in both or none."""
RECALLS = [step * 0.01 for step in range(101)]
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
"""The least and the largest area of each size in pixels; a box of just 32² is small and medium."""
LIMITS = (1, 10, 100)


class Truth(NamedTuple):
    """What is in one image.

    Attributes:
        boxes: corners in pixels.
        labels: the class of each.
        crowd: whether it stands for many objects that nobody counted.
        areas: by which an object is small, medium or large, in pixels; may be less than its box's.
    """

    boxes: Float[Tensor, "truths 4"]
    labels: Int64[Tensor, " truths"]
    crowd: Bool[Tensor, " truths"]
    areas: Float[Tensor, " truths"]

    def of_class(self, label: int) -> Truth:
        """Return the true boxes of one class."""
        return Truth(*(part[self.labels == label] for part in self))


class Detected(NamedTuple):
    """What a detector finds in one image.

    Attributes:
        boxes: corners in pixels.
        scores: how sure the detector is of each.
        labels: the class of each.
    """

    boxes: Float[Tensor, "detections 4"]
    scores: Float[Tensor, " detections"]
    labels: Int64[Tensor, " detections"]

    def rows(self, label: int, most: int = LIMITS[-1]) -> Int64[Tensor, " rows"]:
        """Return where the detections of one class are, at most `most`, by falling score, the first on a tie."""
        own = torch.nonzero(self.labels == label).flatten()
        return own[self.scores[own].argsort(descending=True, stable=True)][:most]

    def of_class(self, label: int) -> Detected:
        """Return the detections of one class, by falling score; no more than the largest limit."""
        rows = self.rows(label)
        return Detected(*(part[rows] for part in self))


@dataclass(frozen=True)
class Evaluated:
    """Precision and recall of a detector; NaN for a class and size that no true box has.

    Attributes:
        precision: by threshold, recall 0 to 1 in hundredths, class, size (`AREAS`) and limit (`LIMITS`).
        recall: the share of the true boxes that is found, without the second dimension.
        scores: as `precision`: the least score of the detections that reach this recall, 0 where none do.
    """

    precision: Float64[Tensor, "thresholds recalls classes areas limits"]
    recall: Float64[Tensor, "thresholds classes areas limits"]
    scores: Float64[Tensor, "thresholds recalls classes areas limits"]


def overlaps(
    boxes: Float[Tensor, "detections 4"], truth: Float[Tensor, "truths 4"], crowd: Bool[Tensor, " truths"]
) -> Float[Tensor, "detections truths"]:
    """Return by how much each detection overlaps each true box: intersection over union, or how much lies in a crowd.

    A detection of one person in a crowd is right, but much smaller: there the intersection is divided by the area of
    the detection alone.

    >>> box, crowd = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 9.0, 9.0]])
    >>> overlaps(box, crowd, torch.tensor([True])), overlaps(box, crowd, torch.tensor([False]))
    (tensor([[0.5000]]), tensor([[0.0270]]))
    """
    own = area(boxes)[:, None]
    inside = torch.where(own > 0, intersection(boxes, truth) / own, 0)
    return torch.where(crowd, inside, iou(boxes, truth))


def match_detections(
    overlap: Float[Tensor, "detections truths"],
    threshold: float,
    crowd: Bool[Tensor, " truths"],
    ignored: Bool[Tensor, " truths"],
) -> Int64[Tensor, " detections"]:
    """Return for each detection of one class in one image the index of the true box that it finds, or −1 for none.

    In the order of the rows (by falling score), each detection takes of the true boxes that are left and that it
    overlaps by `threshold` or more the one that it overlaps most, the last on a tie. Those that are ignored are taken
    only where no other will do. A crowd is never used up.

    >>> overlap = torch.tensor([[0.7, 0.9], [0.6, 0.8], [0.4, 0.8]])
    >>> nothing = torch.tensor([False, False])
    >>> match_detections(overlap, 0.5, nothing, nothing)  # the best takes true box 1, the next has to make do with 0
    tensor([ 1,  0, -1])
    """
    is_crowd, is_ignored = crowd.tolist(), ignored.tolist()
    left, found = list(range(overlap.shape[1])), []
    for row in overlap.tolist():
        enough = [index for index in left if row[index] >= threshold]
        best = max(enough, key=lambda index: (not is_ignored[index], row[index], index), default=-1)
        found.append(best)
        if best >= 0 and not is_crowd[best]:
            left.remove(best)
    return torch.tensor(found, dtype=torch.int64)


def outside(areas: Float[Tensor, " boxes"], limits: tuple[float, float]) -> Bool[Tensor, " boxes"]:
    """Return which areas lie below the least or above the largest.

    >>> outside(torch.tensor([1023.0, 1024.0, 9217.0]), AREAS["medium"])
    tensor([ True, False,  True])
    """
    return (areas < limits[0]) | (areas > limits[1])


def judge(
    detected: Detected,
    truth: Truth,
    overlap: Float[Tensor, "detections truths"],
    threshold: float,
    size: tuple[float, float] = AREAS["all"],
) -> tuple[Bool[Tensor, " detections"], Bool[Tensor, " detections"]]:
    """Return which detections of one class in one image are right, and which count: the others are neither.

    Neither right nor wrong are detections of an ignored true box (a crowd, or one outside of `size`), and detections
    outside of `size` that find nothing.

    >>> truth = Truth(torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 40.0, 40.0]]), torch.tensor([0, 0]),
    ...     crowd=torch.tensor([False, True]), areas=torch.tensor([100.0, 800.0]))
    >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 10.0], [0.0, 1.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    >>> detected = Detected(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 0]))
    >>> judge(detected, truth, overlaps(boxes, truth.boxes, truth.crowd), 0.5)  # right, a second time, in the crowd
    (tensor([ True, False, False]), tensor([ True,  True, False]))
    """
    ignored = truth.crowd | outside(truth.areas, size)
    found = match_detections(overlap, threshold, truth.crowd, ignored)
    hit = found >= 0
    of_ignored = torch.zeros_like(hit)
    of_ignored[hit] = ignored[found[hit]]
    counts = torch.where(hit, ~of_ignored, ~outside(area(detected.boxes), size))
    return hit & counts, counts


def curve(
    scores: Float[Tensor, " detections"],
    right: Bool[Tensor, " detections"],
    counts: Bool[Tensor, " detections"],
    num_truths: int,
) -> tuple[Float64[Tensor, " detections"], Float64[Tensor, " detections"], Float[Tensor, " detections"]]:
    """Return precision and recall of the first 1, 2, 3, ... detections by falling score, and their scores.

    On a tie the earlier comes first. Precision goes up and down; at each place it becomes the largest from there on,
    since who accepts more detections can have that one too.

    >>> right = torch.tensor([True, False, True])
    >>> precision, recall, _ = curve(torch.tensor([0.9, 0.8, 0.7]), right, torch.ones_like(right), num_truths=4)
    >>> precision, recall  # 1/1, then 1/2, which becomes the 2/3 that comes after it
    (tensor([1.0000, 0.6667, 0.6667], dtype=torch.float64), tensor([0.2500, 0.2500, 0.5000], dtype=torch.float64))
    """
    order = scores.argsort(descending=True, stable=True)
    found = (right & counts)[order].cumsum(dim=0).double()
    answered = counts[order].cumsum(dim=0)
    precision = found / answered.clamp(min=1)
    largest = precision.flip(0).cummax(dim=0).values.flip(0)
    return largest, found / num_truths, scores[order]


def read_curve(
    precision: Float64[Tensor, " detections"],
    recall: Float64[Tensor, " detections"],
    scores: Float[Tensor, " detections"],
) -> tuple[Float64[Tensor, " recalls"], Float64[Tensor, " recalls"]]:
    """Return precision and score where each of the 101 recalls 0, 0.01, ..., 1 is reached first; 0 where none is.

    >>> precision, recall = torch.tensor([1.0, 0.5]).double(), torch.tensor([0.25, 0.5]).double()
    >>> read, scores = read_curve(precision, recall, torch.tensor([0.9, 0.8]))
    >>> read[[0, 25, 26, 50, 51]].tolist()
    [1.0, 1.0, 0.5, 0.5, 0.0]
    """
    first = torch.searchsorted(recall, torch.tensor(RECALLS, dtype=torch.float64))
    after_the_last = torch.zeros(1, dtype=torch.float64)
    return torch.cat([precision, after_the_last])[first], torch.cat([scores.double(), after_the_last])[first]


def evaluate(found: Sequence[Detected], truths: Sequence[Truth], num_classes: int) -> Evaluated:
    """Return precision and recall of the detections of all images, each with its truth.

    A class's detections of all images make one list, by falling score; on a tie that of the earlier image comes first.

    >>> box, label = torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0])
    >>> truth = Truth(box, label, torch.tensor([False]), torch.tensor([64.0]))
    >>> sure = Detected(box + torch.tensor([0.0, 0.0, 2.0, 0.0]), torch.tensor([0.9]), label)  # 8 x 8 of 10 x 8
    >>> evaluated = evaluate([sure, sure], [truth, truth], num_classes=1)
    >>> average_precision(evaluated), average_precision(evaluated, threshold=0.5)  # right at 0.5, ..., 0.8: 7 of 10
    (tensor(0.7000, dtype=torch.float64), tensor(1., dtype=torch.float64))
    """
    if len(found) != len(truths):
        raise ValueError(f"each image needs its truth, got {len(found)} and {len(truths)}")
    shape = len(THRESHOLDS), len(RECALLS), num_classes, len(AREAS), len(LIMITS)
    precision = torch.full(shape, torch.nan, dtype=torch.float64)
    recall, scores = precision[:, 0].clone(), precision.clone()
    for label in range(num_classes):
        own = [(detected.of_class(label), truth.of_class(label)) for detected, truth in zip(found, truths, strict=True)]
        images = [(detected, truth, overlaps(detected.boxes, truth.boxes, truth.crowd)) for detected, truth in own]
        for a, size in enumerate(AREAS.values()):
            num_truths = sum(int((~truth.crowd & ~outside(truth.areas, size)).sum()) for _, truth in own)
            if num_truths == 0:
                continue
            for t, threshold in enumerate(THRESHOLDS):
                judged = [judge(detected, truth, overlap, threshold, size) for detected, truth, overlap in images]
                for m, most in enumerate(LIMITS):
                    points = curve(
                        torch.cat([detected.scores[:most] for detected, _ in own]),
                        torch.cat([right[:most] for right, _ in judged]),
                        torch.cat([counts[:most] for _, counts in judged]),
                        num_truths,
                    )
                    precision[t, :, label, a, m], scores[t, :, label, a, m] = read_curve(*points)
                    recall[t, label, a, m] = points[1][-1:].sum()  # of all detections; 0 where there are none
    return Evaluated(precision, recall, scores)


def average_precision(evaluated: Evaluated, threshold: float | None = None, size: str = "all") -> Float64[Tensor, ""]:
    """Return AP: the mean precision over recalls, classes and all thresholds or one, at most 100 detections a class.

    Classes that no true box has take no part; NaN where that is all of them.

    Args:
        evaluated: precision by threshold, recall, class, size and limit.
        threshold: one of `THRESHOLDS`; the mean over all ten, if left out.
        size: one of `AREAS`.

    >>> precision = torch.full((10, 101, 2, 4, 3), 0.5, dtype=torch.float64)
    >>> precision[:, :, 1] = torch.nan  # no true box has class 1
    >>> average_precision(Evaluated(precision, precision[:, 0], precision))
    tensor(0.5000, dtype=torch.float64)
    """
    precision = evaluated.precision[..., list(AREAS).index(size), -1]
    return (precision if threshold is None else precision[_nearest(threshold)]).nanmean()


def average_recall(evaluated: Evaluated, size: str = "all", most: int = LIMITS[-1]) -> Float64[Tensor, ""]:
    """Return AR: the mean over classes and thresholds of the share of true boxes found.

    Args:
        evaluated: recall by threshold, class, size and limit.
        size: one of `AREAS`.
        most: the number of detections an image and class, one of `LIMITS`.

    >>> box, label = torch.tensor([[0.0, 0.0, 8.0, 8.0], [9.0, 9.0, 17.0, 17.0]]), torch.tensor([0, 0])
    >>> truth = Truth(box, label, torch.tensor([False, False]), torch.tensor([64.0, 64.0]))
    >>> evaluated = evaluate([Detected(box, torch.tensor([0.9, 0.8]), label)], [truth], num_classes=1)
    >>> average_recall(evaluated), average_recall(evaluated, most=1), average_recall(evaluated, size="large")
    (tensor(1., dtype=torch.float64), tensor(0.5000, dtype=torch.float64), tensor(nan, dtype=torch.float64))
    """
    return evaluated.recall[..., list(AREAS).index(size), LIMITS.index(most)].nanmean()


def _nearest(threshold: float) -> int:
    """Return the place of a threshold in `THRESHOLDS`, which are rounded."""
    return min(range(len(THRESHOLDS)), key=lambda step: abs(THRESHOLDS[step] - threshold))
