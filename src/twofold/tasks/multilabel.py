"""Several labels an image, or none: a yes or no for each label, binary cross-entropy, and mean average precision.

A network for one class an image shares its certainty out: softmax makes the classes exclude one another. Here each
logit is a question of its own, answered by a sigmoid. Epochs are compared by mAP, which needs no threshold. Saying
which labels an image has needs one for each label, since at 0.5 a rare label is almost never predicted. So each label
gets the threshold with the best F1 on the validation images of the best epoch ("SCut": Yang, "A study of thresholding
strategies for text categorization", 2001), and it travels in the spec. Metrics are torchmetrics'.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor, nn

from twofold.augment.mix import mix_shares
from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.data.targets import LabelSetTargets, Targets, label_sets
from twofold.models.googlenet import AUXILIARY_WEIGHT
from twofold.models.scratch_form import to_scratch
from twofold.records import LabelEvaluation, LabelMistake, LabelPair, LabelScore
from twofold.tasks.class_weights import in_order, weights_in_words
from twofold.tasks.classify import NUM_MISTAKES, reliability_bins
from twofold.tasks.predictions import USUAL_THRESHOLD, Prediction, rank_labels, thresholds_of
from twofold.tasks.preparation import input_preparation
from twofold.tasks.task import Batch, LossFunction, Meter, Preparation, Settings, Task, image_indices

NUM_PAIRS = 20


class MultiLabel(Task):
    """Any number of labels an image. The epoch with the highest mAP on the validation images is the best."""

    name: ClassVar[str] = LabelSetTargets.task

    def preparation(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> Preparation:
        """Return augmentation, mixing and normalisation; targets are 0 or 1 a label, or shares in mixed images."""
        prepare_inputs = input_preparation(recipe, spec, device)

        def prepare(batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
            own_targets = targets.take(image_indices(batch[0], len(targets)))
            own = label_sets(own_targets, len(spec.class_names)).to(device).float()
            inputs, mixed = prepare_inputs(batch, epoch)
            return inputs, own if mixed is None else mix_shares(own, mixed)

        return prepare

    def loss(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> LossFunction:
        """Return the mean binary cross-entropy of all labels, GoogLeNet's auxiliary heads included.

        Class weights are those of the images that have a label; balanced ones make them count as much as those without.
        Label smoothing draws each target towards 1/2: (1 − ε) t + ε/2.
        """
        weights = positive_weights(recipe, spec, targets)
        binary_cross_entropy: nn.Module = nn.BCEWithLogitsLoss(
            pos_weight=None if weights is None else weights.to(device)
        )
        if recipe.form == "scratch":
            binary_cross_entropy = to_scratch(binary_cross_entropy)
        smoothing = recipe.label_smoothing

        def loss(outputs: Any, targets: Tensor) -> dict[str, Tensor]:
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            wanted = (1 - smoothing) * targets + smoothing / 2
            # In float32 also where the network computes in bfloat16: a sum over many labels.
            total = binary_cross_entropy(logits.float(), wanted)
            for other in auxiliary:
                total = total + AUXILIARY_WEIGHT * binary_cross_entropy(other.float(), wanted)
            return {"loss": total}

        return loss

    def remarks(self, recipe: Settings, spec: ModelSpec, targets: Targets) -> list[str]:
        """Return a line on the weights in the loss, if there are any."""
        weights = positive_weights(recipe, spec, targets)
        return [] if weights is None else [weights_in_words(weights.tolist(), spec.class_names)]

    def training_counts(self, outputs: Any, targets: Tensor) -> dict[str, Tensor]:
        """Return nothing: mAP is of a whole set of images, and no sum over batches."""
        return {}

    def decode(
        self, outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Prediction]:
        """Return each row of logits as labels with their probabilities."""
        return list(rank_labels(outputs.double().sigmoid().numpy(), spec))

    def meter(self, spec: ModelSpec, *, detailed: bool = False) -> LabelMeter:
        """Return a meter of binary cross-entropy and mAP; a detailed one also has all that the report shows."""
        return LabelMeter(spec, detailed=detailed)

    def calibrate(self, meter: Meter, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the threshold of each label that has the best F1 on the images of `meter`."""
        assert isinstance(meter, LabelMeter)
        probabilities, truth = meter.table()
        return spec.model_copy(update={"label_thresholds": best_thresholds(probabilities, truth)})


