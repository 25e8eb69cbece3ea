"""Epochs that are kept: every N-th, the K best, whatever chooses them, also through a kill and a resumption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import twofold
from twofold import Recipe, TwofoldError
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint
from twofold.records import EpochRecord, read_metrics

QUIET = Options(show=False)
EPOCHS = 5


def recipe_of(folder: Path, **settings: Any) -> Recipe:
    # A rate so high that the best epoch is not the last one.
    base: dict[str, Any] = {"optimizer": "sgd", "schedule": "constant", "lr": 0.05, "augment": "none", "seed": 1}
    base |= {"model": "lenet-bn", "image_size": 28, "val_fraction": 0.3, "epochs": EPOCHS, "batch_size": 16}
    return Recipe(data=str(folder), precision="float32", device="cpu", **(base | settings))


def epochs_of(run: Path) -> tuple[EpochRecord, ...]:
    return read_metrics(run / "metrics.jsonl", [])[1]


def kept(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of each file of kept weights."""
    paths = [*(run / "checkpoints").glob("epoch-*"), *(run / "checkpoints").glob("best-*")]
    return {path.name: load_checkpoint(path)[0] for path in paths}


def best_of(run: Path, num_epochs: int) -> list[int]:
    key = {line.epoch: (line.val["balanced_accuracy"], -line.val["loss"]) for line in epochs_of(run)}
    return sorted(key, key=lambda epoch: key[epoch], reverse=True)[:num_epochs]


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five epochs that keeps every second and the two best, with a state after each step."""
    options = Options(show=False, checkpoint_seconds=0, save_every=2, keep_best=2)
    recipe = recipe_of(image_folder, select_by="balanced_accuracy")
    return twofold.train(recipe, out=tmp_path_factory.mktemp("kept"), name="run", options=options).folder


def test_the_weights_of_any_kept_epoch_are_evaluated(run: Path, image_folder: Path) -> None:
    before = (run / "evaluation.json").read_bytes(), (run / "report.html").stat().st_mtime_ns
    own = json.loads(before[0])
    name = f"best-{best_of(run, 1)[0]:04d}"
    for epoch, stem in ((name, f"evaluation-{name}-clothes-val"), ("epoch-0002", "evaluation-epoch-0002-clothes-val")):
        weights = run / "checkpoints" / f"{epoch}.safetensors"
        metrics = twofold.evaluate(weights, options=QUIET)
        assert json.loads((run / f"{stem}.json").read_text()) == metrics
        assert (metrics["weights"], metrics["split"]) == (epoch, "val")
        if epoch == name:
            assert metrics["loss"] == own["loss"]
        other = twofold.evaluate(weights, data=str(image_folder), options=QUIET)
        assert other["num_images"] == 120
        assert (run / f"evaluation-{epoch}-clothes-all.json").is_file()
    assert ((run / "evaluation.json").read_bytes(), (run / "report.html").stat().st_mtime_ns) == before


def test_every_second_epoch_and_the_two_best_are_kept(run: Path) -> None:
    best = [f"best-{epoch:04d}.safetensors" for epoch in best_of(run, 2)]
    assert sorted(kept(run)) == sorted(["epoch-0002.safetensors", "epoch-0004.safetensors", *best])
    first = load_checkpoint(run / "checkpoints" / best[0])[0]
    expected = load_checkpoint(run / "checkpoints" / "best.safetensors")[0]
    assert all(torch.equal(first[name], expected[name]) for name in expected)
    log = (run / "log.txt").read_text()
    assert "weights of epoch 2: " in log
    assert f"({', '.join(map(str, best_of(run, 2)))})" in log


def test_kept_weights_are_used_like_the_best(run: Path, image_folder: Path) -> None:
    image = next((image_folder / "bag").iterdir())
    for name in kept(run):
        assert twofold.load(run / "checkpoints" / name).predict(image).to_record()["predictions"][0]["class"] in {
            "bag",
            "boot",
            "shirt",
        }


def test_what_is_kept_survives_a_kill(run: Path, image_folder: Path, tmp_path: Path) -> None:
    """Killed after its fourth epoch was kept, with the state of the step before: it goes on to the same files."""
    expected = kept(run)
    assert json.loads((run / "run.json").read_text())["save_every"] == 2
    recipe = recipe_of(image_folder, select_by="balanced_accuracy")
    options = Options(show=False, checkpoint_seconds=0, save_every=2, keep_best=2)
    killed = tmp_path / "killed"
    calls = 0

    def kill(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        from twofold.engine.checkpoints import Checkpoints

        patch.setattr(Checkpoints, "keep_of_best", kill)
        with pytest.raises(KeyboardInterrupt):
            twofold.train(recipe, out=tmp_path, name="killed", options=options)
    assert len(list((killed / "checkpoints").glob("best-*"))) > 2  # what was not yet removed
    assert twofold.resume(killed, options=QUIET).folder == killed
    ours = kept(killed)
    assert sorted(ours) == sorted(expected)
    for name, tensors in expected.items():
        assert all(torch.equal(ours[name][key], value) for key, value in tensors.items()), name


@pytest.mark.parametrize("metric", ["loss", "macro_f1"])
def test_any_metric_chooses_the_best_epoch(metric: str, image_folder: Path, tmp_path: Path) -> None:
    trained = twofold.train(recipe_of(image_folder, select_by=metric, epochs=3), out=tmp_path, options=QUIET)
    run, score = trained.folder, trained.score
    assert score is not None
    assert score[0] == ("accuracy" if metric == "loss" else "macro_f1")
    words = {"loss": " val accuracy 0.", "macro_f1": f" val macro_f1 {score[1]:.4f}, accuracy 0."}
    assert words[metric] in (run / "log.txt").read_text()
    values = {line.epoch: line.val[metric] for line in epochs_of(run)}
    best = (min if metric == "loss" else max)(values.values())
    record = json.loads((run / "run.json").read_text())
    assert values[record["best_epoch"]] == best
    assert record["best_metric"] == {"name": f"val_{metric}", "value": best}
    assert load_checkpoint(run / "checkpoints" / "best.safetensors")[1]["epoch"] == record["best_epoch"]


def test_patience_follows_what_chooses(image_folder: Path, tmp_path: Path) -> None:
    """With so high a rate the loss soon rises, and the first epoch with a higher one is the last."""
    recipe = recipe_of(image_folder, select_by="loss", lr=10.0, patience=1, epochs=20)
    run = twofold.train(recipe, out=tmp_path, options=QUIET).folder
    losses = [line.val["loss"] for line in epochs_of(run)]
    assert losses[-1] >= min(losses[:-1])
    assert losses[:-1] == sorted(losses[:-1], reverse=True)


def test_what_no_epoch_is_measured_by_cannot_choose(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="no epoch is measured by select_by='acuracy': did you mean accuracy"):
        recipe_of(image_folder, select_by="acuracy")
    with pytest.raises(TwofoldError, match="select_by='loss' needs validation images"):
        recipe_of(image_folder, select_by="loss", val_fraction=0.0)
    with pytest.raises(TwofoldError, match="select_by='mAP' is not measured of one class an image: known are"):
        twofold.train(recipe_of(image_folder, select_by="mAP"), out=tmp_path, options=QUIET)
    assert not list(tmp_path.iterdir()), "no folder is left of a run that never began"


def test_the_best_need_validation_images_and_numbers_are_counts(image_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(image_folder, val_fraction=0.0)
    with pytest.raises(TwofoldError, match="keep_best=3 needs validation images; set e.g. val_fraction=0.1"):
        twofold.train(recipe, out=tmp_path, options=Options(show=False, keep_best=3))
    assert not list(tmp_path.iterdir())
    with pytest.raises(TwofoldError, match="save_every must be 1 or more, got 0"):
        Options(save_every=0)
    with pytest.raises(TwofoldError, match="keep_best must be 1 or more, got 0"):
        Options(keep_best=0)
