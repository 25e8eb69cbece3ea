"""`twofold bench`: every form answers the same, and what is not here is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import twofold
from small_predictors import images, run
from twofold.cli.main import main
from twofold.engine.options import Options
from twofold.errors import RunError
from twofold.study.forms import study_forms

__all__ = ["images", "run"]
QUIET = Options(show=False)


def test_forms_are_measured_by_turns_and_are_as_accurate(run: Path) -> None:
    study = study_forms(run, forms=("torch", "onnx"), batches=(1, 4), seconds=0.05, options=QUIET)
    torch_form, onnx_form = study.forms
    assert (torch_form.form, onnx_form.form) == ("torch", "onnx")
    for form in study.forms:
        assert form.milliseconds is not None
        assert 0 < form.milliseconds[0] <= form.milliseconds[1]
        assert set(form.throughput) == {1, 4}
        assert form.throughput[1] == pytest.approx(1000 / form.milliseconds[0])
        assert form.megabytes is not None
        assert form.megabytes > 0
    assert torch_form.accuracy == onnx_form.accuracy
    assert (study.metric, study.num_images) == ("accuracy", 12)
    assert [start.what for start in study.starts] == ["a run", "an exported file"]
    # An exported file needs no torch, in time or in memory.
    assert 2 * study.starts[1].megabytes < study.starts[0].megabytes


def test_a_file_has_one_form_and_weights_alone_no_images(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    shutil.copy(run / "checkpoints/best.safetensors", weights)
    study = study_forms(weights, forms=("onnx", "onnx-int8"), batches=(1,), seconds=0.05, options=QUIET)
    assert study.forms[0].accuracy is None
    assert study.forms[1].not_here == "it needs images to calibrate with: give some with --data"
    with pytest.raises(RunError, match="needs images to calibrate with"):
        study_forms(weights, forms=("onnx-int8",), batches=(1,), seconds=0.05, options=QUIET)
    file = twofold.export(weights, tmp_path / "net.onnx", options=QUIET).file
    alone = study_forms(file, batches=(2,), seconds=0.05, options=QUIET)
    assert [form.form for form in alone.forms] == ["onnx"]
    assert set(alone.forms[0].throughput) == {2}


def test_as_json_and_wrong_use(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(run), "--forms", "onnx", "--batch-size", "1", "--seconds", "0.05", "--quiet"]
    assert main([*words, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[0]["form"] == "onnx"
    assert records[0]["metric"] == "accuracy"
    assert {record["what"] for record in records[1:]} == {"a run", "an exported file"}
    assert main([*words[:4], "--batch-size", "0"]) == 2
    assert "--batch-size takes whole numbers from 1 on" in capsys.readouterr().err