def positive_weights(recipe: Settings, spec: ModelSpec, targets: Targets) -> Float32[Tensor, " labels"] | None:
    """Return the weight of the images that have a label, for each label; None where all count alike.

    Balanced ones are (n - n_k) / n_k: of n training images n_k have label k. A label that no image or every image has
    keeps 1.

    Raises:
        TwofoldError: the recipe's weights are not those of these labels.
    """
    if recipe.class_weights == "none":
        return None
    if isinstance(recipe.class_weights, Mapping):
        return torch.tensor(in_order(recipe.class_weights, spec.class_names))
    counts = label_sets(targets, len(spec.class_names)).cpu().sum(dim=0).double()
    return torch.where((counts > 0) & (counts < len(targets)), (len(targets) - counts) / counts, 1.0).float()


def best_thresholds(probabilities: Float64[Tensor, "n labels"], truth: Bool[Tensor, "n labels"]) -> tuple[float, ...]:
    """Return the threshold of each label with the highest F1, the highest such; 0.5 for a label that no image has.

    It lies halfway between the lowest probability that it takes and the next one below.
    """
    thresholds = []
    for values, has in zip(probabilities.T, truth.T, strict=True):
        if not bool(has.any()):
            thresholds.append(USUAL_THRESHOLD)
            continue
        f1, cuts = _f1_curve(values, has)
        best = len(f1) - 1 - int(f1.flip(0).argmax())
        below = float(cuts[best - 1]) if best else 0.0
        thresholds.append((float(cuts[best]) + below) / 2)
    return tuple(thresholds)


