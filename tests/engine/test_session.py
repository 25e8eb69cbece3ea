"""The book-keeping of a run: which epoch is best, what is read when, what a resumed run says of its precision."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import twofold
from run_records import metrics_but_speed
from twofold import Recipe, RunError
from twofold.engine import session
from twofold.engine.options import Options

QUIET = Options(show=False)


def recipe_on(folder: Path, **settings: Any) -> Recipe:
    common = {"model": "lenet-bn", "image_size": 28, "batch_size": 16, "epochs": 3, "device": "cpu"}
    return Recipe(data=str(folder), **(common | {"precision": "float32"} | settings))


def epochs_of(run: twofold.Run) -> list[dict[str, Any]]:
    return [entry for entry in metrics_but_speed(run.folder) if entry["kind"] == "epoch"]


def test_between_epochs_of_equal_accuracy_the_lower_loss_is_kept(image_folder: Path, tmp_path: Path) -> None:
    """Nine validation images give few different accuracies: the first of the best would be the worst trained."""
    recipe = recipe_on(image_folder, epochs=8, val_fraction=0.075, optimizer="sgd", lr=0.01)
    run = twofold.train(recipe, out=tmp_path, name="run", options=QUIET)
    epochs = epochs_of(run)
    highest = max(entry["val_accuracy"] for entry in epochs)
    equal = [entry for entry in epochs if entry["val_accuracy"] == highest]
    assert len(equal) > 1, "the test needs epochs that are equal"
    best = min(equal, key=lambda entry: entry["val_loss"])
    assert best is not equal[0]
    record = json.loads((run.folder / "run.json").read_text())
    assert record["best_epoch"] == best["epoch"]
    assert record["best_metric"] == {"name": "val_accuracy", "value": highest}


def test_patience_counts_a_lower_loss_as_better(image_folder: Path, tmp_path: Path) -> None:
    """A constant accuracy with a falling loss is progress; without it the run stops."""
    common = {"val_fraction": 0.075, "optimizer": "sgd", "patience": 2, "epochs": 12, "schedule": "constant"}
    run = twofold.train(recipe_on(image_folder, lr=0.01, **common), out=tmp_path, name="run", options=QUIET)
    epochs = epochs_of(run)
    best, since = {"val_accuracy": -1.0, "val_loss": 0.0}, 0
    for entry in epochs[:-1]:
        better = (entry["val_accuracy"], -entry["val_loss"]) > (best["val_accuracy"], -best["val_loss"])
        best, since = (entry, 0) if better else (best, since + 1)
        assert since < 2
    assert any(
        later["val_accuracy"] == earlier["val_accuracy"] and later["val_loss"] < earlier["val_loss"]
        for earlier, later in itertools.pairwise(epochs)
    )


def test_what_is_read_late_is_the_same(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the losses of many steps are read together; the metrics are those of reading each at once."""
    recipe = recipe_on(image_folder, epochs=60, augment="none", model="lenet")
    at_once = twofold.train(recipe, out=tmp_path, name="at-once", options=QUIET)
    monkeypatch.setitem(session._READ_EVERY_SECONDS, "cpu", 1e9)
    late = twofold.train(recipe, out=tmp_path, name="late", options=QUIET)
    assert metrics_but_speed(late.folder) == metrics_but_speed(at_once.folder)


@pytest.mark.parametrize("read_every", [0.0, 1e9])
def test_a_loss_that_is_not_finite_names_its_step_however_late_it_is_read(
    read_every: float, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(session._READ_EVERY_SECONDS, "cpu", read_every)
    recipe = recipe_on(image_folder, model="lenet", optimizer="sgd", lr=1e30, schedule="constant", augment="none")
    with pytest.raises(RunError, match=r"the loss became (nan|inf) at step [234] \(epoch 0\.\d\d\)") as raised:
        twofold.train(recipe, out=tmp_path, name="run", options=QUIET)
    assert "learning rate 1e+30 is too high" in str(raised.value)
    assert not (tmp_path / "run" / "checkpoints" / "best.safetensors").exists()


def test_a_resumed_run_keeps_its_precision_and_says_so(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A precision that was picked by timing is not picked anew: the bits would be others."""
    from twofold.inference import hardware

    monkeypatch.setattr(hardware, "_bfloat16_pays", lambda device: (True, "measured for this test"))
    recipe = recipe_on(image_folder, precision="auto", epochs=2)
    run = twofold.train(recipe, out=tmp_path, name="run", options=QUIET)
    record = run.folder / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "interrupted"}))
    monkeypatch.setattr(hardware, "_bfloat16_pays", lambda device: (False, "measured anew"))
    twofold.resume(run.folder, options=QUIET)
    said = [
        line.partition(" ")[2] for line in (run.folder / "log.txt").read_text().splitlines() if "computing on" in line
    ]
    assert said[0].endswith("in bfloat16: measured for this test")
    assert said[1].endswith("in bfloat16: as this run began")
