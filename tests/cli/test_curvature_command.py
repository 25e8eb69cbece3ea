"""`twofold curvature` and `twofold claims`, as a user calls them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import twofold
from processes import CommandLine
from twofold.cli.main import main
from twofold.engine.options import Options
from twofold.study import claims

QUICK = ("lenet-bn", "--model-options", "width", "0.25", "--images", "40", "--steps", "4", "--every", "2")

pytestmark = pytest.mark.usefixtures("data_decompressed_once")


def test_curvature_prints_a_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "curvature.svg"
    assert main(["curvature", *QUICK, "--momentum", "0.5", "--figure", str(figure)]) == 0
    captured = capsys.readouterr()
    title = "lenet-bn width=0.25 on 40 images of fashion-mini, all at once, η = 0.05, momentum γ = 0.5"
    assert title in " ".join(captured.out.split())
    assert "60, which is 2(1 + γ)/η" in captured.out
    rows = [line.split() for line in captured.out.splitlines() if re.match(r" *\d+ ", line)]
    assert [int(row[0]) for row in rows] == [0, 2, 4]
    assert f"wrote {figure}" in captured.err
    assert figure.read_text(encoding="utf-8").startswith("<?xml")


def test_curvature_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]) -> None:
    run = twofold.train(
        twofold.Recipe(model="lenet-bn", model_options={"width": 0.25}, epochs=1, seed=1),
        out=tmp_path,
        name="run",
        options=Options(show=False),
    )
    assert main(["curvature", str(run.folder), "--images", "64", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["loss"] < 1.5
    assert record["accuracy"] > 0.5
    assert main(["curvature", str(run.folder), "--images", "64"]) == 0
    captured = capsys.readouterr()
    assert f"{record['largest']:.4g}" in captured.out
    assert f"below a learning rate of {2 / record['largest']:.3g}" in captured.err
    line = fails(["curvature", run.folder, "--lr", "0.1"])
    assert "--lr belongs to a training" in line
    line = fails(["curvature", run.folder, "--images", "100000"])
    assert "got 100000" in line


def test_a_diverged_training_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curvature", *QUICK, "--lr", "1e36", "--steps", "30"]) == 0
    assert "diverged after step 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["curvature", "lenet-nb"], "did you mean lenet-bn"),
        (["curvature", "runs/none"], "runs/none"),
        (["curvature", "--lr", "-1"], "lr must be greater than 0, got -1.0"),
        (["curvature", "--lr", "much"], "--lr takes a number, got 'much'"),
        (["curvature", "--momentum", "1"], "momentum must be less than 1, got 1.0"),
        (["curvature", "--steps", "0"], "steps must be 1 or more, got 0"),
        (["curvature", "--every", "0"], "every must be 1 or more, got 0"),
        (["curvature", "--images", "0"], "--images must be 1 or more, got 0"),
        (["curvature", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["curvature", "--batch-size", "257"], "batch_size must be 1 to num_images=256, got 257"),
        (["curvature", "--data", "fashion-minni"], "did you mean fashion-mini"),
        (["curvature", "--model-options", "widht", "1"], "did you mean width"),
        (["curvature", "--figure", "a.gif"], "--figure must end in .png, .svg, .pdf"),
        (["curvature", "--figure", "nowhere/a.png"], "there is no folder nowhere"),
        (["claims", "memori"], "did you mean memory"),
        (["claims", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["claims", "memory", "--figure", "a.png"], "--figure shows variance too"),
        (["claims", "--figure", "a.gif"], "--figure must end in .png, .svg, .pdf"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(arguments)


def test_claims_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "memory", "--json"]) == 0
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert len(records) == 7
    assert all(record["holds"] and record["claim"] == "memory" for record in records)
    assert "7 of 7 measurements agree with theory" in captured.err


def test_claims_print_a_table_draw_and_exit_with_1_on_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"BATCH_SIZES": (1, 2, 4), "_DRAWS": 12, "_PRECISION": 1e-2, "_STEPS": 150}.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr(claims.gradient_source, "__kwdefaults__", {"seed": 0, "num_images": 32})
    figure = tmp_path / "claims.png"
    assert main(["claims", "variance", "step-size", "memory", "--figure", str(figure)]) == 0
    captured = capsys.readouterr()
    for words in ("variance", "step-size", "memory", "✓"):
        assert words in captured.out
    assert "✗" not in captured.out
    assert figure.stat().st_size > 10_000
    monkeypatch.setattr(claims, "stable_lr", lambda largest, momentum, nesterov: 1 / largest)
    assert main(["claims", "step-size"]) == 1
    captured = capsys.readouterr()
    assert "✗" in captured.out
    assert "0 of 4 measurements agree" in captured.err


def test_json_in_a_process_agrees_and_ctrl_c_is_clean(
    tmp_path: Path, twofold_command: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "none.png"
    endless = [*QUICK[:-3], "100000", *QUICK[-2:], "--json"]
    process = twofold_command.start("curvature", *endless, "--figure", figure)
    assert process.stdout is not None
    records = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert not figure.exists()
    assert main(["curvature", *QUICK, "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == records
    assert [record["step"] for record in records] == [0, 2, 4]
    assert all(record["smallest"] < 0 < record["largest"] for record in records)
