"""The detector's task: what it prepares, what it trains with, what it says, and what an evaluation counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from detectors import detector_spec
from twofold.data.images import MemoryImages
from twofold.data.targets import BoxTargets, ClassTargets, to_box_targets
from twofold.detect.network import anchors_of
from twofold.detect.offsets import to_offsets
from twofold.detect.placement import placement
from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.records import DetectionEvaluation
from twofold.tasks.detect import Detection
from twofold.tasks.detect_meter import padded
from twofold.tasks.predictions import DetectionPrediction

TASK, SPEC, CPU = Detection(), detector_spec(), torch.device("cpu")
RECIPE = Recipe(model="ssd-mini", data="fashion-scenes", augment="none")


def outputs_for(boxes: list[list[tuple[float, ...]]], labels: list[list[int]], sizes: list[tuple[int, int]]):
    """Outputs of a detector that is sure of these boxes, in pixels of images of these sizes, and of nothing else."""
    anchors = anchors_of(SPEC)
    outputs = torch.zeros(len(boxes), len(anchors), 4 + 1 + len(SPEC.class_names))
    outputs[..., 4], outputs[..., 5:] = 9.0, -9.0
    placed = placement(torch.tensor(sizes), SPEC)
    height, width = SPEC.image_size
    for image, own in enumerate(boxes):
        for row, (box, label) in enumerate(zip(own, labels[image], strict=True)):
            inside = torch.tensor(box) * placed[image, [0, 1, 0, 1]] + placed[image, [2, 3, 2, 3]]
            inside = inside.float() / torch.tensor([width, height, width, height])
            outputs[image, row, :4] = to_offsets(anchors[row], inside)
            outputs[image, row, 4] = 0.0
            outputs[image, row, 5 + label] = 5.0 - row
    return outputs


def test_boxes_are_padded_in_pixels_of_the_input_and_crowds_left_out() -> None:
    targets = to_box_targets(
        [[(0, 0, 10, 20), (5, 5, 15, 15)], [], [(0, 0, 100, 50)]],
        [[1, 0], [], [1]],
        [(32, 32), (64, 64), (128, 200)],
        crowd=[[False, True], [], [False]],
    )
    boxes, labels = padded(targets, SPEC)
    assert labels.tolist() == [[1], [-1], [1]]
    assert boxes[:, 0].tolist() == [[0, 0, 20, 40], [0, 0, 0, 0], [0, 0, 32, 25]]


def test_an_object_that_augmentation_moves_out_is_not_learnt() -> None:
    recipe = RECIPE.override(augment="affine(degrees=0, shift=0.9)")
    images = torch.zeros(64, 1, 64, 64, dtype=torch.uint8)
    targets = to_box_targets([[(28, 28, 36, 36)]] * 64, [[1]] * 64, [(64, 64)] * 64)
    prepare = TASK.preparation(recipe, SPEC, targets, CPU)
    _, truth = prepare((torch.arange(64), images), 0)
    sides = (truth.boxes[..., 2:] - truth.boxes[..., :2]) * 64
    there = truth.labels >= 0
    assert 5 < int(there.sum()) < 60
    assert bool((sides[there] >= 2 - 1e-3).all())


def test_boxes_move_with_the_pixels() -> None:
    images = torch.zeros(8, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 10:20, 5:30] = 255
    targets = to_box_targets([[(5, 10, 30, 20)]] * 8, [[0]] * 8, [(64, 64)] * 8)
    inputs, truth = TASK.preparation(RECIPE.override(augment="flip"), SPEC, targets, CPU)((torch.arange(8), images), 3)
    for own, box in zip(inputs[:, 0], truth.boxes[:, 0] * 64, strict=True):
        rows, columns = torch.nonzero(own > 0, as_tuple=True)
        found = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        assert box.tolist() == pytest.approx(found, abs=1e-4)
    assert len({tuple(box.tolist()) for box in truth.boxes[:, 0]}) == 2, "some are mirrored, some are not"


def test_predictions_are_in_pixels_of_the_image_and_cut_at_the_threshold() -> None:
    boxes, labels, sizes = [[(10.0, 5.0, 40.0, 25.0), (50.0, 30.0, 60.0, 40.0)]], [[1, 0]], [(50, 80)]
    outputs = outputs_for(boxes, labels, sizes)
    (prediction,) = TASK.decode(outputs, SPEC, sizes)
    assert isinstance(prediction, DetectionPrediction)
    assert prediction.class_names == ("dog", "cat")
    assert prediction.probabilities[0] > prediction.probabilities[1] > 0.9
    np.testing.assert_allclose(prediction.boxes, boxes[0], atol=1e-3)
    high = SPEC.model_copy(update={"score_threshold": 0.99})
    (prediction,) = TASK.decode(outputs, high, sizes)
    assert isinstance(prediction, DetectionPrediction)
    assert (prediction.class_names, len(prediction.found)) == (("dog",), 2)
    assert prediction.to_line().startswith("dog 0.99")
    assert prediction.to_record()["objects"][0]["class"] == "dog"


def test_a_perfect_detector_has_an_ap_of_one_and_each_error_counts() -> None:
    true = [[(5.0, 5.0, 40.0, 30.0)], [(20.0, 20.0, 60.0, 60.0), (0.0, 0.0, 15.0, 15.0)], []]
    labels, sizes = [[0], [1, 0], []], [(64, 64), (70, 90), (64, 64)]
    targets = to_box_targets(true, labels, sizes)
    images = MemoryImages(torch.zeros(3, 1, 64, 64, dtype=torch.uint8), targets, "test")
    meter = TASK.meter(SPEC, detailed=True)
    meter.update(outputs_for(true, labels, sizes), targets, torch.arange(3))
    assert meter.summary() == pytest.approx({"loss": meter.summary()["loss"], "AP": 1.0, "AP50": 1.0})
    assert list(meter.examples()) == []
    evaluation = meter.compute(images, [])
    assert isinstance(evaluation, DetectionEvaluation)
    assert (evaluation.f1, evaluation.num_boxes) == (1.0, 3)

    missed = TASK.meter(SPEC, detailed=True)
    missed.update(outputs_for([true[0], true[1][:1], true[0]], [[0], [1], [0]], sizes), targets, torch.arange(3))
    assert sorted(missed.examples()) == [1, 2], "one misses an object, one invents one"
    evaluation = missed.compute(images, ["a.png", "b.png"])
    assert isinstance(evaluation, DetectionEvaluation)
    assert evaluation.f1 == pytest.approx(2 * 2 / (3 + 3))
    by_name = {score.name: score for score in evaluation.classes}
    assert (by_name["cat"].precision, by_name["cat"].recall) == (0.5, 0.5)
    assert {example.num_errors for example in evaluation.examples} == {1}
    assert DetectionEvaluation.from_json(evaluation.to_json()) == evaluation


def test_parts_are_merged_in_any_order() -> None:
    generator = torch.Generator().manual_seed(0)
    start = 40 * torch.rand(6, 2, generator=generator)
    boxes = [[tuple(torch.cat([one, one + 20]).tolist())] for one in start]
    labels, sizes = [[k % 2] for k in range(6)], [(64, 64)] * 6
    targets = to_box_targets(boxes, labels, sizes)
    outputs = outputs_for(boxes[1:] + boxes[:1], labels, sizes)
    whole = TASK.meter(SPEC)
    whole.update(outputs, targets, torch.arange(6))
    parts = [TASK.meter(SPEC) for _ in range(3)]
    for meter, own in zip(parts, torch.arange(6).split(2), strict=True):
        meter.update(outputs[own], targets.take(own), own)
    for order in itertools.permutations(range(3)):
        total = TASK.meter(SPEC)
        for part in order:
            total.merge(parts[part])
        assert total.summary()["AP"] == pytest.approx(whole.summary()["AP"], abs=1e-12)


def test_the_threshold_with_the_best_f1_travels_in_the_spec() -> None:
    boxes = [[(5.0, 5.0, 40.0, 30.0), (30.0, 30.0, 60.0, 60.0)]] * 2
    sizes = [(64, 64)] * 2
    truth = to_box_targets([own[:1] for own in boxes], [[0], [0]], sizes)
    meter = TASK.meter(SPEC)
    outputs = outputs_for(boxes, [[0, 0]] * 2, sizes)  # the second is less certain, and wrong
    meter.update(outputs, truth, torch.arange(2))
    spec = TASK.calibrate(meter, SPEC)
    assert spec.score_threshold is not None
    (prediction, _) = TASK.decode(outputs, spec, sizes)
    assert isinstance(prediction, DetectionPrediction)
    assert (len(prediction.found), len(prediction.objects)) == (2, 1)


def test_a_set_without_boxes_is_measured_as_nothing() -> None:
    targets = to_box_targets([[], []], [[], []], [(64, 64)] * 2)
    meter = TASK.meter(SPEC)
    meter.update(outputs_for([[], []], [[], []], [(64, 64)] * 2), targets, torch.arange(2))
    summary = meter.summary()
    assert (summary["AP"], summary["AP50"]) == (0.0, 0.0)
    assert TASK.calibrate(meter, SPEC).score_threshold == 0.5


def test_classes_are_no_boxes() -> None:
    with pytest.raises(TwofoldError, match="needs boxes; these images are for the task 'classify'"):
        TASK.loss(RECIPE.override(class_weights="balanced"), SPEC, ClassTargets(torch.tensor([0, 1])), CPU)


def test_balanced_weights_count_boxes() -> None:
    targets = to_box_targets([[(0, 0, 9, 9)] * 3, [(0, 0, 9, 9)]], [[0, 0, 0], [1]], [(64, 64)] * 2)
    loss = TASK.loss(RECIPE.override(class_weights="balanced"), SPEC, targets, CPU)
    weight = loss.cross_entropy.weight  # type: ignore[attr-defined]
    assert weight.tolist() == pytest.approx([1.0, 4 / 6, 2.0])
    lines = TASK.remarks(RECIPE.override(class_weights="balanced"), SPEC, targets)
    assert "anchors overlap" in lines[0]
    assert "dog" in lines[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"box_loss": "giou"}, "leaves box_loss='giou' out"),
        ({"label_smoothing": 0.1}, "leaves label_smoothing=0.1 out"),
        ({"class_weights": "balanced"}, "leaves class_weights='balanced' out"),
    ],
)
def test_what_the_readable_loss_leaves_out_is_refused(settings: dict, words: str) -> None:
    targets: BoxTargets = to_box_targets([[(0, 0, 9, 9)]], [[0]], [(64, 64)])
    with pytest.raises(TwofoldError, match=words):
        TASK.loss(RECIPE.override(form="scratch", **settings), SPEC, targets, CPU)
