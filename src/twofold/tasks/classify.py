"""One class an image: cross-entropy, accuracy, the confusion matrix, and whether confidence can be trusted.

Metrics are torchmetrics'. Calibration (Guo et al., "On calibration of modern neural networks", 2017) compares, for
images of about one confidence, that confidence with the share that is right.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from twofold.augment.mix import mix_labels
from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.data.targets import ClassTargets, Targets, class_labels
from twofold.models.googlenet import AUXILIARY_WEIGHT
from twofold.models.scratch_form import to_scratch
from twofold.records import CalibrationBin, ClassEvaluation, ClassScore, Mistake
from twofold.tasks.class_weights import balanced_weights, in_order, weights_in_words
from twofold.tasks.predictions import Prediction, rank_classes
from twofold.tasks.preparation import input_preparation
from twofold.tasks.task import Batch, LossFunction, Preparation, Settings, Task, image_indices

if TYPE_CHECKING:
    from torchmetrics import Metric as TorchMetric

NUM_MISTAKES = 24
_CALIBRATION_BINS = 15
_SCORES = ("top5_accuracy", "precision", "recall", "f1", "confusion", "calibration_error")


class Classification(Task):
    """One class an image. The epoch with the highest accuracy on the validation images is the best, unless told."""

    name: ClassVar[str] = "classify"

    def preparation(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> Preparation:
        """Return augmentation, mixing and normalisation of whole batches; targets are classes, or shares of classes."""
        prepare_inputs = input_preparation(recipe, spec, device)

        def prepare(batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
            labels = class_labels(targets.take(image_indices(batch[0], len(targets)))).to(device)
            inputs, mixed = prepare_inputs(batch, epoch)
            return inputs, labels if mixed is None else mix_labels(labels, len(spec.class_names), mixed)

        return prepare

    def loss(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> LossFunction:
        """Return cross-entropy, GoogLeNet's auxiliary heads included (Szegedy et al., 2015).

        With class weights it is the weighted mean over a batch, Σ w L / Σ w, but over the number of images where these
        are mixed; accumulated batches then count by their numbers of images.
        """
        weight = class_weights(recipe, spec, targets)
        cross_entropy: nn.Module = nn.CrossEntropyLoss(
            weight=None if weight is None else weight.to(device), label_smoothing=recipe.label_smoothing
        )
        if recipe.form == "scratch":
            cross_entropy = to_scratch(cross_entropy)

        def loss(outputs: Any, targets: Tensor) -> dict[str, Tensor]:
            # In training, networks with auxiliary heads give their logits beside those that count.
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            total = cross_entropy(logits, targets)
            for other in auxiliary:
                total = total + AUXILIARY_WEIGHT * cross_entropy(other, targets)
            return {"loss": total}

        return loss

    def remarks(self, recipe: Settings, spec: ModelSpec, targets: Targets) -> list[str]:
        """Return a line on the weights in the loss, if there are any."""
        weights = class_weights(recipe, spec, targets)
        return [] if weights is None else [weights_in_words(weights.tolist(), spec.class_names)]

    def training_counts(self, outputs: Any, targets: Tensor) -> dict[str, Tensor]:
        """Return how many images of the batch are classified correctly; of a mixed image, the larger share counts."""
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        return {"accuracy": (logits.detach().argmax(dim=1) == labels).sum()}

    def decode(
        self, outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Prediction]:
        """Return each row of logits as a ranking of the classes; equal ones in the order of the classes."""
        return list(rank_classes(outputs.softmax(dim=1).numpy(), spec))

    def meter(self, spec: ModelSpec, *, detailed: bool = False) -> ClassMeter:
        """Return a meter of cross-entropy and accuracy; a detailed one also has all that the report shows."""
        return DetailedClassMeter(spec) if detailed else ClassMeter(spec)


def class_weights(recipe: Settings, spec: ModelSpec, targets: Targets) -> Float32[Tensor, " classes"] | None:
    """Return the weight of each class in the loss, or None where all count alike.

    Balanced ones are n / (K n_k): n training images of which n_k are of class k, one of the K that have any. A class
    without a training image has no say, so its weight is 1.

    Raises:
        TwofoldError: the recipe's weights are not those of these classes.
    """
    if recipe.class_weights == "none":
        return None
    if isinstance(recipe.class_weights, Mapping):
        return torch.tensor(in_order(recipe.class_weights, spec.class_names))
    return balanced_weights(class_labels(targets), len(spec.class_names))


class ClassMeter:
    """Cross-entropy, accuracy and what weighs every class alike, over batches of logits."""

    def __init__(self, spec: ModelSpec) -> None:
        from torchmetrics import MeanMetric
        from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores

        self._num_images = 0
        self._metrics: dict[str, TorchMetric] = {
            "loss": MeanMetric(),
            "accuracy": MulticlassAccuracy(len(spec.class_names), average="micro", validate_args=False),
            "counts": MulticlassStatScores(len(spec.class_names), average=None, validate_args=False),
        }

    def update(
        self, outputs: Float32[Tensor, "batch classes"], targets: ClassTargets, indices: Int64[Tensor, " batch"]
    ) -> None:
        """Count a batch of logits on the CPU."""
        self._num_images += len(indices)
        self._metrics["loss"].update(nn.functional.cross_entropy(outputs, targets.labels, reduction="none"))
        for name in ("accuracy", "counts"):
            self._metrics[name].update(outputs, targets.labels)

    def merge(self, other: ClassMeter) -> None:
        """Add what another meter has counted of other images, if any."""
        if other._num_images:
            for name, metric in other._metrics.items():
                if self._num_images:
                    self._metrics[name].merge_state(metric)
                else:  # torchmetrics warns of a metric that was merged and never updated
                    self._metrics[name] = copy.deepcopy(metric)
        self._num_images += other._num_images

    def summary(self) -> dict[str, float]:
        """Return mean cross-entropy, accuracy, balanced accuracy and macro F1."""
        measured = {name: float(self._metrics[name].compute()) for name in ("loss", "accuracy")}
        hits, false_hits, _, misses, _ = self._metrics["counts"].compute().view(-1, 5).T
        return measured | class_averages(hits, hits + false_hits, hits + misses)

    def examples(self) -> Sequence[int]:
        """Return nothing: only a detailed meter keeps mistakes."""
        return ()

    def compute(self, images: Images, files: Sequence[str] = ()) -> ClassEvaluation:
        """Return loss and averages alone."""
        measured = self.summary()
        return ClassEvaluation(num_images=len(images), loss=measured.pop("loss"), metrics=measured)


class DetailedClassMeter(ClassMeter):
    """All that an evaluation says: metrics a class, the confusion matrix, calibration, the most confident mistakes."""

    def __init__(self, spec: ModelSpec) -> None:
        from torchmetrics.classification import (
            MulticlassAccuracy,
            MulticlassCalibrationError,
            MulticlassConfusionMatrix,
            MulticlassF1Score,
            MulticlassPrecision,
            MulticlassRecall,
        )

        super().__init__(spec)
        self._names = spec.class_names
        num_classes = len(self._names)
        self._metrics |= {
            "top5_accuracy": MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes)),
            "precision": MulticlassPrecision(num_classes, average=None),
            "recall": MulticlassRecall(num_classes, average=None),
            "f1": MulticlassF1Score(num_classes, average=None),
            "confusion": MulticlassConfusionMatrix(num_classes),
            "calibration_error": MulticlassCalibrationError(num_classes, n_bins=_CALIBRATION_BINS),
        }
        self._confidences: list[Tensor] = []
        self._hits: list[Tensor] = []
        # A heap of (confidence, -index, predicted, probability of the true class): the least confident on top.
        self._mistakes: list[tuple[float, int, int, float]] = []

    def update(
        self, outputs: Float32[Tensor, "batch classes"], targets: ClassTargets, indices: Int64[Tensor, " batch"]
    ) -> None:
        """Count a batch of logits on the CPU."""
        super().update(outputs, targets, indices)
        labels, probabilities = targets.labels, outputs.softmax(dim=1)
        for name in _SCORES:
            self._metrics[name].update(probabilities, labels)
        confidence, predicted = probabilities.max(dim=1)
        self._confidences.append(confidence)
        self._hits.append(predicted == labels)
        for row in torch.nonzero(predicted != labels).flatten().tolist():
            true_probability = float(probabilities[row, labels[row]])
            mistake = (float(confidence[row]), -int(indices[row]), int(predicted[row]), true_probability)
            self._keep(mistake)

    def _keep(self, mistake: tuple[float, int, int, float]) -> None:
        if len(self._mistakes) < NUM_MISTAKES:
            heapq.heappush(self._mistakes, mistake)
        else:
            heapq.heappushpop(self._mistakes, mistake)

    def merge(self, other: ClassMeter) -> None:
        """Add what another meter has counted of other images."""
        assert isinstance(other, DetailedClassMeter)
        super().merge(other)
        self._confidences += other._confidences
        self._hits += other._hits
        for mistake in other._mistakes:
            self._keep(mistake)

    def examples(self) -> list[int]:
        """Return the indices of the mistakes, the most confident first."""
        return [-negative_index for _, negative_index, _, _ in sorted(self._mistakes, reverse=True)]

    def compute(self, images: Images, files: Sequence[str] = ()) -> ClassEvaluation:
        """Return the evaluation of `images`, from which the batches came."""
        values = {name: self._metrics[name].compute() for name in _SCORES}
        matrix: Tensor = values["confusion"]
        hits, predicted, there = matrix.diagonal(), matrix.sum(dim=0), matrix.sum(dim=1)
        classes = []
        for index, name in enumerate(self._names):
            count = int(there[index])
            classes.append(
                ClassScore(
                    name=name,
                    count=count,
                    precision=float(values["precision"][index]) if predicted[index] else None,
                    recall=float(values["recall"][index]) if count else None,
                    f1=float(values["f1"][index]) if count else None,
                )
            )
        labels = class_labels(images.targets)
        mistakes = [
            Mistake(
                index=-negative_index,
                source=images.describe(-negative_index),
                true=self._names[int(labels[-negative_index])],
                predicted=self._names[taken_for],
                probability=probability,
                true_probability=true_probability,
                image=file,
            )
            for (probability, negative_index, taken_for, true_probability), file in itertools.zip_longest(
                sorted(self._mistakes, reverse=True), files
            )
        ]
        return ClassEvaluation(
            num_images=len(images),
            loss=self.summary()["loss"],
            metrics={"accuracy": int(hits.sum()) / len(images)} | class_averages(hits, predicted, there),
            top5_accuracy=float(values["top5_accuracy"]),
            calibration_error=float(values["calibration_error"]),
            calibration=reliability_bins(torch.cat(self._confidences), torch.cat(self._hits)),
            classes=tuple(classes),
            confusion=tuple(
                {column: int(row[column]) for column in row.nonzero().flatten().tolist()} for row in matrix
            ),
            mistakes=tuple(mistakes),
        )


def class_averages(
    hits: Int64[Tensor, " classes"], predicted: Int64[Tensor, " classes"], there: Int64[Tensor, " classes"]
) -> dict[str, float]:
    """Return balanced accuracy and macro F1, in which a class with few images counts as much as one with many.

    Balanced accuracy is the mean recall of the classes that have images (Brodersen et al., "The balanced accuracy and
    its posterior distribution", 2010). Macro F1 is the mean of 2 hits / (predicted + there) over the classes that have
    images or were predicted. Both as in scikit-learn.

    Args:
        hits: images of each class that were recognised.
        predicted: images that were taken for it.
        there: images of it.
    """
    # In float64, so that what is written is not 0.8889999985694885 for 0.889.
    occurs, either = there > 0, predicted + there > 0
    recalls = (hits.double() / there)[occurs]
    f1s = (2 * hits.double() / (predicted + there))[either]
    return {
        "balanced_accuracy": float(recalls.mean()) if len(recalls) else 0.0,
        "macro_f1": float(f1s.mean()) if len(f1s) else 0.0,
    }


def reliability_bins(confidence: Float32[Tensor, " n"], hit: Tensor) -> tuple[CalibrationBin, ...]:
    """Return, for each bin of confidence that holds images, its mean confidence, its accuracy and its count."""
    bins = (confidence * _CALIBRATION_BINS).long().clamp(max=_CALIBRATION_BINS - 1)
    members = [bins == index for index in bins.unique().tolist()]
    return tuple(
        CalibrationBin(
            confidence=float(confidence[inside].mean()),
            accuracy=float(hit[inside].float().mean()),
            count=int(inside.sum()),
        )
        for inside in members
    )
