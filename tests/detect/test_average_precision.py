"""Both forms of average precision against pycocotools and torchmetrics, and what the fast form does at its limits."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import hypothesis
import pytest
import torch
from coco_cases import draw, flat, pycocotools, torchmetrics_ap
from torch import Tensor

from twofold.data.targets import BoxTargets, to_box_targets
from twofold.detect import Detections, PrecisionRecall, evaluate_detections
from twofold.errors import TwofoldError
from twofold.scratch import detection

# `make fuzz` runs two thousand cases, the suite the first sixty of them, in runs of ten.
NUM_CASES = 2000 if hypothesis.settings.get_current_profile_name() == "long" else 60
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("start", range(0, NUM_CASES, 10))
def test_both_forms_are_pycocotools_and_torchmetrics(start: int) -> None:
    for index in range(start, start + 10):
        images, num_classes = draw(index)
        expected = pycocotools(images, num_classes)
        fast = evaluate_detections(*flat(images), num_classes)
        readable = detection.evaluate([found for _, found in images], [truth for truth, _ in images], num_classes)
        for name in ("precision", "recall", "scores"):
            close(getattr(fast, name), expected[name])
            close(getattr(readable, name), expected[name])
        assert list(fast.metrics) == METRICS
        close(torch.tensor(list(fast.metrics.values()), dtype=torch.float64), expected["stats"])
        by_torchmetrics = torch.tensor(torchmetrics_ap(images), dtype=torch.float64)
        close(detection.average_precision(readable), by_torchmetrics)


def test_the_drawn_cases_have_what_is_rare() -> None:
    """Empty images, crowds, ties, more than 100 detections of a class, and classes that never occur are among them."""
    seen = set()
    for index in range(60):
        images, num_classes = draw(index)
        labels = torch.cat([truth.labels for truth, _ in images])
        scores = torch.cat([found.scores for _, found in images])
        seen |= {
            "an image without truths" if any(not len(truth.labels) for truth, _ in images) else "",
            "an image without detections" if any(not len(found.labels) for _, found in images) else "",
            "a crowd" if any(bool(truth.crowd.any()) for truth, _ in images) else "",
            "ties" if len(scores.unique()) < len(scores) else "",
            "a class never seen" if len(labels.unique()) < num_classes else "",
            "more than 100"
            if any(len(found.labels) and found.labels.bincount().max() > 100 for _, found in images)
            else "",
        }
    assert len(seen - {""}) == 6, seen


@lru_cache
def two_images() -> tuple[Detections, BoxTargets]:
    """Class 0 is found well, class 1 not at all, class 2 is nowhere."""
    truth = to_box_targets([[(0, 0, 10, 10), (50, 50, 200, 200)], []], [[0, 1], []], [(200, 200)] * 2)
    boxes = torch.tensor([[0, 0, 10, 10], [100, 100, 110, 110], [0, 0, 9, 9]], dtype=torch.float64)
    scores = torch.tensor([0.9, 0.8, 0.3], dtype=torch.float64)
    return Detections(boxes, scores, torch.tensor([0, 2, 1]), torch.tensor([2, 1])), truth


def test_each_class_size_and_number_is_named() -> None:
    result = evaluate_detections(*two_images(), 3)
    ap = [result.average_precision(), result.average_precision(0.5), result.average_precision(size="small")]
    assert ap == pytest.approx([0.5, 0.5, 1.0])
    assert math.isnan(result.metrics["APm"])
    assert result.metrics["APl"] == 0.0
    assert result.average_recall(1) == result.metrics["AR1"] == pytest.approx(0.5)
    by_class = result.by_class()
    assert by_class[:2] == pytest.approx([1.0, 0.0])
    assert math.isnan(by_class[2])
    assert result.by_class(0.75)[:2] == pytest.approx([1.0, 0.0])
    assert result.curve(0).tolist() == [1.0] * 101
    assert result.scores[0, :, 0, 0, -1].tolist() == [0.9] * 101


@pytest.mark.parametrize("threshold", detection.THRESHOLDS)
def test_a_threshold_is_meant_however_it_is_rounded(threshold: float) -> None:
    precision = torch.arange(10, dtype=torch.float64)[:, None, None, None, None].expand(10, 101, 1, 4, 3)
    result = PrecisionRecall(precision, precision[:, 0], precision)
    place = detection.THRESHOLDS.index(threshold)
    assert result.average_precision(round(threshold, 2)) == place
    assert (
        float(detection.average_precision(detection.Evaluated(precision, precision[:, 0], precision), threshold))
        == place
    )


def test_the_order_of_images_decides_ties_alone() -> None:
    images, num_classes = draw(3)
    images = [(truth, found._replace(scores=torch.rand(len(found.scores)).double())) for truth, found in images]
    forwards, backwards = (evaluate_detections(*flat(order), num_classes) for order in (images, images[::-1]))
    close(forwards.precision, backwards.precision)


def test_detections_need_not_be_sorted() -> None:
    found, truth = two_images()
    turned = Detections(found.boxes[[1, 0, 2]], found.scores[[1, 0, 2]], found.labels[[1, 0, 2]], found.counts)
    close(evaluate_detections(turned, truth, 3).precision, evaluate_detections(found, truth, 3).precision)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_nothing_there_and_nothing_found_is_undefined(num_classes: int) -> None:
    nothing = Detections.joined([])
    result = evaluate_detections(nothing, to_box_targets([], [], []), num_classes)
    assert bool(result.precision.isnan().all())
    none = torch.zeros(2, dtype=torch.int64)
    result = evaluate_detections(
        dataclasses.replace(nothing, counts=none), to_box_targets([[], []], [[], []], [(9, 9)] * 2), num_classes
    )
    assert bool(result.precision.isnan().all())
    assert math.isnan(result.metrics["AP"])


def test_boxes_without_area_give_no_undefined_values() -> None:
    truth = to_box_targets([[(5, 5, 5, 9), (0, 0, 4, 4)]], [[0, 0]], [(9, 9)], crowd=[[True, False]])
    boxes = torch.tensor([[5, 5, 5, 9], [0, 0, 4, 4]], dtype=torch.float64)
    found = Detections(boxes, torch.tensor([0.9, 0.8]).double(), torch.tensor([0, 0]), torch.tensor([2]))
    result = evaluate_detections(found, truth, 1)
    assert result.average_precision() == pytest.approx(0.5)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate_detections(*two_images(), 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_a_diverged_network_says_is_refused_in_one_line(value: float) -> None:
    found, truth = two_images()
    scores = found.scores.clone()
    scores[1] = value
    with pytest.raises(TwofoldError, match="not finite: has the network diverged"):
        evaluate_detections(dataclasses.replace(found, scores=scores), truth, 3)


def test_each_image_needs_its_truth() -> None:
    found, truth = two_images()
    with pytest.raises(ValueError, match="each image needs its truth, got 2 and 1"):
        evaluate_detections(found, truth.take(torch.tensor([0])), 3)
