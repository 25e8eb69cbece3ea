"""Exact metrics: every image counted once, by torchmetrics, in the preprocessing of training."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.inference.forward import BATCH_SIZE, predict_batches
from twofold.inference.hardware import Hardware
from twofold.terminal import track

NUM_MISTAKES = 24
_CALIBRATION_BINS = 15


def quick_metrics(model: nn.Module, images: Images, spec: ModelSpec, hardware: Hardware) -> tuple[float, float]:
    """Return (cross-entropy, accuracy) over all `images`: what each epoch is judged by."""
    from torchmetrics import MeanMetric
    from torchmetrics.classification import MulticlassAccuracy

    loss = MeanMetric()
    accuracy = MulticlassAccuracy(len(spec.class_names), average="micro", validate_args=False)
    for indices, logits in predict_batches(model, images, spec, hardware):
        labels = images.labels[indices].cpu()
        loss.update(nn.functional.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)
    return float(loss.compute()), float(accuracy.compute())


def evaluate(
    model: nn.Module,
    images: Images,
    spec: ModelSpec,
    hardware: Hardware,
    *,
    show: bool = True,
    mistakes_folder: Path | None = None,
) -> dict[str, Any]:
    """Return the full metrics over `images` as a JSON-able record (see the report's `evaluation.json`).

    Args:
        model: the network.
        images: the images and their labels.
        spec: how they were preprocessed and what the classes are called.
        hardware: where to compute.
        show: report progress.
        mistakes_folder: where to save the pictures of the most confident mistakes; none are saved if left out.
    """
    from torchmetrics import MeanMetric, MetricCollection
    from torchmetrics.classification import (
        MulticlassAccuracy,
        MulticlassCalibrationError,
        MulticlassConfusionMatrix,
        MulticlassF1Score,
        MulticlassPrecision,
        MulticlassRecall,
    )

    num_classes = len(spec.class_names)
    metrics = MetricCollection(
        {
            "top5_accuracy": MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes)),
            "precision": MulticlassPrecision(num_classes, average=None),
            "recall": MulticlassRecall(num_classes, average=None),
            "f1": MulticlassF1Score(num_classes, average=None),
            "confusion": MulticlassConfusionMatrix(num_classes),
            "calibration_error": MulticlassCalibrationError(num_classes, n_bins=_CALIBRATION_BINS),
        },
        compute_groups=False,
    )
    loss = MeanMetric()
    confidences: list[Tensor] = []
    hits: list[Tensor] = []
    worst: list[tuple[float, int, int, float]] = []

    batches = track(
        predict_batches(model, images, spec, hardware),
        total=-(-len(images) // BATCH_SIZE),
        label="evaluating",
        enabled=show,
    )
    for indices, logits in batches:
        labels = images.labels[indices].cpu()
        probabilities = logits.softmax(dim=1)
        metrics.update(probabilities, labels)
        loss.update(nn.functional.cross_entropy(logits, labels, reduction="none"))
        confidence, predicted = probabilities.max(dim=1)
        confidences.append(confidence)
        hits.append(predicted == labels)
        for row in torch.nonzero(predicted != labels).flatten().tolist():
            true_probability = float(probabilities[row, labels[row]])
            mistake = (float(confidence[row]), -int(indices[row]), int(predicted[row]), true_probability)
            if len(worst) < NUM_MISTAKES:
                heapq.heappush(worst, mistake)
            else:
                heapq.heappushpop(worst, mistake)

    values = metrics.compute()
    confusion = values["confusion"].tolist()
    return {
        "num_images": len(images),
        "loss": float(loss.compute()),
        # From the counts rather than a float32 mean: 0.889 and not 0.8889999985694885.
        "accuracy": sum(row[index] for index, row in enumerate(confusion)) / len(images),
        "top5_accuracy": float(values["top5_accuracy"]),
        "calibration_error": float(values["calibration_error"]),
        "calibration": _reliability(torch.cat(confidences), torch.cat(hits)),
        "classes": _per_class(spec.class_names, values, confusion),
        "confusion": confusion,
        "mistakes": _describe_mistakes(sorted(worst, reverse=True), images, spec, mistakes_folder),
    }


def _per_class(names: tuple[str, ...], values: dict[str, Tensor], confusion: list[list[int]]) -> list[dict[str, Any]]:
    classes = []
    for index, name in enumerate(names):
        never_predicted = sum(row[index] for row in confusion) == 0
        count = sum(confusion[index])
        classes.append(
            {
                "name": name,
                "count": count,
                "precision": None if never_predicted else float(values["precision"][index]),
                "recall": float(values["recall"][index]) if count else None,
                "f1": float(values["f1"][index]) if count else None,
            }
        )
    return classes


def _reliability(confidence: Tensor, hit: Tensor) -> list[dict[str, Any]]:
    """Return, for each bin of confidence that holds images, its mean confidence, its accuracy and its count."""
    bins = (confidence * _CALIBRATION_BINS).long().clamp(max=_CALIBRATION_BINS - 1)
    rows = []
    for index in bins.unique().tolist():
        inside = bins == index
        rows.append(
            {
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(hit[inside].float().mean()),
                "count": int(inside.sum()),
            }
        )
    return rows


def _describe_mistakes(
    mistakes: list[tuple[float, int, int, float]], images: Images, spec: ModelSpec, folder: Path | None
) -> list[dict[str, Any]]:
    """Return the mistakes, most confident first, each with its picture saved in `folder`."""
    if folder is not None:
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    described = []
    for place, (probability, negative_index, predicted, true_probability) in enumerate(mistakes):
        index = -negative_index
        entry: dict[str, Any] = {
            "index": index,
            "source": images.describe(index),
            "true": spec.class_names[int(images.labels[index])],
            "predicted": spec.class_names[predicted],
            "probability": probability,
            "true_probability": true_probability,
        }
        if folder is not None:
            _picture(images.load(torch.tensor([index]))[0]).save(folder / f"{place:03d}.png")
            entry["image"] = f"{folder.name}/{place:03d}.png"
        described.append(entry)
    return described


def _picture(pixels: Tensor) -> Image.Image:
    """Return uint8 (channels, height, width) as a Pillow image."""
    array = pixels.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
