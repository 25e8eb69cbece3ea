"""One class an image: the loss with auxiliary heads, meters that merge, predictions that rank."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from twofold import Recipe, TwofoldError
from twofold.data import MemoryImages
from twofold.data.spec import ModelSpec
from twofold.data.targets import ClassTargets
from twofold.models.googlenet import AUXILIARY_WEIGHT
from twofold.tasks.classify import NUM_MISTAKES, Classification, ClassMeter, class_weights
from twofold.tasks.metrics import METRICS

TASK = Classification()
NAMES = ("bag", "boot", "shirt")


def spec_of(names: tuple[str, ...] = NAMES) -> ModelSpec:
    return ModelSpec(
        channels=1,
        image_size=(4, 4),
        architecture="lenet",
        architecture_options={},
        class_names=names,
        mean=(0.5,),
        std=(0.5,),
    )


def drawn(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, len(NAMES), generator=generator), torch.randint(0, len(NAMES), (n,), generator=generator)


def feed(meter: ClassMeter, outputs: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> ClassMeter:
    for part in indices.split(7) if len(indices) else ():
        meter.update(outputs[part], ClassTargets(labels[part]), part)
    return meter


@given(n=st.integers(1, 90), cut=st.floats(0, 1), seed=st.integers(0, 99), detailed=st.booleans())
def test_meters_of_parts_merge_to_the_meter_of_the_whole(n: int, cut: float, seed: int, detailed: bool) -> None:
    outputs, labels = drawn(n, seed)
    images = MemoryImages(torch.zeros(n, 1, 4, 4, dtype=torch.uint8), ClassTargets(labels), "drawn")
    whole = feed(TASK.meter(spec_of(), detailed=detailed), outputs, labels, torch.arange(n))
    first, second = (
        feed(TASK.meter(spec_of(), detailed=detailed), outputs, labels, part)
        for part in torch.arange(n).tensor_split([round(cut * n)])
    )
    first.merge(second)
    assert first.summary() == pytest.approx(whole.summary(), rel=1e-6)
    assert first.examples() == whole.examples()
    same_but_rounding(first.compute(images).to_json(), whole.compute(images).to_json())


def same_but_rounding(ours: Any, theirs: Any) -> None:
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            same_but_rounding(ours[name], theirs[name])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same_but_rounding(one, other)
    else:
        assert ours == (pytest.approx(theirs, rel=1e-5) if isinstance(theirs, float) else theirs)


@given(n=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_meter_is_what_torch_computes_of_all_at_once(n: int, seed: int) -> None:
    outputs, labels = drawn(n, seed)
    measured = feed(TASK.meter(spec_of()), outputs, labels, torch.arange(n)).summary()
    assert (
        list(measured)
        == ["loss", "accuracy", "balanced_accuracy", "macro_f1"]
        == [metric.name for metric in sorted(METRICS["classify"], key=lambda metric: metric.name != "loss")]
    )
    assert measured["loss"] == pytest.approx(float(nn.functional.cross_entropy(outputs, labels)), rel=1e-5)
    assert measured["accuracy"] == pytest.approx(float((outputs.argmax(1) == labels).float().mean()))
    # By their definitions, a class at a time.
    predicted, recalls, f1s = outputs.argmax(1), [], []
    for index in range(len(NAMES)):
        hits = int(((predicted == index) & (labels == index)).sum())
        said, there = int((predicted == index).sum()), int((labels == index).sum())
        recalls += [hits / there] if there else []
        f1s += [2 * hits / (said + there)] if said + there else []
    assert measured["balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls))
    assert measured["macro_f1"] == pytest.approx(sum(f1s) / len(f1s))


@given(n=st.integers(1, 60), seed=st.integers(0, 99))
def test_an_evaluation_has_the_averages_and_the_confusion_of_its_images(n: int, seed: int) -> None:
    outputs, labels = drawn(n, seed)
    images = MemoryImages(torch.zeros(n, 1, 4, 4, dtype=torch.uint8), ClassTargets(labels), "drawn")
    meter = feed(TASK.meter(spec_of(), detailed=True), outputs, labels, torch.arange(n))
    evaluation = meter.compute(images)
    assert evaluation.metrics == pytest.approx({k: v for k, v in meter.summary().items() if k != "loss"})
    pairs = list(zip(labels.tolist(), outputs.argmax(1).tolist(), strict=True))
    assert evaluation.confusion == tuple(
        {column: pairs.count((row, column)) for column in range(3) if (row, column) in pairs} for row in range(3)
    )


def test_always_the_largest_class_has_a_high_accuracy_and_a_low_balanced_one() -> None:
    labels = torch.tensor([0] * 98 + [1, 2])
    outputs = torch.tensor([[1.0, 0.0, 0.0]]).expand(100, 3)
    measured = feed(TASK.meter(spec_of()), outputs, labels, torch.arange(100)).summary()
    assert measured["accuracy"] == pytest.approx(0.98)
    assert measured["balanced_accuracy"] == pytest.approx(1 / 3)
    assert measured["macro_f1"] == pytest.approx(2 * 98 / 198 / 3)


TRAINED_ON = ClassTargets(torch.tensor([0] * 6 + [1] * 2 + [2]))


@pytest.mark.parametrize("form", ["fast", "scratch"])
@pytest.mark.parametrize(
    ("given_weights", "expected"),
    [("balanced", [0.5, 1.5, 3.0]), ({"shirt": 4, "bag": 1, "boot": 0.5}, [1.0, 0.5, 4.0])],
)
def test_class_weights_are_those_of_torch_in_both_forms(form: Any, given_weights: Any, expected: list[float]) -> None:
    logits, labels = drawn(9, 0)
    shares = drawn(9, 1)[0].softmax(1)
    recipe = Recipe(class_weights=given_weights, form=form, label_smoothing=0.1)
    loss = TASK.loss(recipe, spec_of(), TRAINED_ON, torch.device("cpu"))
    for targets in (labels, shares):
        wanted = nn.functional.cross_entropy(logits, targets, weight=torch.tensor(expected), label_smoothing=0.1)
        torch.testing.assert_close(loss(logits, targets)["loss"], wanted)
    (line,) = TASK.remarks(recipe, spec_of(), TRAINED_ON)
    assert re.fullmatch(r"class weights in the loss: from 0.5 \(\w+\) to [34] \(shirt\)", line)


def test_balanced_weights_are_1_on_average_and_a_class_without_images_has_no_say() -> None:
    targets = ClassTargets(torch.tensor([0] * 6 + [2] * 2))
    weights = class_weights(Recipe(class_weights="balanced"), spec_of(), targets)
    assert weights is not None
    assert weights.tolist() == pytest.approx([8 / 12, 1.0, 8 / 4])
    assert float(weights[targets.labels].mean()) == pytest.approx(1)
    assert class_weights(Recipe(), spec_of(), targets) is None
    assert TASK.remarks(Recipe(), spec_of(), targets) == []


@pytest.mark.parametrize(
    ("given_weights", "message"),
    [
        ({"bag": 1, "boots": 1, "shirt": 1}, "class_weights has a weight for 'boots', .*: did you mean boot?"),
        ({"bag": 1}, "class_weights has no weight for class 'boot' and 1 more; give one for each class"),
    ],
)
def test_weights_of_other_classes_are_refused(given_weights: dict, message: str) -> None:
    with pytest.raises(TwofoldError, match=message):
        TASK.loss(Recipe(class_weights=given_weights), spec_of(), TRAINED_ON, torch.device("cpu"))


def test_repeats_of_an_image_have_its_label_and_an_augmentation_of_their_own() -> None:
    """A sample's number is its image's index, plus the number of images for each time before."""
    targets = ClassTargets(torch.tensor([2, 1]))
    prepare = TASK.preparation(Recipe(augment="crop"), spec_of(), targets, torch.device("cpu"))
    pixels = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).expand(20, 1, 4, 4)
    inputs, labels = prepare((2 * torch.arange(20), pixels), 0)
    assert labels.tolist() == [2] * 20
    assert len({tuple(image.flatten().tolist()) for image in inputs}) > 5


def test_the_most_confident_mistakes_are_kept_with_their_files() -> None:
    n = 3 * NUM_MISTAKES
    confidence = torch.linspace(1, 5, n)
    outputs, labels = torch.stack([confidence, torch.zeros(n), torch.zeros(n)], dim=1), torch.ones(n).long()
    meter = feed(TASK.meter(spec_of(), detailed=True), outputs, labels, torch.arange(n))
    assert list(meter.examples()) == list(range(n - 1, n - 1 - NUM_MISTAKES, -1))
    images = MemoryImages(torch.zeros(n, 1, 4, 4, dtype=torch.uint8), ClassTargets(labels), "drawn")
    mistakes = meter.compute(images, [f"{index}.png" for index in meter.examples()]).mistakes
    assert [mistake.image for mistake in mistakes] == [f"{mistake.index}.png" for mistake in mistakes]
    assert {(mistake.true, mistake.predicted) for mistake in mistakes} == {("boot", "bag")}


def test_auxiliary_heads_count_in_the_loss_and_nowhere_else() -> None:
    """Szegedy et al. (2015) add the losses of the heads in the middle, weighted by 0.3."""
    logits, labels = drawn(5, 0)
    others = [drawn(5, seed)[0] for seed in (1, 2)]
    loss = TASK.loss(Recipe(label_smoothing=0.1), spec_of(), ClassTargets(labels), torch.device("cpu"))
    expected = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1) + AUXILIARY_WEIGHT * sum(
        nn.functional.cross_entropy(other, labels, label_smoothing=0.1) for other in others
    )
    torch.testing.assert_close(loss((logits, *others), labels)["loss"], expected)
    counted = TASK.training_counts((logits, *others), labels)
    assert counted == {"accuracy": (logits.argmax(1) == labels).sum()}


def test_of_a_mixed_image_the_larger_share_counts() -> None:
    logits, _ = drawn(4, 0)
    shares = torch.full((4, 3), 0.1)
    shares[torch.arange(4), logits.argmax(1)] = 0.8
    assert int(TASK.training_counts(logits, shares)["accuracy"]) == 4


def test_predictions_rank_the_classes_and_equal_ones_keep_their_order() -> None:
    (prediction,) = TASK.decode(torch.tensor([[1.0, 2.0, 1.0]]), spec_of())
    assert [name for name, _ in prediction.ranked] == ["boot", "bag", "shirt"]
    assert sum(value for _, value in prediction.ranked) == pytest.approx(1)
    assert prediction.to_record(top=2) == {
        "predictions": [{"class": name, "probability": value} for name, value in prediction.ranked[:2]]
    }
    assert prediction.to_line() == f"boot {prediction.probability:.4f}"
    assert len(repr(prediction)) < 160


def test_a_prediction_shows_itself_in_a_notebook_and_escapes_its_names() -> None:
    (prediction,) = TASK.decode(torch.tensor([[1.0, 2.0]]), spec_of(("<script>", "b")))
    html = prediction._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
