"""How good a detector is, as COCO counts it: precision and recall by class, overlap, size and number of detections.

The readable form is `scratch.detection`. This one hands the matching of boxes to faster-coco-eval's C++, which is what
pycocotools computes, and feeds it from flat tensors: no JSON, no dictionary of a COCO data set, and the overlaps of a
class in an image in one call. That takes about a third of the time of faster-coco-eval from lists of dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from faster_coco_eval import COCOeval_faster, mask
from jaxtyping import Float64, Int64
from torch import Tensor

from twofold.data.targets import BoxTargets
from twofold.detect.detections import Detections
from twofold.errors import TwofoldError
from twofold.scratch.detection import AREAS, LIMITS, RECALLS, THRESHOLDS

Groups = dict[tuple[int, int], tuple[int, int]]  # (image, class) -> its rows, from and to


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall of a detector; NaN for a class and size that no true box has.

    Thresholds of overlap, recalls, sizes and limits are `THRESHOLDS`, `RECALLS`, `AREAS` and `LIMITS` of
    `twofold.scratch.detection`.

    Attributes:
        precision: the largest precision at this recall or above, by threshold, recall, class, size and limit.
        recall: the share of the true boxes that is found, by threshold, class, size and limit.
        scores: the score above which detections reach this recall, 0 where none do.
    """

    precision: Float64[Tensor, "thresholds recalls classes sizes limits"]
    recall: Float64[Tensor, "thresholds classes sizes limits"]
    scores: Float64[Tensor, "thresholds recalls classes sizes limits"]

    def average_precision(self, threshold: float | None = None, size: str = "all") -> float:
        """Return the mean precision over recalls, classes that occur, and all thresholds or one.

        Args:
            threshold: one of `THRESHOLDS`; the mean over all ten, if left out.
            size: one of `AREAS`.
        """
        return float(self._precision(threshold, size).nanmean())

    def average_recall(self, limit: int = LIMITS[-1], size: str = "all") -> float:
        """Return the mean over thresholds and classes of the share of true boxes found.

        Args:
            limit: the number of detections of a class in an image, one of `LIMITS`.
            size: one of `AREAS`.
        """
        return float(self.recall[..., list(AREAS).index(size), LIMITS.index(limit)].nanmean())

    def by_class(self, threshold: float | None = None, size: str = "all") -> list[float]:
        """Return the average precision of each class, NaN for one that no true box has.

        Args:
            threshold: one of `THRESHOLDS`; the mean over all ten, if left out.
            size: one of `AREAS`.
        """
        precision = self._precision(threshold, size)
        return precision.flatten(0, -2).mean(dim=0).tolist()

    def curve(self, label: int, threshold: float = 0.5, size: str = "all") -> Float64[Tensor, " recalls"]:
        """Return the precision of a class at each of `RECALLS`.

        Args:
            label: the class.
            threshold: one of `THRESHOLDS`.
            size: one of `AREAS`.
        """
        return self._precision(threshold, size)[:, label]

    def mean_curve(self, threshold: float = 0.5, size: str = "all") -> Float64[Tensor, " recalls"]:
        """Return the mean precision of the classes that occur, at each of `RECALLS`.

        Args:
            threshold: one of `THRESHOLDS`.
            size: one of `AREAS`.
        """
        return self._precision(threshold, size).nanmean(dim=1)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """COCO's twelve numbers: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl."""
        sizes = {size[0]: size for size in AREAS if size != "all"}
        return {
            "AP": self.average_precision(),
            "AP50": self.average_precision(0.5),
            "AP75": self.average_precision(0.75),
            **{f"AP{letter}": self.average_precision(size=size) for letter, size in sizes.items()},
            **{f"AR{limit}": self.average_recall(limit) for limit in LIMITS},
            **{f"AR{letter}": self.average_recall(size=size) for letter, size in sizes.items()},
        }

    def _precision(self, threshold: float | None, size: str) -> Tensor:
        precision = self.precision[..., list(AREAS).index(size), -1]
        if threshold is None:
            return precision
        return precision[min(range(len(THRESHOLDS)), key=lambda step: abs(THRESHOLDS[step] - threshold))]


