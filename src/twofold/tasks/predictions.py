"""What a network says of an image, whichever form of it said so: the weights in torch, or an exported file without.

The tables of numbers that networks give become predictions here, in numpy: importing this does not import torch.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from PIL import Image

from twofold.data.spec import ModelSpec
from twofold.names import shown
from twofold.tasks.detect_html import boxes_in_html

USUAL_THRESHOLD = 0.5
"""From this probability on an image has a label, or a detection is shown, where training chose no other."""

# What a notebook shows, and what a prediction can keep of an image without filling the memory.
_KEPT_SIDE = 800


class Prediction(abc.ABC):
    """What a network says of one image."""

    def __getattr__(self, name: str) -> Any:
        """Say what there is in place of what is not: predictions of other tasks have other names."""
        has = [] if name.startswith("_") else [own for own in dir(self) if not own.startswith("_")]
        known = f"; it has {', '.join(has)}" if has else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{known}")

    @abc.abstractmethod
    def to_record(self, *, top: int = 1) -> dict[str, Any]:
        """Return what JSON can hold of it, the `top` most probable answers."""

    @abc.abstractmethod
    def to_line(self, *, top: int = 1) -> str:
        """Return it as one line for a person, the `top` most probable answers, with tabs in between."""

    def beside(self, image: Image.Image) -> Prediction:
        """Return the prediction with the image that it is of, if it has a use for that."""
        return self


@dataclass(frozen=True)
class ClassPrediction(Prediction):
    """Every class with its probability, most probable first."""

    ranked: tuple[tuple[str, float], ...]

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return self.ranked[0][0]

    @property
    def probability(self) -> float:
        """Its probability, 0..1."""
        return self.ranked[0][1]

    @property
    def answers(self) -> tuple[str, ...]:
        """What an explanation looks for: the most probable class."""
        return (self.class_name,)

    def to_record(self, *, top: int = 1) -> dict[str, Any]:
        """Return the `top` most probable classes with their probabilities, as JSON has them."""
        return {"predictions": [{"class": name, "probability": value} for name, value in self.ranked[:top]]}

    def to_line(self, *, top: int = 1) -> str:
        """Return the `top` most probable classes with their probabilities, separated by tabs."""
        return "\t".join(f"{shown(name)} {value:.4f}" for name, value in self.ranked[:top])

    def __repr__(self) -> str:
        others = "" if len(self.ranked) < 2 else f", then {self.ranked[1][0]} {self.ranked[1][1]:.3f}"
        return f"Prediction({self.class_name} {self.probability:.3f}{others}; {len(self.ranked)} classes)"

    def _repr_html_(self) -> str:
        """Return the five most probable classes as a table with bars, for notebooks."""
        from html import escape

        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(shown(name))}</td><td>{value:.1%}</td>"
            "<td style='text-align:left'>"
            f"<div style='width:{120 * value:.0f}px;height:0.7em;background:#4a81e6'></div></td></tr>"
            for name, value in self.ranked[:5]
        )
        return f"<table>{rows}</table>"


def rank_classes(probabilities: Float[np.ndarray, "batch classes"], spec: ModelSpec) -> list[ClassPrediction]:
    """Return each row of probabilities as a ranking of the classes; equal ones in the order of the classes."""
    return [ClassPrediction(_ranked(row, spec.class_names)) for row in probabilities]


@dataclass(frozen=True)
class LabelPrediction(Prediction):
    """Every label with its probability, most probable first, and the names of those that the image is said to have."""

    ranked: tuple[tuple[str, float], ...]
    chosen: frozenset[str]

    @property
    def labels(self) -> dict[str, float]:
        """The labels whose probability is at least their threshold, with it; the most probable first. May be empty."""
        return {name: value for name, value in self.ranked if name in self.chosen}

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels' names, or the most probable one where there are none."""
        return tuple(self.labels) or (self.ranked[0][0],)

    def to_record(self, *, top: int = 1) -> dict[str, Any]:
        """Return the labels, and the `top` most probable ones whatever their threshold, as JSON has them."""
        labels = [{"label": name, "probability": value} for name, value in self.labels.items()]
        ranked = [{"class": name, "probability": value} for name, value in self.ranked[:top]]
        return {"labels": labels, "predictions": ranked}

    def to_line(self, *, top: int = 1) -> str:
        """Return the labels with their probabilities, separated by tabs.

        With a `top` of 2 or more, those of the `top` most probable labels that are below their threshold follow, in
        brackets.
        """
        below = [pair for pair in self.ranked[: top if top > 1 else 0] if pair[0] not in self.chosen]
        words = [f"{shown(name)} {value:.4f}" for name, value in self.labels.items()] or ["no label"]
        return "\t".join([*words, *(f"({shown(name)} {value:.4f})" for name, value in below)])

    def __repr__(self) -> str:
        labels = ", ".join(f"{name} {value:.3f}" for name, value in self.labels.items()) or "no label"
        return f"Prediction({labels}; of {len(self.ranked)} labels)"

    def _repr_html_(self) -> str:
        """Return the labels, and the most probable others in grey, as a table with bars, for notebooks."""
        from html import escape

        rows = "".join(
            f"<tr style='opacity:{1 if name in self.chosen else 0.45}'><td style='text-align:left'>"
            f"{escape(shown(name))}</td><td>{value:.1%}</td><td style='text-align:left'>"
            f"<div style='width:{120 * value:.0f}px;height:0.7em;background:#4a81e6'></div></td></tr>"
            for index, (name, value) in enumerate(self.ranked)
            if index < 5 or name in self.chosen
        )
        return f"<table>{rows}</table>"


