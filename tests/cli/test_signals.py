"""Ctrl-C in any verb that takes its time: one line, the exit code of a shell, nothing half written."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path

import pytest

from interrupts import interrupt_in
from twofold.cli.main import main
from twofold.records import has_state

CASES = {
    "lr-find": (["lr-find", "lenet-bn", "--steps", "30"], "twofold.study.lr_find.train_step", 3, "stopped"),
    "claims": (["claims", "memory"], "twofold.study.claims.measure_memory", 2, "stopped"),
    "curvature": (["curvature", "--steps", "4", "--images", "32"], "twofold.study.curvature.train_step", 2, "stopped"),
    "predict": (["predict", "{run}", "{images}"], "twofold.inference.predictor.Predictor.prepare", 5, "stopped"),
    "eval": (["eval", "{run}"], "twofold.inference.evaluate.measure", 1, "stopped"),
    "data check": (["data", "check", "{images}"], "twofold.data.inspection._look", 9, "stopped"),
    "data pack": (
        *(["data", "pack", "{images}", "--out", "{here}/packed"], "twofold.data.sources.pack._encode", 9),
        "stopped; the finished shards are kept: run the same command again to go on",
    ),
    "a download": (
        *(["train", "lenet-bn", "--data", "mnist", "--out", "{here}"], "twofold.data.download._receive", 1, "stopped"),
    ),
    "race": (
        *(["race", "--optimizer", "sgd", "--trials", "2", "--out", "{here}", "--name", "my race"],),
        *("twofold.study.training.train_step", 5),
        "stopped; finished trials and runs are kept; go on with: twofold race --resume '{here}/my race'",
    ),
}


@pytest.mark.parametrize("during", ["engine.loop.train_step", "api.write_report", "api.evaluate_images"])
def test_two_that_come_together_are_one_and_the_state_is_saved(
    during: str, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second one, and a third: within the same step, while the report is written, or in the evaluation."""
    module, _, function = f"twofold.{during}".rpartition(".")
    if during != "api.evaluate_images":
        interrupt_in(monkeypatch, importlib.import_module("twofold.engine.loop"), "train_step", call=2)
    for _ in range(2):
        interrupt_in(monkeypatch, importlib.import_module(module), function, call=2 if "step" in during else 1)
    words = ["train", "lenet-bn", "--data", image_folder, "--image-size", "28", "--epochs", "1", "--quiet"]
    assert main([*map(str, words), "--out", str(tmp_path), "--name", "run"]) == 128 + signal.SIGINT
    *_, last = capfd.readouterr().err.splitlines()
    assert last.endswith(f"; go on with: twofold train --resume {tmp_path}/run")
    assert "without saving" not in last
    assert has_state(tmp_path / "run")


# An interrupt can come between the opening of a file and the line that takes it; Python closes it then, with a warning.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("name", CASES)
def test_interrupted_it_says_so_in_one_line(
    name: str, run: Path, images: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words, target, call, says = CASES[name]
    places = {"run": run, "images": images, "here": tmp_path}
    path, _, function = target.rpartition(".")
    try:
        owner = importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, class_name = path.rpartition(".")
        owner = getattr(importlib.import_module(module), class_name)
    interrupt_in(monkeypatch, owner, function, call=call)
    assert main([word.format(**places) for word in words]) == 128 + signal.SIGINT
    seen = capfd.readouterr()
    *_, last = seen.err.splitlines()
    assert last == says.format(**places)
    assert seen.err.count("stopped") == 1
    assert "Traceback" not in seen.err + seen.out
    assert [file for file in tmp_path.rglob("*") if file.suffix == ".tmp"] == []