def evaluate_detections(found: Detections, truth: BoxTargets, num_classes: int) -> PrecisionRecall:
    """Return precision and recall of the detections of n images; images without any, or without boxes, belong to them.

    Args:
        found: what was detected, in pixels of the images as they are stored.
        truth: what is there, of the same images in the same order.
        num_classes: the number of classes, those that never occur included.

    Raises:
        TwofoldError: a score or a corner that is not finite.
    """
    if len(found) != len(truth):
        raise ValueError(f"each image needs its truth, got {len(found)} and {len(truth)}")
    if not bool(found.scores.isfinite().all() and found.boxes.isfinite().all()):
        raise TwofoldError("a detection has a score or a corner that is not finite: has the network diverged?")
    shape = len(THRESHOLDS), len(RECALLS), num_classes, len(AREAS), len(LIMITS)
    if len(truth) == 0:
        undefined = torch.full(shape, torch.nan, dtype=torch.float64)
        return PrecisionRecall(undefined, undefined[:, 0], undefined)
    evaluation = _FlatEvaluation(found, truth, num_classes)
    evaluation.evaluate()
    parts = (torch.from_numpy(evaluation.eval[name]) for name in ("precision", "recall", "scores"))
    return PrecisionRecall(*(part.masked_fill(part == -1, torch.nan) for part in parts))


class _FlatEvaluation(COCOeval_faster):
    """faster-coco-eval's evaluation, with its annotations from tensors that are sorted by image and class."""

    def __init__(self, found: Detections, truth: BoxTargets, num_classes: int) -> None:
        super().__init__(iouType="bbox", print_function=lambda *_: None)
        self.params.imgIds, self.params.catIds = list(range(len(truth))), list(range(num_classes))
        # By falling score within a class and an image; stable sorts, the last by what matters most.
        by_score = found.scores.argsort(descending=True, stable=True)
        key = found.images() * num_classes + found.labels
        order = by_score[key[by_score].argsort(stable=True)]
        self._found, self._found_rows = _left_top_size(found.boxes[order]), _groups(key[order], num_classes)
        image = torch.arange(len(truth)).repeat_interleave(truth.counts)
        key = image * num_classes + truth.labels
        true_order = key.argsort(stable=True)
        self._true, self._true_rows = _left_top_size(truth.boxes[true_order]), _groups(key[true_order], num_classes)
        self._crowd = truth.crowd[true_order].int().tolist()
        columns = (image, truth.labels, truth.areas, truth.crowd.long())
        for identity, (i, label, area, crowd) in enumerate(zip(*_lists(columns, true_order), strict=True), 1):
            self.gt_dataset.append_ref(i, label, {"id": identity, "area": area, "iscrowd": crowd, "ignore": crowd})
        areas = torch.from_numpy(self._found[:, 2] * self._found[:, 3])
        rows = zip(*_lists((found.images(), found.labels, found.scores), order), areas.tolist(), strict=True)
        for identity, (i, label, score, area) in enumerate(rows, 1):
            self.dt_dataset.append_ref(i, label, {"id": identity, "area": area, "score": score})

    def _prepare(self) -> None:
        """Annotations are there already."""

    def computeIoU(self, imgId: Any, catId: Any) -> Any:
        """Return the overlap of each detection of a class in an image with each true box."""
        group = (int(imgId), int(catId))
        if group not in self._found_rows or group not in self._true_rows:
            return []
        (start, end), true = self._found_rows[group], slice(*self._true_rows[group])
        return mask.iou(self._found[start : min(end, start + LIMITS[-1])], self._true[true], self._crowd[true])


def _left_top_size(corners: Float64[Tensor, "boxes 4"]) -> Any:
    return torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).numpy()


def _lists(columns: tuple[Tensor, ...], order: Int64[Tensor, " rows"]) -> list[list[Any]]:
    return [column[order].tolist() for column in columns]


def _groups(key: Int64[Tensor, " rows"], num_classes: int) -> Groups:
    """Return the rows of each (image, class) that has any, from sorted keys image · classes + class."""
    keys, counts = key.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0).tolist()
    rows = zip(keys.tolist(), counts.tolist(), ends, strict=True)
    return {divmod(which, num_classes): (end - count, end) for which, count, end in rows}