def rank_labels(probabilities: Float64[np.ndarray, "batch labels"], spec: ModelSpec) -> list[LabelPrediction]:
    """Return each row of probabilities as a ranking of the labels, and which of them the image is said to have."""
    thresholds = thresholds_of(spec)
    return [
        LabelPrediction(
            _ranked(row, spec.class_names),
            frozenset(name for name, above in zip(spec.class_names, row >= thresholds, strict=True) if above),
        )
        for row in probabilities
    ]


def thresholds_of(spec: ModelSpec) -> Float64[np.ndarray, " labels"]:
    """Return the probability from which on an image is said to have each label."""
    return np.array(spec.label_thresholds or [USUAL_THRESHOLD] * len(spec.class_names), dtype=np.float64)


def threshold_of(spec: ModelSpec) -> float:
    """Return the score from which on a detection is shown."""
    return USUAL_THRESHOLD if spec.score_threshold is None else spec.score_threshold


def _ranked(row: Float[np.ndarray, " classes"], names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    order: list[int] = np.argsort(-row, kind="stable").tolist()
    return tuple((names[index], float(value)) for index, value in zip(order, row[order], strict=True))


@dataclass(frozen=True)
class DetectionPrediction(Prediction):
    """The objects that a network finds in an image, most certain first.

    Attributes:
        size: (height, width) of the image in pixels.
        found: every box with its class and score that suppression left, also those below the threshold.
        threshold: the score from which on a detection is shown.
        image: a copy of the image, made smaller where it is large; None where several images were predicted at once.
    """

    size: tuple[int, int]
    found: tuple[tuple[str, float, tuple[float, float, float, float]], ...]
    threshold: float
    image: Image.Image | None = field(default=None, compare=False, repr=False)

    @property
    def objects(self) -> tuple[tuple[str, float, tuple[float, float, float, float]], ...]:
        """(class, probability, box) of each detection from the threshold on."""
        return tuple(one for one in self.found if one[1] >= self.threshold)

    @property
    def boxes(self) -> Float64[np.ndarray, "objects 4"]:
        """Corners (x1, y1, x2, y2) in pixels of the image, of the detections from the threshold on."""
        return np.array([box for _, _, box in self.objects], dtype=np.float64).reshape(-1, 4)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class of each of `boxes`."""
        return tuple(name for name, _, _ in self.objects)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The score of each of `boxes`, 0..1."""
        return tuple(probability for _, probability, _ in self.objects)

    def only(self, *, threshold: float | None = None, top: int | None = None) -> DetectionPrediction:
        """Return the prediction with fewer or more of what was found.

        Args:
            threshold: the score from which on a detection is shown, in place of the network's own.
            top: the most detections, the most certain ones.
        """
        least = self.threshold if threshold is None else threshold
        return replace(self, threshold=least, found=self.found[:top])

    def beside(self, image: Image.Image) -> DetectionPrediction:
        """Return the prediction with a copy of its image, of at most 800 px each way."""
        copy = image.copy()
        copy.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
        return replace(self, image=copy)

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

    def _repr_html_(self) -> str:
        """Return the image with its boxes, for notebooks; the line of `repr` where the image is not at hand."""
        words = f"<code>{escape(shown(repr(self)))}</code>"
        return words if self.image is None else f"{boxes_in_html(self.image, self.size, self.objects)}{words}"


def list_objects(
    boxes: Float[np.ndarray, "objects 4"],
    scores: Float[np.ndarray, " objects"],
    labels: Int64[np.ndarray, " objects"],
    counts: Int64[np.ndarray, " batch"],
    spec: ModelSpec,
    sizes: Sequence[tuple[int, int]],
) -> list[DetectionPrediction]:
    """Return the detections of a batch, image after image, as a prediction for each image.

    Args:
        boxes: corners in pixels of the images as they were given; in each image the most certain ones first.
        scores: of each box.
        labels: the class of each box.
        counts: the number of boxes in each image.
        spec: names the classes, and has the threshold.
        sizes: (height, width) of each image.
    """
    threshold = threshold_of(spec)
    names = [spec.class_names[label] for label in labels.tolist()]
    found = list(zip(names, scores.tolist(), map(tuple, boxes.tolist()), strict=True))
    ends = np.cumsum(counts).tolist()
    return [
        DetectionPrediction(size, tuple(found[end - count : end]), threshold)
        for size, end, count in zip(sizes, ends, counts.tolist(), strict=True)
    ]


def answers_of(
    found: Mapping[str, np.ndarray], spec: ModelSpec, sizes: Sequence[tuple[int, int]]
) -> Sequence[Prediction]:
    """Return what an exported network says of a batch of images.

    Args:
        found: what it gave, by name: "probabilities"; of a detector "boxes", "scores", "labels" and "counts".
        spec: of the network.
        sizes: (height, width) of each image as it was given.
    """
    if spec.task == "detect":
        return list_objects(found["boxes"], found["scores"], found["labels"], found["counts"], spec, sizes)
    if spec.task == "multilabel":
        return rank_labels(found["probabilities"].astype(np.float64), spec)
    return rank_classes(found["probabilities"], spec)
