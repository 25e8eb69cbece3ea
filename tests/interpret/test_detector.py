"""How a detector comes to its objects: the same objects as in a prediction, by the same steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from detectors import detector_spec
from small_predictors import image_of, make
from twofold.detect.network import anchors_of
from twofold.errors import TwofoldError
from twofold.figures.explain_detector import draw_detector
from twofold.inference.build import build_model
from twofold.inference.hardware import Hardware
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret import explain_detections
from twofold.tasks.predictions import DetectionPrediction

CPU = Hardware(torch.device("cpu"), "cpu", "float32", "as asked for")


def detector(**changes: Any) -> TorchPredictor:
    """A detector with random weights, whose scores differ enough to be told apart."""
    spec = detector_spec(**changes)
    torch.manual_seed(0)
    model = build_model(spec, CPU)
    with torch.no_grad():
        for name, weights in model.head.named_parameters():
            if name.endswith("weight"):
                weights.mul_(20)
    return TorchPredictor(model, spec, CPU)


DETECTORS = {
    "ssd-mini": {},
    "sigmoid": {"architecture_options": {"width": 0.25, "scores": "sigmoid"}},
    "wide": {"image_size": (64, 96), "architecture_options": {"width": 0.25, "anchors": "d2l"}},
    "ssd": {
        "architecture": "ssd",
        "architecture_options": {"backbone": "resnet18", "stem": "small", "width": 0.125},
    },
}


@pytest.mark.parametrize("name", DETECTORS)
def test_the_objects_are_those_of_a_prediction(name: str) -> None:
    predictor = detector(**DETECTORS[name])
    pixels = image_of(predictor)
    seen = explain_detections(predictor, pixels, threshold=0.3)
    (prediction,) = predictor.decode(predictor.outputs(pixels[None]))
    assert isinstance(prediction, DetectionPrediction)
    expected = prediction.only(threshold=0.3).objects
    assert len(seen.raw) > len(seen.objects) == len(expected) > 0
    for (cls, score, box), (other, other_score, other_box) in zip(seen.objects, expected, strict=True):
        assert cls == other
        assert score == pytest.approx(other_score, abs=1e-6)
        assert box == pytest.approx(other_box, abs=1e-4)
    assert explain_detections(predictor, pixels).threshold == prediction.threshold
    # Every anchor belongs to a level, and is where the network has it.
    assert sum(level.num_candidates for level in seen.levels) == len(seen.raw)
    assert sum(level.num_found for level in seen.levels) == len(seen.objects)
    height, width = predictor.spec.image_size
    every = anchors_of(predictor.spec).double() * torch.tensor([width, height, width, height])
    assert all(bool((every == anchor).all(dim=1).any()) for anchor in seen.raw[:20])
    for level in seen.levels:
        assert all(bool((every == anchor).all(dim=1).any()) for anchor in level.anchors)
        assert level.best.shape == level.maps.shape[1:] == level.map_size
    assert max(float(level.best.max()) for level in seen.levels) == pytest.approx(float(seen.scores[0]))
    assert [level.map_size[0] for level in seen.levels] == sorted(
        (level.map_size[0] for level in seen.levels), reverse=True
    )


def test_a_class_that_is_asked_for_is_looked_at_alone() -> None:
    predictor = detector()
    pixels = image_of(predictor)
    both = explain_detections(predictor, pixels, threshold=0.45)
    dogs = explain_detections(predictor, pixels, threshold=0.45, classes=["dog"])
    assert set(both.class_names) == {"cat", "dog"}
    assert set(dogs.class_names) == {"dog"}
    # Classes are suppressed each by itself, so that those of one are the same without the others.
    assert dogs.objects == tuple(one for one in both.objects if one[0] == "dog")
    with pytest.raises(TwofoldError, match="did you mean dog"):
        explain_detections(predictor, pixels, classes=["dogs"])


def test_a_classifier_has_no_anchors() -> None:
    predictor = make("lenet")
    with pytest.raises(TwofoldError, match="lenet finds no objects"):
        explain_detections(predictor, image_of(predictor))


@pytest.mark.parametrize("threshold", [0.1, 1.0])
def test_the_figure_shows_each_step_and_each_level(threshold: float) -> None:
    predictor = detector(class_names=("$\\frac{", "猫"), image_size=(64, 96))
    seen = explain_detections(predictor, image_of(predictor), threshold=threshold)
    figure = draw_detector(seen, title="<b>scene</b>")
    num_levels = len(seen.levels)
    assert len(figure.axes) == 4 + num_levels * (2 + 4)
    words = [text.get_text() for text in figure.texts]
    assert f"{len(seen.raw):,} anchors" in words
    assert f"{len(seen.objects):,} after suppression" in words
    _, raw, moved, kept, *others = figure.axes
    # Two frames a box, one light and one in its colour.
    assert len(raw.patches) == len(moved.patches) == 2 * min(60, len(seen.raw))
    assert len(kept.patches) == 2 * len(seen.objects)
    nothing = [axes for axes in (raw, moved, kept) if any(text.get_text() == "none" for text in axes.texts)]
    assert len(nothing) == (3 if threshold == 1.0 else 0)
    assert len(others[0].patches) == 2 * len(seen.levels[0].anchors)


def test_no_text_of_the_figure_leaves_its_page_or_meets_another() -> None:
    predictor = detector(class_names=("w" * 200, "dog"))
    figure = draw_detector(explain_detections(predictor, image_of(predictor), threshold=0.1), title="t" * 300)
    figure.canvas.draw()
    extents = [text.get_window_extent() for text in figure.texts]
    assert all(extent.x1 <= figure.bbox.width and extent.y0 >= 0 for extent in extents)
    assert not any(a.overlaps(b) for k, a in enumerate(extents) for b in extents[k + 1 :])
