"""What is left of a run that ended between its training and its report, and how it is completed."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import twofold
import twofold.api
import twofold.engine.build
import twofold.engine.session
import twofold.inference.hardware
from interrupts import interrupt_in
from run_records import metrics_but_speed
from small_predictors import images, run
from twofold.cli.main import main
from twofold.engine.options import Options

__all__ = ["images", "run"]
QUIET = Options(show=False)


@pytest.fixture
def finished(run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def ended_before_its_evaluation(folder: Path, *, status: str) -> dict[str, Any]:
    """Leave the folder as a kill after the last epoch does; return what the evaluation was."""
    before = read(folder, "evaluation.json")
    (folder / "evaluation.json").unlink()
    (folder / "report.html").unlink()
    (folder / "run.json").write_text(json.dumps(read(folder, "run.json") | {"status": status}))
    return before


@pytest.mark.parametrize("status", ["finished", "stopped-early", "running"])
def test_a_run_killed_after_its_last_epoch_gets_its_evaluation_and_its_report(finished: Path, status: str) -> None:
    metrics = metrics_but_speed(finished)
    before = ended_before_its_evaluation(finished, status=status)
    resumed = twofold.resume(finished, options=QUIET)
    assert resumed.metrics == before
    assert read(finished, "evaluation.json") == before
    assert f"{before['accuracy']:.1%}"[:4] in resumed.report.read_text()
    assert metrics_but_speed(finished) == metrics  # nothing was trained anew
    assert read(finished, "run.json")["status"] == ("finished" if status == "running" else status)
    with pytest.raises(twofold.TwofoldError, match="nothing to resume"):
        twofold.resume(finished, options=QUIET)


def test_where_the_report_alone_is_missing_it_is_written(finished: Path) -> None:
    (finished / "report.html").unlink()
    before = (finished / "evaluation.json").stat().st_mtime_ns
    assert twofold.resume(finished, options=QUIET).report.is_file()
    assert (finished / "evaluation.json").stat().st_mtime_ns == before


def train(run: Path, out: Path, name: str) -> int:
    return main(["train", "--recipe", str(run / "recipe.json"), "--out", str(out), "--name", name])


@pytest.mark.parametrize(
    ("module", "function", "call", "status"),
    [
        (twofold.engine.session.Session, "after_epoch", 1, "interrupted"),  # at the end of the only epoch
        (twofold.engine.session.Session, "finish", 1, "interrupted"),
        (twofold.api, "evaluate_images", 1, "finished"),
    ],
)
def test_interrupted_after_its_last_step_it_says_how_to_complete_it(
    run: Path, tmp_path: Path, module: Any, function: str, call: int, status: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        interrupt_in(patch, module, function, call=call)
        assert train(run, tmp_path, "run") == 128 + signal.SIGINT
    errors = capsys.readouterr().err
    folder = tmp_path / "run"
    assert errors.splitlines()[-1].endswith(f"go on with: twofold train --resume {folder}")
    assert "Traceback" not in errors
    assert read(folder, "run.json")["status"] == status
    assert not (folder / "evaluation.json").exists()
    assert main(["train", "--resume", str(folder)]) == 0
    assert metrics_but_speed(folder) == metrics_but_speed(run)
    ours, theirs = read(folder, "evaluation.json"), read(run, "evaluation.json")
    assert ours["accuracy"] == theirs["accuracy"]


def test_interrupted_before_its_first_step_it_leaves_no_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_in(monkeypatch, twofold.engine.loop, "build_training")
    assert train(run, tmp_path, "run") == 128 + signal.SIGINT
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_said_to_be_so_first_with_the_way_to_train_longer(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(twofold.TwofoldError) as caught:
        twofold.resume(finished)
    recipe = finished / "recipe.json"
    assert f"twofold.train(twofold.Recipe.load({str(recipe)!r}).override(epochs=N))" in str(caught.value)
    assert twofold.Recipe.load(str(recipe)).override(epochs=3).epochs == 3
    assert main(["train", "--resume", str(finished)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {finished} is finished after ")


def test_where_images_cannot_be_had_nothing_is_measured_and_no_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_arguments: object, **_options: object) -> None:
        raise twofold.RunError("cannot download cifar10")

    monkeypatch.setattr(twofold.engine.build, "load_data", offline)
    monkeypatch.setattr(twofold.inference.hardware, "bfloat16_speedup", offline)
    recipe = twofold.Recipe(data="cifar10")
    with pytest.raises(twofold.RunError, match="cannot download cifar10"):
        twofold.train(recipe, out=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""
    missing = next(name for name in ("mps", "cuda") if not getattr(torch, name).is_available())
    with pytest.raises(twofold.TwofoldError, match="is not available on this machine"):
        twofold.train(recipe.override(device=missing), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_weights_is_no_folder_to_write_an_evaluation_into(
    finished: Path, images: Path, tmp_path: Path
) -> None:
    alone = shutil.copy(finished / "checkpoints" / "best.safetensors", tmp_path)
    for data in (None, str(images)):
        with pytest.raises(twofold.TwofoldError, match=r"best.safetensors is a file, and what is measured is written"):
            twofold.evaluate(alone, data=data, options=QUIET)
