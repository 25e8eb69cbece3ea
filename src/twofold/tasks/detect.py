"""Objects in an image: boxes, each with a class and a score; the multibox loss, and average precision as COCO has it.

A detector's outputs are offsets and logits for each of its anchors (`detect.network`). Epochs are compared by AP, the
mean over classes and over ten thresholds of the overlap. Which detections are worth showing takes a threshold on the
score: the one with the best F1 on the validation images of the best epoch, which travels in the spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from twofold.augment.policies import create_policy
from twofold.data import normalise
from twofold.data.spec import ModelSpec, channels_last
from twofold.data.targets import BoxTargets, Targets
from twofold.detect.loss import MultiboxLoss, PaddedBoxes
from twofold.detect.network import anchors_of, scores_of
from twofold.errors import TwofoldError
from twofold.names import shown
from twofold.tasks.detect_meter import USUAL_THRESHOLD, DetectionMeter, detections_of, padded
from twofold.tasks.task import Batch, LossFunction, Prediction, Preparation, Settings, Task, image_indices

# Less of an object than this many pixels each way, after augmentation, is nothing to learn from.
_LEAST_SIDE = 2.0


@dataclass(frozen=True)
class DetectionPrediction(Prediction):
    """The objects that a network finds in an image, most certain first.

    Attributes:
        size: (height, width) of the image in pixels.
        found: every box with its class and score that suppression left, also those below the threshold.
        threshold: the score from which on a detection is shown.
    """

    size: tuple[int, int]
    found: tuple[tuple[str, float, tuple[float, float, float, float]], ...]
    threshold: float

    @property
    def objects(self) -> tuple[tuple[str, float, tuple[float, float, float, float]], ...]:
        """(class, probability, box) of each detection from the threshold on."""
        return tuple(one for one in self.found if one[1] >= self.threshold)

    @property
    def boxes(self) -> Float64[Tensor, "objects 4"]:
        """Corners (x1, y1, x2, y2) in pixels of the image, of the detections from the threshold on."""
        return torch.tensor([box for _, _, box in self.objects], dtype=torch.float64).reshape(-1, 4)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class of each of `boxes`."""
        return tuple(name for name, _, _ in self.objects)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The score of each of `boxes`, 0..1."""
        return tuple(probability for _, probability, _ in self.objects)

    def to_record(self, *, top: int = 1) -> dict[str, Any]:
        """Return the objects as JSON has them; `top` is for classifiers."""
        return {
            "height": self.size[0],
            "width": self.size[1],
            "objects": [
                {"class": name, "probability": probability, "box": [round(side, 2) for side in box]}
                for name, probability, box in self.objects
            ],
        }

    def to_line(self, *, top: int = 1) -> str:
        """Return each object with its probability and its corners in whole pixels, separated by tabs."""
        words = (
            f"{shown(name)} {probability:.4f} {','.join(str(round(side)) for side in box)}"
            for name, probability, box in self.objects
        )
        return "\t".join(words) or "no object"

    def __repr__(self) -> str:
        counts = {name: self.class_names.count(name) for name in dict.fromkeys(self.class_names)}
        words = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no object"
        return f"Prediction({words}; {self.size[1]}x{self.size[0]} px)"


class Detection(Task):
    """Boxes of objects. The epoch with the highest AP on the validation images is the best, unless told."""

    name: ClassVar[str] = BoxTargets.task

    def preparation(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> Preparation:
        """Return augmentation, with which the boxes move along, and normalisation of whole batches."""
        truth = box_targets(targets)
        policy = create_policy(recipe.augment, spec.image_size)
        if policy is not None and recipe.compile:
            policy = policy.compiled()

        def prepare(batch: Batch, epoch: int) -> tuple[Tensor, PaddedBoxes]:
            samples, pixels = batch[0].to(device), batch[1].to(device)
            boxes, labels = padded(truth.take(image_indices(batch[0], len(truth))), spec)
            boxes, labels = boxes.to(device), labels.to(device)
            if policy is not None:
                size = (pixels.shape[2], pixels.shape[3])
                params = policy.draw(seed=recipe.seed, epoch=epoch, indices=samples)
                params = policy.choose(params, boxes, size)
                pixels, boxes = policy.apply(pixels, params), policy.move_boxes(boxes, params, size)
            sides = boxes[..., 2:] - boxes[..., :2]
            labels = labels.masked_fill((sides < _LEAST_SIDE).any(dim=2), -1)
            height, width = pixels.shape[2:]
            parts = boxes / boxes.new_tensor([width, height, width, height])
            inputs = normalise(channels_last(pixels), spec.mean, spec.std, compiled=recipe.compile)
            return inputs, PaddedBoxes(parts, labels)

        return prepare

    def loss(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> LossFunction:
        """Return the multibox loss and its two parts, "class" and "box"."""
        return MultiboxLoss(
            anchors_of(spec).to(device),
            class_loss="focal" if scores_of(spec) == "sigmoid" else "mining",
            box_loss=recipe.box_loss or "smooth-l1",
            matching=recipe.matching or "d2l",
            smoothing=recipe.label_smoothing,
        )

    def training_counts(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return nothing: AP is of a whole set of images, and no sum over batches."""
        return {}

    def decode(
        self, outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Prediction]:
        """Return the objects in each image, in pixels of the image as it was given."""
        sizes = [spec.image_size] * len(outputs) if sizes is None else list(sizes)
        threshold = USUAL_THRESHOLD if spec.score_threshold is None else spec.score_threshold
        predictions: list[Prediction] = []
        for size, own in zip(sizes, detections_of(outputs, spec, sizes).split(), strict=True):
            found = zip(own.labels.tolist(), own.scores.tolist(), own.boxes.tolist(), strict=True)
            named = tuple((spec.class_names[label], score, tuple(box)) for label, score, box in found)
            predictions.append(DetectionPrediction(size, named, threshold))  # type: ignore[arg-type]
        return predictions

    def meter(self, spec: ModelSpec, *, detailed: bool = False) -> DetectionMeter:
        """Return a meter of the loss, AP and AP50; a detailed one also has all that the report shows."""
        return DetectionMeter(spec, detailed=detailed)

    def calibrate(self, meter: Any, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the score from which on detections are shown: that with the best F1."""
        return spec.model_copy(update={"score_threshold": meter.best_threshold()})


def box_targets(targets: Targets) -> BoxTargets:
    """Return the targets as boxes.

    Raises:
        TwofoldError: they are of another kind.
    """
    if not isinstance(targets, BoxTargets):
        raise TwofoldError(f"a detector needs boxes; these images are for the task {targets.task!r}")
    return targets
