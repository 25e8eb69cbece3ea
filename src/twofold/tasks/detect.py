"""Objects in an image: boxes, each with a class and a score; the multibox loss, and average precision as COCO has it.

A detector's outputs are offsets and logits for each of its anchors (`detect.network`). Epochs are compared by AP, the
mean over classes and over ten thresholds of the overlap. Which detections are worth showing takes a threshold on the
score: the one with the best F1 on the validation images of the best epoch, which travels in the spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float32
from torch import Tensor

from twofold.augment.policies import create_policy
from twofold.data.normalising import channels_last, normalise
from twofold.data.spec import ModelSpec
from twofold.data.targets import BoxTargets, Targets
from twofold.detect.loss import MultiboxLoss, PaddedBoxes
from twofold.detect.network import anchors_of, scores_of
from twofold.detect.scratch_form import ScratchMultiboxLoss
from twofold.detect.suggest import anchor_fit
from twofold.errors import SettingError, TwofoldError
from twofold.tasks.class_weights import balanced_weights, in_order, weights_in_words
from twofold.tasks.detect_meter import DetectionMeter, detections_of, padded
from twofold.tasks.predictions import Prediction, list_objects
from twofold.tasks.task import Batch, LossFunction, Preparation, Settings, Task, image_indices

# Less of an object than this many pixels each way, after augmentation, is nothing to learn from.
_LEAST_SIDE = 2.0


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
        """Return the multibox loss and its two parts, "class" and "box".

        Class weights are those of the anchors that have an object; background weighs 1.
        """
        anchors, scores = anchors_of(spec).to(device), scores_of(spec)
        weights = class_weights(recipe, spec, targets)
        if recipe.form == "scratch":
            _check_scratch(recipe, scores)
            return ScratchMultiboxLoss(anchors)
        if scores == "sigmoid" and weights is not None:
            raise SettingError(
                "{} is for softmax, which compares classes; leave it out with {}",
                {"class_weights": recipe.class_weights},
                {"model_options": {"scores": "sigmoid"}},
            )
        return MultiboxLoss(
            anchors,
            class_loss="focal" if scores == "sigmoid" else "mining",
            box_loss=recipe.box_loss or "smooth-l1",
            class_weight=None if weights is None else torch.cat([torch.ones(1), weights]).to(device),
            matching=recipe.matching or "d2l",
            smoothing=recipe.label_smoothing,
        )

    def remarks(self, recipe: Settings, spec: ModelSpec, targets: Targets) -> list[str]:
        """Return how well the anchors fit the boxes to learn, and the weights in the loss, if there are any."""
        lines = [anchor_fit(padded(box_targets(targets), spec), spec).in_words()]
        weights = class_weights(recipe, spec, targets)
        return lines if weights is None else [*lines, weights_in_words(weights.tolist(), spec.class_names)]

    def training_counts(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return nothing: AP is of a whole set of images, and no sum over batches."""
        return {}

    def decode(
        self, outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Prediction]:
        """Return the objects in each image, in pixels of the image as it was given."""
        sizes = [spec.image_size] * len(outputs) if sizes is None else list(sizes)
        found = detections_of(outputs, spec, sizes)
        boxes, scores, labels, counts = found.boxes, found.scores, found.labels, found.counts
        return list(list_objects(boxes.numpy(), scores.numpy(), labels.numpy(), counts.numpy(), spec, sizes))

    def meter(self, spec: ModelSpec, *, detailed: bool = False) -> DetectionMeter:
        """Return a meter of the loss, AP and AP50; a detailed one also has all that the report shows."""
        return DetectionMeter(spec, detailed=detailed)

    def calibrate(self, meter: Any, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the score from which on detections are shown: that with the best F1."""
        return spec.model_copy(update={"score_threshold": meter.best_threshold()})


def class_weights(recipe: Settings, spec: ModelSpec, targets: Targets) -> Float32[Tensor, " classes"] | None:
    """Return the weight of each class in the loss, or None where all count alike.

    Balanced ones are n / (K n_k): n boxes of which n_k are of class k, one of the K that have any; 1 for the others.
    """
    if recipe.class_weights == "none":
        return None
    if isinstance(recipe.class_weights, Mapping):
        return torch.tensor(in_order(recipe.class_weights, spec.class_names))
    return balanced_weights(box_targets(targets).labels, len(spec.class_names))


def _check_scratch(recipe: Settings, scores: str) -> None:
    """Refuse what the readable form of the loss leaves out."""
    left_out = {
        "box_loss": (recipe.box_loss, "smooth-l1"),
        "matching": (recipe.matching, "d2l"),
        "class_weights": (recipe.class_weights, "none"),
        "label_smoothing": (recipe.label_smoothing, 0.0),
    }
    for name, (value, plain) in left_out.items():
        if value not in (None, plain):
            raise SettingError("{} leaves {} out; set {}", {"form": "scratch"}, {name: value}, {name: plain})
    if scores != "softmax":
        ways = ({"form": "scratch"}, {"model_options": {"scores": scores}})
        raise SettingError("{} leaves {} out; leave the option out", *ways)


def box_targets(targets: Targets) -> BoxTargets:
    """Return the targets as boxes, on the CPU, where a batch's are looked up also when the pixels are on a GPU.

    Raises:
        TwofoldError: they are of another kind.
    """
    if not isinstance(targets, BoxTargets):
        raise TwofoldError(f"a detector needs boxes; these images are for the task {targets.task!r}")
    return targets.to("cpu")
