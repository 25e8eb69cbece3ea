"""What a detector's evaluation counts: average precision, what is right at the threshold, and the worst images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.data.targets import BoxTargets
from twofold.detect.average_precision import PrecisionRecall, evaluate_detections
from twofold.detect.decode import decode
from twofold.detect.detections import Detections
from twofold.detect.error_kinds import find_error_kinds
from twofold.detect.hits import Hits, best_f1, find_hits
from twofold.detect.loss import MultiboxLoss, PaddedBoxes
from twofold.detect.network import anchors_of, scores_of
from twofold.detect.placement import placement
from twofold.records import (
    BoxRecord,
    DetectionError,
    DetectionEvaluation,
    DetectionExample,
    DetectionScore,
    OverlapCurve,
    ThresholdScore,
)
from twofold.scratch.detection import AREAS, THRESHOLDS
from twofold.tasks.predictions import USUAL_THRESHOLD

NUM_EXAMPLES = 24
_HEADLINES = ("AP", "AP50")
# The overlaps whose curves are kept, and the scores whose precision and recall are.
_CURVES = (0.5, 0.75, 0.9)
_SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))


def padded(truth: BoxTargets, spec: ModelSpec) -> tuple[Float[Tensor, "n boxes 4"], Int64[Tensor, "n boxes"]]:
    """Return the boxes to learn, in pixels of the network's input, and their classes; −1 and zeros in rows that pad.

    Crowds are left out: nobody counted the objects in them.
    """
    image = torch.arange(len(truth)).repeat_interleave(truth.counts)
    kept = ~truth.crowd
    image, boxes, labels = image[kept], truth.boxes[kept], truth.labels[kept]
    counts = image.bincount(minlength=len(truth))
    row = torch.arange(len(image)) - (counts.cumsum(0) - counts)[image]
    placed = placement(truth.sizes, spec)[image]
    most = int(counts.max()) if len(counts) else 0
    table = torch.zeros(len(truth), most, 4)
    table[image, row] = (boxes * placed[:, [0, 1, 0, 1]] + placed[:, [2, 3, 2, 3]]).float()
    classes = torch.full((len(truth), most), -1)
    classes[image, row] = labels
    return table, classes


def detections_of(outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]]) -> Detections:
    """Return what float32 outputs say of images of these (height, width), in their pixels."""
    return decode(
        outputs,
        anchors_of(spec),
        placement(torch.tensor(sizes).reshape(-1, 2), spec),
        sizes,
        scores=scores_of(spec),
        input_size=spec.image_size,
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """All images of an evaluation, in the order of their indices.

    Attributes:
        found: every detection.
        truth: every true box.
        indices: of the images among those that were evaluated.
        threshold: the score from which on detections are shown.
        num_classes: how many classes there are.
    """

    found: Detections
    truth: BoxTargets
    indices: Int64[Tensor, " n"]
    threshold: float
    num_classes: int

    @cached_property
    def shown(self) -> Detections:
        """The detections from the threshold on."""
        return self.found.above(self.threshold)

    @cached_property
    def hits(self) -> Hits:
        """Which of these are right, and which true boxes they find."""
        return find_hits(self.shown, self.truth, self.num_classes)

    @cached_property
    def all_hits(self) -> Hits:
        """Which of all detections are right."""
        return find_hits(self.found, self.truth, self.num_classes)

    @property
    def num_true(self) -> int:
        """How many true boxes there are, without crowds."""
        return int((~self.truth.crowd).sum())

    @cached_property
    def worst(self) -> list[int]:
        """The rows of the images with the most errors, these first; none without an error."""
        wrong = self.shown.images()[~self.hits.right & self.hits.counted].bincount(minlength=len(self.truth))
        missed = self.truth.images()[~self.hits.found & ~self.truth.crowd].bincount(minlength=len(self.truth))
        num_errors, order = (wrong + missed).sort(descending=True, stable=True)
        return order[: min(NUM_EXAMPLES, int((num_errors > 0).sum()))].tolist()


class DetectionMeter:
    """Detections and truth of all images so far; what they come to is computed at the end.

    The loss is the multibox loss with its usual parts whatever a recipe trains with, so that runs can be compared.
    """

    def __init__(self, spec: ModelSpec, *, detailed: bool = False) -> None:
        self._spec = spec
        self._detailed = detailed
        self._loss = MultiboxLoss(anchors_of(spec), class_loss="focal" if scores_of(spec) == "sigmoid" else "mining")
        self._loss_sum = 0.0
        self._detections: list[Detections] = []
        self._truth: list[BoxTargets] = []
        self._indices: list[Tensor] = []

    def update(self, outputs: Tensor, targets: BoxTargets, indices: Int64[Tensor, " batch"]) -> None:
        """Count a batch of outputs on the CPU."""
        targets, indices = targets.to("cpu"), indices.cpu()
        boxes, labels = padded(targets, self._spec)
        height, width = self._spec.image_size
        truth = PaddedBoxes(boxes / boxes.new_tensor([width, height, width, height]), labels)
        self._loss_sum += float(self._loss(outputs, truth)["loss"]) * len(indices)
        sizes = [(height, width) for height, width in targets.sizes.tolist()]
        self._detections.append(detections_of(outputs, self._spec, sizes))
        self._truth.append(targets)
        self._indices.append(indices)

    def merge(self, other: DetectionMeter) -> None:
        """Add what another meter has counted of other images."""
        self._loss_sum += other._loss_sum
        self._detections += other._detections
        self._truth += other._truth
        self._indices += other._indices

    def summary(self) -> dict[str, float]:
        """Return the mean loss, AP and AP50; 0 where no image has a box."""
        judged = self._judged()
        measured = evaluate_detections(judged.found, judged.truth, len(self._spec.class_names)).metrics
        return {"loss": self._mean_loss(judged)} | {name: _known(measured[name]) for name in _HEADLINES}

    def best_threshold(self) -> float:
        """Return the score from which on detections have the best F1."""
        judged = self._judged()
        return round(best_f1(judged.found, judged.all_hits, judged.num_true)[0], 4)

    def examples(self) -> list[int]:
        """Return the indices of the images with the most errors, if the meter is a detailed one."""
        if not self._detailed:
            return []
        judged = self._judged()
        return judged.indices[judged.worst].tolist()

    def compute(self, images: Images, files: Sequence[str] = ()) -> DetectionEvaluation:
        """Return the evaluation of `images`, from which the batches came."""
        judged = self._judged()
        result = evaluate_detections(judged.found, judged.truth, len(self._spec.class_names))
        metrics = dict.fromkeys(_HEADLINES, 0.0) | {
            name: value for name, value in result.metrics.items() if not math.isnan(value)
        }
        loss = self._mean_loss(judged)
        if not self._detailed:
            return DetectionEvaluation(num_images=len(images), loss=loss, metrics=metrics)
        num_right, num_shown = int(judged.hits.right.sum()), int(judged.hits.counted.sum())
        every = judged.all_hits
        best_threshold, best = best_f1(judged.found, every, judged.num_true)
        sizes = judged.truth.areas[~judged.truth.crowd]
        return DetectionEvaluation(
            num_images=len(images),
            loss=loss,
            metrics=metrics,
            num_boxes=judged.num_true,
            boxes_by_size={
                size: int(((sizes >= low) & (sizes <= high)).sum())
                for size, (low, high) in AREAS.items()
                if size != "all"
            },
            score_threshold=judged.threshold,
            f1=2 * num_right / max(1, num_shown + judged.num_true),
            best_f1=best,
            best_threshold=round(best_threshold, 4),
            by_overlap=tuple(_known(result.average_precision(overlap)) for overlap in THRESHOLDS),
            curves=tuple(
                OverlapCurve(overlap=overlap, precision=_rounded(result.mean_curve(overlap)))
                for overlap in _CURVES
                if judged.num_true
            ),
            by_score=_scores(judged.found, every, judged.num_true),
            classes=_class_scores(result, judged, self._spec.class_names),
            errors=_errors(judged, len(self._spec.class_names)),
            examples=tuple(
                _example(judged, row, self._spec, images, file)
                for row, file in itertools.zip_longest(judged.worst, files)
            ),
        )

    def _judged(self) -> Judged:
        indices = torch.cat(self._indices) if self._indices else torch.empty(0, dtype=torch.int64)
        order = indices.argsort()
        threshold = self._spec.score_threshold
        return Judged(
            Detections.joined(self._detections).take(order),
            BoxTargets.joined(self._truth).take(order),
            indices[order],
            USUAL_THRESHOLD if threshold is None else threshold,
            len(self._spec.class_names),
        )

    def _mean_loss(self, judged: Judged) -> float:
        return self._loss_sum / max(1, len(judged.truth))


def _scores(found: Detections, hits: Hits, num_true: int) -> tuple[ThresholdScore, ...]:
    """Return precision and recall of the detections from each of `_SCORES` on, as far as there are any."""
    scores = []
    for score in _SCORES:
        kept = hits.counted & (found.scores >= score)
        if num_true and (num_shown := int(kept.sum())):
            num_right = int((hits.right & kept).sum())
            scores.append(ThresholdScore(score=score, precision=num_right / num_shown, recall=num_right / num_true))
    return tuple(scores)


def _errors(judged: Judged, num_classes: int) -> tuple[DetectionError, ...]:
    """Return the six kinds of error; none where there is nothing to find.

    How often one was made is of the detections that are shown; what fixing it would give is of all, as AP is.
    """
    if not judged.num_true:
        return ()
    counts = find_error_kinds(judged.shown, judged.truth, num_classes).counts
    gains = find_error_kinds(judged.found, judged.truth, num_classes).gains
    return tuple(DetectionError(kind=kind, count=counts[kind], gain=gain) for kind, gain in gains.items())


def _class_scores(result: PrecisionRecall, judged: Judged, names: Sequence[str]) -> tuple[DetectionScore, ...]:
    def count(labels: Tensor) -> list[int]:
        return labels.bincount(minlength=len(names)).tolist()

    shown, hits, truth = judged.shown, judged.hits, judged.truth
    right, said = count(shown.labels[hits.right]), count(shown.labels[hits.counted])
    there = count(truth.labels[~truth.crowd])
    average, at_half = result.by_class(), result.by_class(0.5)
    return tuple(
        DetectionScore(
            name=name,
            count=there[k],
            average_precision=None if math.isnan(average[k]) else average[k],
            average_precision_50=None if math.isnan(at_half[k]) else at_half[k],
            precision=right[k] / said[k] if said[k] else None,
            recall=right[k] / there[k] if there[k] else None,
            f1=2 * right[k] / (said[k] + there[k]) if there[k] else None,
            curve=() if math.isnan(at_half[k]) else _rounded(result.curve(k)),
        )
        for k, name in enumerate(names)
    )


def _example(judged: Judged, row: int, spec: ModelSpec, images: Images, file: str | None) -> DetectionExample:
    """Return an image with its true boxes and the detections that are shown."""
    index, names = int(judged.indices[row]), spec.class_names
    height, width = judged.truth.sizes[row].tolist()
    shown, truth, hits = judged.shown, judged.truth, judged.hits
    own = torch.nonzero(truth.images() == row).flatten().tolist()
    true = tuple(
        BoxRecord(box=_corners(truth.boxes[k]), name=names[int(truth.labels[k])], right=bool(hits.found[k]))
        for k in own
        if not truth.crowd[k]
    )
    found = tuple(
        BoxRecord(
            box=_corners(shown.boxes[k]),
            name=names[int(shown.labels[k])],
            score=round(float(shown.scores[k]), 4),
            right=bool(hits.right[k]),
        )
        for k in torch.nonzero(shown.images() == row).flatten().tolist()
        if hits.counted[k]
    )
    scale_x, scale_y, shift_x, shift_y = placement(judged.truth.sizes[row : row + 1], spec)[0].tolist()
    view = (-shift_x, -shift_y, spec.image_size[1] - shift_x, spec.image_size[0] - shift_y)
    return DetectionExample(
        index=index,
        source=images.describe(index),
        height=height,
        width=width,
        true=true,
        found=found,
        num_errors=sum(not box.right for box in (*true, *found)),
        image=file,
        view=tuple(round(side / scale, 2) + 0.0 for side, scale in zip(view, (scale_x, scale_y) * 2, strict=True)),
    )


def _corners(box: Tensor) -> tuple[float, ...]:
    return tuple(round(side, 2) for side in box.tolist())


def _rounded(precision: Tensor) -> tuple[float, ...]:
    """Return a curve in four digits: no eye sees more, and a thousand classes have a hundred thousand values."""
    return tuple(round(value, 4) for value in precision.tolist())


def _known(value: float) -> float:
    """Return a metric, 0 where it is undefined because no image has a box."""
    return 0.0 if math.isnan(value) else value
