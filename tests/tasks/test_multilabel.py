"""Several labels an image: the loss, mAP that merges, thresholds with the best F1, predictions, and a whole run."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_f1_score

import twofold
from run_records import metrics_but_speed
from twofold import Recipe
from twofold.augment.mix import MixUp, mix_labels, mix_shares
from twofold.cli.main import main
from twofold.data import MemoryImages
from twofold.data.spec import ModelSpec
from twofold.data.targets import LabelSetTargets
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint
from twofold.models.googlenet import AUXILIARY_WEIGHT
from twofold.report.read import read_run
from twofold.scratch.ranking import mean_average_precision
from twofold.tasks.multilabel import LabelMeter, MultiLabel, best_thresholds
from twofold.tasks.predictions import LabelPrediction

TASK = MultiLabel()
NAMES = ("bag", "boot", "shirt")
QUIET = Options(show=False)
CPU = torch.device("cpu")


def spec_of(names: tuple[str, ...] = NAMES, thresholds: tuple[float, ...] | None = None) -> ModelSpec:
    return ModelSpec(
        task="multilabel",
        channels=1,
        image_size=(4, 4),
        architecture="lenet",
        architecture_options={},
        class_names=names,
        mean=(0.5,),
        std=(0.5,),
        label_thresholds=thresholds,
    )


def drawn(n: int, seed: int, labels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, labels, generator=generator), torch.rand(n, labels, generator=generator) < 0.4


def feed(outputs: Tensor, truth: Tensor, indices: Tensor, *, detailed: bool = True) -> LabelMeter:
    meter = TASK.meter(spec_of(tuple(f"label {index}" for index in range(truth.shape[1]))), detailed=detailed)
    for part in indices.split(7) if len(indices) else ():
        meter.update(outputs[part], LabelSetTargets(truth[part]), part)
    return meter


def images_of(truth: Tensor) -> MemoryImages:
    return MemoryImages(torch.zeros(len(truth), 1, 4, 4, dtype=torch.uint8), LabelSetTargets(truth), "drawn")


# The loss


@pytest.mark.parametrize("form", ["fast", "scratch"])
def test_the_loss_is_the_mean_over_images_and_labels_with_auxiliary_heads(form: Any) -> None:
    logits, truth = drawn(5, 0)
    others = [drawn(5, seed)[0] for seed in (1, 2)]
    recipe = Recipe(label_smoothing=0.1, form=form)
    loss = TASK.loss(recipe, spec_of(), LabelSetTargets(truth), CPU)
    wanted = torch.where(truth, 0.95, 0.05)

    def plain(logits: Tensor) -> Tensor:
        probability = logits.double().sigmoid()
        return -(wanted * probability.log() + (1 - wanted) * (1 - probability).log()).mean()

    assert loss(logits, truth.float())["loss"].item() == pytest.approx(plain(logits).item(), rel=1e-5)
    total = plain(logits) + AUXILIARY_WEIGHT * sum(plain(other) for other in others)
    assert loss((logits, *others), truth.float())["loss"].item() == pytest.approx(total.item(), rel=1e-5)


def test_mixed_images_have_a_share_of_both_sets_of_labels() -> None:
    _, truth = drawn(6, 0)
    data = images_of(truth)
    recipe = Recipe(mix="mixup", augment="none", seed=5)
    batch = torch.tensor([4, 1, 3]), data.load(torch.tensor([4, 1, 3]))
    _, targets = TASK.preparation(recipe, spec_of(), data.targets, CPU)(batch, 2)
    share = MixUp().draw(seed=5, epoch=2, indices=batch[0]).share[:, None]
    own = truth[batch[0]].float()
    assert torch.allclose(targets, share * own + (1 - share) * own[[2, 0, 1]])
    # One label an image is the case that classification knows.
    labels = torch.tensor([2, 0, 1])
    params = MixUp().draw(seed=0, epoch=0, indices=labels)
    assert torch.equal(mix_shares(nn.functional.one_hot(labels, 3).float(), params), mix_labels(labels, 3, params))


# The meter


@given(n=st.integers(1, 60), cut=st.floats(0, 1), seed=st.integers(0, 99), detailed=st.booleans())
def test_meters_of_parts_merge_to_the_meter_of_the_whole(n: int, cut: float, seed: int, detailed: bool) -> None:
    outputs, truth = drawn(n, seed)
    whole = feed(outputs, truth, torch.arange(n), detailed=detailed)
    first, second = (
        feed(outputs, truth, part, detailed=detailed) for part in torch.arange(n).tensor_split([round(cut * n)])
    )
    second.merge(first)
    assert second.summary() == whole.summary()
    assert second.examples() == whole.examples()
    assert second.compute(images_of(truth)).to_json() == whole.compute(images_of(truth)).to_json()


@given(n=st.integers(1, 40), seed=st.integers(0, 99), labels=st.integers(1, 4), ties=st.booleans())
def test_its_map_is_that_of_the_form_to_read(n: int, seed: int, labels: int, ties: bool) -> None:
    outputs, truth = drawn(n, seed, labels)
    outputs = outputs.round() if ties else outputs
    mean = mean_average_precision(outputs.double(), truth)
    assert feed(outputs, truth, torch.arange(n)).summary()["mAP"] == pytest.approx(float(mean), abs=1e-6)


@given(n=st.integers(1, 30), seed=st.integers(0, 99), ties=st.booleans())
def test_its_macro_f1_is_that_of_the_best_threshold_of_each_label(n: int, seed: int, ties: bool) -> None:
    outputs, truth = drawn(n, seed)
    truth[:, 2] &= seed % 3 == 0
    meter = feed(outputs.round() if ties else outputs, truth, torch.arange(n))
    probabilities, _ = meter.table()
    best = []
    for values, has in zip(probabilities.T, truth.T, strict=True):
        scores = [
            2 * int((has & (values >= cut)).sum()) / (int(has.sum()) + int((values >= cut).sum())) for cut in values
        ]
        best += [max(scores)] if bool(has.any()) else []
    wanted = sum(best) / max(1, len(best))
    assert meter.summary()["macro_f1"] == pytest.approx(wanted, abs=1e-6)
    # It is what an evaluation of these images says with the thresholds that would be kept.
    kept = TASK.meter(TASK.calibrate(meter, spec_of()), detailed=True)
    kept.update(outputs.round() if ties else outputs, LabelSetTargets(truth), torch.arange(n))
    assert kept.compute(images_of(truth)).metrics["macro_f1"] == pytest.approx(wanted, abs=1e-6)


def test_logits_that_saturate_float32_keep_their_order() -> None:
    outputs, truth = torch.tensor([[30.0], [31.0], [32.0]]), torch.tensor([[False], [False], [True]])
    assert feed(outputs, truth, torch.arange(3)).summary()["mAP"] == 1.0


def test_labels_that_no_image_has_take_no_part() -> None:
    outputs, truth = drawn(20, 0)
    truth[:, 1] = False
    meter = feed(outputs, truth, torch.arange(20))
    both = feed(outputs[:, [0, 2]], truth[:, [0, 2]], torch.arange(20))
    assert meter.summary()["mAP"] == both.summary()["mAP"]
    score = meter.compute(images_of(truth)).labels[1]
    assert (score.count, score.average_precision, score.recall, score.f1) == (0, None, None, None)
    assert TASK.calibrate(meter, spec_of()).label_thresholds[1] == 0.5  # type: ignore[index]
    truth[:] = False
    assert feed(outputs, truth, torch.arange(20)).summary()["mAP"] == 0.0


def test_an_evaluation_counts_at_the_thresholds_of_the_spec() -> None:
    probabilities = torch.tensor([[0.9, 0.2, 0.1], [0.6, 0.4, 0.1], [0.2, 0.35, 0.1]])
    truth = torch.tensor([[True, False, False], [False, True, False], [False, True, False]])
    meter = TASK.meter(spec_of(thresholds=(0.7, 0.3, 0.5)), detailed=True)
    meter.update(probabilities.logit(), LabelSetTargets(truth), torch.arange(3))
    right = meter.compute(images_of(truth))
    assert right.metrics == {"mAP": 1.0, "micro_f1": 1.0, "macro_f1": 1.0, "subset_accuracy": 1.0}
    assert right.mistakes == ()
    meter = TASK.meter(spec_of(), detailed=True)
    meter.update(probabilities.logit(), LabelSetTargets(truth), torch.arange(3))
    half = meter.compute(images_of(truth), ["mistakes/000.png", "mistakes/001.png"])
    assert half.metrics == pytest.approx({"mAP": 1.0, "micro_f1": 0.4, "macro_f1": 1 / 3, "subset_accuracy": 1 / 3})
    first, second = half.mistakes
    # 0.65 away from the truth is worse than 0.6; of an image the worst alone is shown.
    assert (first.index, first.label, first.predicted, first.true) == (2, "boot", False, ("boot",))
    assert (second.index, second.label, second.predicted, second.image) == (1, "bag", True, "mistakes/001.png")
    assert [(label.count, label.threshold) for label in half.labels] == [(1, 0.5), (2, 0.5), (0, 0.5)]


def test_pairs_are_counted_and_whether_both_are_found() -> None:
    truth = torch.tensor([[True, True, False]] * 3 + [[True, False, True]])
    probabilities = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.3, 0.2], [0.9, 0.9, 0.9], [0.1, 0.2, 0.9]])
    meter = TASK.meter(spec_of(), detailed=True)
    meter.update(probabilities.logit(), LabelSetTargets(truth), torch.arange(4))
    pairs = meter.compute(images_of(truth)).pairs
    assert [(pair.first, pair.second, pair.count, pair.found) for pair in pairs] == [
        ("bag", "boot", 3, 2),
        ("bag", "shirt", 1, 0),
    ]


# Thresholds


@given(n=st.integers(1, 25), seed=st.integers(0, 99), ties=st.booleans())
def test_no_other_threshold_has_a_better_f1(n: int, seed: int, ties: bool) -> None:
    outputs, truth = drawn(n, seed, 1)
    probabilities = (outputs.round() if ties else outputs).double().sigmoid()
    truth[0] = True
    (threshold,) = best_thresholds(probabilities, truth)
    assert 0 < threshold < 1

    def f1(threshold: float) -> float:
        return float(binary_f1_score((probabilities[:, 0] >= threshold).long(), truth[:, 0].long()))

    assert f1(threshold) >= max(map(f1, probabilities[:, 0].tolist())) - 1e-6
    assert probabilities[:, 0].sub(threshold).abs().min() > 0, "it lies between two probabilities"


def test_thresholds_are_one_a_label_and_shares() -> None:
    with pytest.raises(ValueError, match=r"label_thresholds must be one a class \(3\), got 2"):
        spec_of(thresholds=(0.5, 0.5))
    with pytest.raises(ValueError, match="less than or equal to 1"):
        spec_of(thresholds=(0.5, 0.5, 1.5))
    old = json.loads(spec_of().to_json())
    del old["label_thresholds"]
    assert ModelSpec.from_json(json.dumps(old)).label_thresholds is None


# Predictions


def decoded(probabilities: list[float], thresholds: tuple[float, ...] | None = None) -> LabelPrediction:
    (prediction,) = TASK.decode(torch.tensor([probabilities]).logit(), spec_of(thresholds=thresholds))
    assert isinstance(prediction, LabelPrediction)
    return prediction


def test_a_prediction_has_the_labels_above_their_thresholds() -> None:
    prediction = decoded([0.6, 0.9, 0.3], thresholds=(0.7, 0.5, 0.2))
    assert list(prediction.labels) == ["boot", "shirt"]
    assert prediction.labels["boot"] == pytest.approx(0.9)
    assert list(decoded([0.6, 0.9, 0.3]).labels) == ["boot", "bag"]
    assert prediction.to_line() == "boot 0.9000\tshirt 0.3000"
    assert prediction.to_line(top=2) == "boot 0.9000\tshirt 0.3000\t(bag 0.6000)"
    assert repr(prediction) == "Prediction(boot 0.900, shirt 0.300; of 3 labels)"
    record = prediction.to_record(top=2)
    assert [entry["label"] for entry in record["labels"]] == ["boot", "shirt"]
    assert [entry["class"] for entry in record["predictions"]] == ["boot", "bag"]
    assert prediction._repr_html_().count("<tr") == 3


def test_no_label_is_said_in_words() -> None:
    prediction = decoded([0.1, 0.2, 0.3])
    assert prediction.labels == {}
    assert prediction.to_line() == "no label"
    assert repr(prediction) == "Prediction(no label; of 3 labels)"
    assert prediction.to_record()["labels"] == []
    assert prediction.answers == ("shirt",)


# Whole runs


def recipe_of(folder: Path, **settings: Any) -> Recipe:
    base = {"model": "lenet-bn", "image_size": 28, "val_fraction": 0.25, "epochs": 6, "batch_size": 16, "lr": 0.01}
    return Recipe(data=f"multilabel:{folder}", precision="float32", **(base | settings))


@pytest.fixture(scope="module")
def run(outfits: Path, tmp_path_factory: pytest.TempPathFactory) -> twofold.api.Run:  # type: ignore[name-defined]
    return twofold.train(recipe_of(outfits), out=tmp_path_factory.mktemp("runs"), name="run", options=QUIET)


def test_it_learns_to_find_labels(run: Any, outfits: Path) -> None:
    assert run.score[0] == "mAP"
    assert run.score[1] > 0.9, "images in a random order have 0.5"
    assert run.accuracy is None
    assert "mAP 0.9" in repr(run) or "mAP 1.0" in repr(run)
    model = run.load()
    right = 0
    for image in sorted((outfits.parent / "originals").iterdir())[:30]:
        found = set(model.predict(image).labels)
        right += found == {name for name in NAMES if (outfits / name / image.name).exists()}
    assert right >= 20, "one set of labels out of eight is right by chance"


def test_epochs_have_macro_f1_and_can_be_chosen_by_it(run: Any) -> None:
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    scores = [line["val_macro_f1"] for line in lines if "val_macro_f1" in line]
    assert len(scores) == 6
    assert all(0 <= score <= 1 for score in scores)
    assert scores[-1] > scores[0]
    assert TASK.metric("macro_f1").improves({"macro_f1": 0.5}, {"macro_f1": 0.4})


def test_thresholds_travel_with_the_weights_and_the_run_names_them(run: Any) -> None:
    _, record = load_checkpoint(run.folder / "checkpoints" / "best.safetensors")
    thresholds = record["spec"]["label_thresholds"]
    loaded = run.load()
    assert loaded.thresholds == dict(zip(loaded.class_names, thresholds, strict=True))
    assert len(thresholds) == 3
    assert json.loads((run.folder / "spec.json").read_text())["label_thresholds"] == thresholds
    assert [label["threshold"] for label in json.loads((run.folder / "evaluation.json").read_text())["labels"]] == (
        thresholds
    )


class Killed(BaseException):
    """The process ends here."""


def test_killed_and_resumed_it_ends_with_the_same_bits(
    run: Any, outfits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.count()
    step = twofold.engine.loop.train_step  # type: ignore[attr-defined]

    def die(*arguments: Any, **named: Any) -> Any:
        if next(steps) == 13:
            raise Killed
        return step(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr("twofold.engine.loop.train_step", die)
        with pytest.raises(Killed):
            every_step = Options(show=False, checkpoint_seconds=0)
            twofold.train(recipe_of(outfits), out=tmp_path, name="run", options=every_step)
    twofold.resume(tmp_path / "run", options=QUIET)
    for name in ("last", "best"):
        ours, theirs = (
            load_checkpoint(folder / "checkpoints" / f"{name}.safetensors") for folder in (tmp_path / "run", run.folder)
        )
        assert all(torch.equal(ours[0][key], theirs[0][key]) for key in theirs[0]), name
        assert ours[1].get("spec") == theirs[1].get("spec")
    assert metrics_but_speed(tmp_path / "run") == metrics_but_speed(run.folder)
    assert (tmp_path / "run" / "spec.json").read_text() == (run.folder / "spec.json").read_text()


def test_the_form_to_read_trains_the_same_network(outfits: Path, tmp_path: Path) -> None:
    settings = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "label_smoothing": 0.1, "mix": "mixup"}
    losses = []
    for form in ("fast", "scratch"):
        done = twofold.train(recipe_of(outfits, form=form, **settings), out=tmp_path, name=form, options=QUIET)
        losses.append([line["loss"] for line in metrics_but_speed(done.folder) if line["kind"] == "step"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_verbs_speak_of_labels(run: Any, outfits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(outfits / "bag" / "003.png")
    assert main(["predict", str(run.folder), image, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"]
    assert main(["eval", str(run.folder), "--data", str(outfits), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "mAP" in printed
    assert "threshold" in printed
    assert "shirt" in printed
    for name, what in (("image", [image]), ("channel", ["--data", str(outfits), "--channel", "features.3:0"])):
        figure = tmp_path / f"{name}.png"
        assert main(["explain", str(run.folder), *what, "--figure", str(figure)]) == 0
        assert figure.is_file()
    search = ["lr-find", "lenet-bn", "--batch-size", "16", "--steps", "60", "--image-size", "28"]
    assert main([*search, "--data", f"multilabel:{outfits}"]) == 0


def test_fine_tuning_takes_labels(run: Any, outfits: Path, tmp_path: Path) -> None:
    tuned = twofold.finetune(
        run.folder, data=f"multilabel:{outfits}", epochs=1, val_fraction=0.25, out=tmp_path, options=QUIET
    )
    assert tuned.score is not None
    assert tuned.score[1] > 0.7
    assert tuned.load().spec.task == "multilabel"


def test_what_compares_accuracy_refuses_by_name(outfits: Path, tmp_path: Path, fails: Any) -> None:
    arguments = [
        "race",
        "--optimizer",
        "sgd",
        "adam",
        "--data",
        f"multilabel:{outfits}",
        "--image-size",
        "28",
        "--out",
        tmp_path,
    ]
    assert "a race compares accuracy, for images with one class each" in fails(arguments)


def test_the_report_says_what_was_found(run: Any) -> None:
    files = read_run(run.folder)
    assert files.problems == ()
    section = files.section_of(files.evaluation)
    assert section.headline is not None
    assert section.headline.value == run.score[1]
    assert [chapter.name for chapter in section.chapters] == ["Labels", "Together", "Mistakes", "Calibration"]
    assert "the thresholds were chosen on these images too, which flatters F1" in section.remarks
    page = (run.folder / "report.html").read_text()
    for words in ("mean average precision over the labels of 30 validation images", "Threshold", "bag + boot"):
        assert words in page
    assert files.section_of(files.evaluation_type()).headline is None


def test_what_only_predictions_of_one_class_have_is_answered_with_what_there_is() -> None:
    prediction = decoded([0.9, 0.2, 0.7])
    with pytest.raises(AttributeError, match="'LabelPrediction' object has no attribute 'class_name'; .* labels, "):
        _ = prediction.class_name  # type: ignore[attr-defined]
    assert copy.deepcopy(prediction) == prediction