def _f1_curve(values: Float64[Tensor, " n"], has: Bool[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Return the F1 of a label at each of its probabilities as a threshold, and these, from the lowest up."""
    from torchmetrics.functional.classification import binary_precision_recall_curve

    # The last entry is that of no image at all.
    precision, recall, cuts = binary_precision_recall_curve(values, has.long(), validate_args=False)
    return (2 * precision * recall / (precision + recall).clamp(min=1e-12))[:-1], cuts


class LabelMeter:
    """The logits and labels of all images: average precision is of their order, which no sum over batches holds."""

    def __init__(self, spec: ModelSpec, *, detailed: bool) -> None:
        self._names = spec.class_names
        self._thresholds = torch.from_numpy(thresholds_of(spec))
        self._detailed = detailed
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []  # indices, logits, labels

    def update(
        self, outputs: Float32[Tensor, "batch labels"], targets: Targets, indices: Int64[Tensor, " batch"]
    ) -> None:
        """Count a batch of logits on the CPU."""
        self._parts.append((indices.cpu(), outputs, label_sets(targets, len(self._names))))

    def merge(self, other: LabelMeter) -> None:
        """Add what another meter has counted of other images."""
        self._parts += other._parts

    def _sorted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return indices, logits and labels in the order of the images, however they came."""
        if not self._parts:
            none = torch.zeros(0, len(self._names))
            return torch.zeros(0, dtype=torch.int64), none, none.bool()
        indices, logits, truth = (torch.cat(part) for part in zip(*self._parts, strict=True))
        order = indices.argsort()
        return indices[order], logits[order], truth[order]

    def table(self) -> tuple[Float64[Tensor, "n labels"], Bool[Tensor, "n labels"]]:
        """Return the probability of each label in each image, and whether it is there.

        In float64 the sigmoid keeps large logits apart: equal probabilities would have no order.
        """
        _, logits, truth = self._sorted()
        return logits.double().sigmoid(), truth

    def _average_precisions(self) -> list[float | None]:
        """Return the average precision of each label; None for one that no image has."""
        from torchmetrics.functional.classification import binary_average_precision

        return [
            float(binary_average_precision(values, has.long(), validate_args=False)) if bool(has.any()) else None
            for values, has in zip(*(part.T for part in self.table()), strict=True)
        ]

    def summary(self) -> dict[str, float]:
        """Return mean binary cross-entropy, and mAP and macro F1 of the labels that occur; 0 without any.

        F1 is that of each label at the threshold that is best for it on these images, as `calibrate` would choose it:
        at 0.5, rare labels have 0 for many epochs. `compute` measures it at the thresholds of the spec.
        """
        _, logits, truth = self._sorted()
        loss = nn.functional.binary_cross_entropy_with_logits(logits.double(), truth.double())
        each = [value for value in self._average_precisions() if value is not None]
        columns = zip(*(part.T for part in self.table()), strict=True)
        best = [float(_f1_curve(values, has)[0].max()) for values, has in columns if bool(has.any())]
        num_labels = max(1, len(each))
        return {"loss": float(loss), "mAP": sum(each) / num_labels, "macro_f1": sum(best) / num_labels}

    def _mistakes(self) -> list[tuple[int, int]]:
        """Return (row, label) of the most confident mistakes, one an image."""
        probabilities, truth = self.table()
        predicted = probabilities >= self._thresholds
        # How far the probability is from the truth: near 1 for a label that is not there, near 0 for one that is.
        wrong = torch.where(predicted != truth, (probabilities - truth.double()).abs(), -1.0)
        if not len(wrong):
            return []
        worst, label = wrong.max(dim=1)
        rows = worst.sort(descending=True, stable=True).indices[:NUM_MISTAKES].tolist()
        return [(row, int(label[row])) for row in rows if worst[row] >= 0]

    def examples(self) -> Sequence[int]:
        """Return the indices of the images with mistakes, the most confident first; none unless detailed."""
        if not self._detailed:
            return ()
        indices = self._sorted()[0]
        return [int(indices[row]) for row, _ in self._mistakes()]

    def compute(self, images: Images, files: Sequence[str] = ()) -> LabelEvaluation:
        """Return the evaluation of `images`, from which the batches came."""
        summary = self.summary()
        loss, measured = summary["loss"], {"mAP": summary["mAP"]}
        if not self._detailed:
            return LabelEvaluation(num_images=len(images), loss=loss, metrics=measured)
        probabilities, truth = self.table()
        predicted = probabilities >= self._thresholds
        scores = self._scores(predicted, truth)
        hits = int((predicted & truth).sum())
        f1s = [score.f1 for score in scores if score.f1 is not None]
        measured |= {
            "micro_f1": 2 * hits / max(1, int(predicted.sum() + truth.sum())),
            "macro_f1": sum(f1s) / max(1, len(f1s)),
            "subset_accuracy": int((predicted == truth).all(dim=1).sum()) / len(images),
        }
        confidence = torch.maximum(probabilities, 1 - probabilities).flatten()
        bins = reliability_bins(confidence.float(), ((probabilities >= 0.5) == truth).flatten())
        gaps = sum(part.count * abs(part.confidence - part.accuracy) for part in bins)
        indices = self._sorted()[0]
        return LabelEvaluation(
            num_images=len(images),
            loss=loss,
            metrics=measured,
            calibration_error=gaps / max(1, len(confidence)),
            calibration=bins,
            labels=scores,
            pairs=self._pairs(predicted, truth),
            mistakes=tuple(
                LabelMistake(
                    index=int(indices[row]),
                    source=images.describe(int(indices[row])),
                    label=self._names[label],
                    probability=float(probabilities[row, label]),
                    predicted=bool(predicted[row, label]),
                    true=tuple(name for name, has in zip(self._names, truth[row].tolist(), strict=True) if has),
                    image=file,
                )
                for (row, label), file in itertools.zip_longest(self._mistakes(), files)
            ),
        )

    def _scores(self, predicted: Tensor, truth: Tensor) -> tuple[LabelScore, ...]:
        hits, said, there = ((table.sum(dim=0)).tolist() for table in (predicted & truth, predicted, truth))
        return tuple(
            LabelScore(
                name=name,
                count=there[index],
                threshold=float(self._thresholds[index]),
                average_precision=average_precision,
                precision=hits[index] / said[index] if said[index] else None,
                recall=hits[index] / there[index] if there[index] else None,
                f1=2 * hits[index] / (said[index] + there[index]) if there[index] else None,
            )
            for index, (name, average_precision) in enumerate(zip(self._names, self._average_precisions(), strict=True))
        )

    def _pairs(self, predicted: Tensor, truth: Tensor) -> tuple[LabelPair, ...]:
        """Return the pairs of labels that are in the most images together."""
        together = (truth.double().T @ truth.double()).triu(diagonal=1)
        found = (truth & predicted).double()
        found = found.T @ found
        counts, order = together.flatten().sort(descending=True, stable=True)
        pairs = [
            divmod(int(at), len(self._names)) for at, count in zip(order[:NUM_PAIRS], counts, strict=False) if count
        ]
        return tuple(
            LabelPair(
                first=self._names[first],
                second=self._names[second],
                count=int(together[first, second]),
                found=int(found[first, second]),
            )
            for first, second in pairs
        )
