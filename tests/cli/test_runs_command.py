"""`twofold runs`: any metric sorts, and scripts get columns whose names stay."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twofold import Recipe
from twofold.cli.main import main
from twofold.cli.runs import COLUMNS


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs, as training leaves them: an accurate one, a fair one, and one that was not evaluated."""
    measured = {
        "accurate": {"accuracy": 0.98, "balanced_accuracy": 0.5, "macro_f1": 0.4, "loss": 0.2},
        "fair": {"accuracy": 0.91, "balanced_accuracy": 0.9, "macro_f1": 0.8, "loss": 0.1},
        "young": None,
    }
    for name, values in measured.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        recipe = Recipe(seed=len(name), class_weights={"a": 1, "b": 2} if name == "fair" else "none")
        (folder / "recipe.json").write_text(recipe.to_json())
        (folder / "run.json").write_text(json.dumps({"status": "finished", "best_epoch": 2, "epochs_done": 2}))
        if values is not None:
            (folder / "evaluation.json").write_text(json.dumps({"split": "test", "num_images": 9} | values))
            lines = [
                {"kind": "epoch", "epoch": epoch, "step": epoch}
                | {f"val_{key}": value + epoch / 100 for key, value in values.items()}
                for epoch in (1, 2)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("accuracy", ["accurate", "fair", "young"]),
        ("val", ["accurate", "fair", "young"]),
        ("macro_f1", ["fair", "accurate", "young"]),
        ("val_balanced_accuracy", ["fair", "accurate", "young"]),
        ("loss", ["fair", "accurate", "young"]),
        ("val_loss", ["fair", "accurate", "young"]),
        ("name", ["accurate", "fair", "young"]),
        ("score", ["accurate", "fair", "young"]),
        ("recipe.seed", ["fair", "young", "accurate"]),
        ("recipe.class_weights", ["accurate", "young", "fair"]),
    ],
)
def test_any_metric_sorts(by: str, order: list[str], runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--sort", by, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["run"] for row in rows] == order
    assert main(["runs", str(runs), "--sort", by]) == 0
    table = capsys.readouterr().out
    assert sorted(order, key=lambda name: table.index(f"  {name}\n")) == order
    if by in ("macro_f1", "loss"):
        assert table.splitlines()[0].split()[:3] == [by, "on", "val"]
        assert table.splitlines()[1].split()[:3] == ["0.8000" if by == "macro_f1" else "0.1000", "test"] + (
            ["0.8200"] if by == "macro_f1" else ["0.1200"]
        )


def test_json_and_csv_have_every_column_in_every_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(COLUMNS) | {"recipe"} <= set(row) for row in objects)
    assert objects[0]["val_accuracy"] == pytest.approx(1.0)
    assert main(["runs", str(runs), "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["run"] for row in rows] == ["accurate", "fair", "young"]
    settings = {f"recipe.{name}" for name in Recipe.model_fields}
    assert all(set(COLUMNS) | settings == set(row) for row in rows)
    assert (rows[0]["macro_f1"], rows[2]["macro_f1"]) == ("0.4", "")
    assert json.loads(rows[1]["recipe.class_weights"]) == {"a": 1.0, "b": 2.0}
    assert (rows[0]["recipe.class_weights"], rows[0]["recipe.compile"]) == ("none", "false")


def test_the_names_of_the_columns_are_those_of_this_list() -> None:
    """A snapshot: scripts read them."""
    metrics: list[Any] = ["accuracy", "balanced_accuracy", "macro_f1", "loss", "mAP", "AP", "AP50"]
    assert list(COLUMNS) == [
        *("run", "status", "model", "data", "split", *metrics, *(f"val_{name}" for name in metrics)),
        *("best_epoch", "epochs", "train_seconds", "parameters", "started"),
    ]


def test_a_run_that_was_killed_has_died_and_one_that_goes_is_running(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, status in {"fair": "running", "young": "running", "accurate": "interrupted"}.items():
        (runs / name / "run.json").write_text(json.dumps({"status": status, "steps_done": 0, "epochs_done": 0}))
        (runs / name / "checkpoints").mkdir()
    (runs / "accurate" / "checkpoints" / "last.safetensors").touch()
    code = "import sys, time; from twofold.engine.run import RunFolder; from pathlib import Path\n"
    code += "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(600)"
    for name in ("fair", "young"):
        words = [sys.executable, "-c", code, str(runs / name)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert main(["runs", str(runs), "--json"]) == 0
            process.kill()
        found = {row["run"]: row["status"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
        assert found == {"accurate": "interrupted", "fair": "died", "young": "died"} | {name: "running"}
    assert (runs / "young" / ".lock").is_file()

    assert main(["runs", str(runs)]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("    died, ") == 2
    assert shown.err.splitlines() == [
        f"go on with: twofold train --resume {runs}/{name}" for name in ("accurate", "fair", "young")
    ]
    assert main(["runs", str(runs), "--csv"]) == 0
    assert {row["run"]: row["status"] for row in csv.DictReader(capsys.readouterr().out.splitlines())}["fair"] == "died"


def test_what_no_run_has_and_two_forms_at_once_are_refused(runs: Path, fails: Callable[..., str]) -> None:
    assert "--sort macro-f1 is no column of these runs: did you mean macro_f1?" in fails(
        ["runs", runs, "--sort", "macro-f1"]
    )
    assert "did you mean recipe.epochs" in fails(["runs", runs, "--sort", "recipe.epoch"])
    assert "--json and --csv exclude each other" in fails(["runs", runs, "--json", "--csv"])


def test_runs_of_other_tasks_show_the_metric_of_their_own(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"fair": 0.95, "accurate": 0.4}.items():
        (runs / name / "evaluation.json").write_text(json.dumps({"split": "test", "task": "multilabel", "mAP": value}))
        line = {"kind": "epoch", "epoch": 2, "step": 2, "val_mAP": value - 0.1}
        (runs / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")

    def table(*words: str) -> list[list[str]]:
        assert main(["runs", str(runs), *words]) == 0
        rows = map(str.split, capsys.readouterr().out.splitlines())
        return [row for row in rows if row[-1] in ("run", "accurate", "fair", "young")]

    assert table() == [
        ["score", "on", "val", "epochs", "seconds", "run"],
        ["0.9500", "mAP", "test", "0.8500", "2", "–", "fair"],
        ["0.4000", "mAP", "test", "0.3000", "2", "–", "accurate"],
        ["–", "accuracy", "–", "2", "–", "young"],
    ]
    (runs / "young" / "recipe.json").unlink()
    assert [row[:4] for row in table("--sort", "date")[:2]] == [
        ["mAP", "on", "val", "epochs"],
        ["0.4000", "test", "0.3000", "2"],
    ]
    assert table("--sort", "val")[1][-1] == "fair"
