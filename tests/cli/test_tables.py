"""Tables on a terminal of 80 columns and in a pipe: readable, names whole, no padding."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from processes import CommandLine
from twofold.cli.main import main
from twofold.cli.runs import DECIDED_BY
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.engine.recipes import RECIPES
from twofold.models.registry import MODELS
from twofold.scratch import conv


def on_a_terminal(*arguments: str | Path, columns: int = 80) -> list[str]:
    """Run a command on a real pseudo-terminal and return its lines, without colours and what was overwritten."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    process = subprocess.Popen(CommandLine.words(*arguments), stdout=follower, stderr=subprocess.PIPE, env=environment)
    os.close(follower)
    shown = b""
    while chunk := _read(leader):
        shown += chunk
    os.close(leader)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "").splitlines()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end was closed: the process has ended
        return b""


def test_every_network_is_whole_on_a_terminal_of_80_columns() -> None:
    lines = on_a_terminal("models")
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if re.match(r"\S+ +\dx\d", line)] == list(MODELS)


def test_every_recipe_is_whole_on_a_terminal_of_80_columns() -> None:
    lines = on_a_terminal("recipes")
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line.strip()} >= set(RECIPES)


def test_names_wider_than_the_terminal_are_not_broken() -> None:
    lines = on_a_terminal("summary", "densenet121", "--input", "3x64x64", columns=40)
    assert max(map(len, lines)) > 40
    assert ["denselayer24"] in [line.split() for line in lines]
    assert any(line.split()[:2] == ["classifier", "Linear"] for line in lines)


@pytest.mark.parametrize("model", ["densenet161", "resnet152", "vgg19-bn", "googlenet"])
def test_layers_stand_below_their_modules_on_a_terminal_and_whole_in_a_pipe(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", model]) == 0
    *layers, _ = capsys.readouterr().out.partition("total")[0].splitlines()[3:]
    piped = [line.split()[0] for line in layers]
    lines = on_a_terminal("summary", model)
    assert max(map(len, lines)) <= 80
    modules: list[str] = []
    names = []
    for line in lines[lines.index(next(line for line in lines if line.startswith("─"))) + 1 :]:
        if line.startswith("─"):
            break
        depth = len(line) - len(line.lstrip())
        modules = [*modules[:depth], line.split()[0]]
        if len(line.split()) > 1:
            names.append(".".join(modules))
    assert names == piped


@pytest.mark.parametrize(
    "arguments", [["models"], ["recipes"], ["summary", "lenet"], ["schedule", "--json"], ["surface", "--list"]]
)
def test_a_pipe_gets_no_padding(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    for line in capsys.readouterr().out.splitlines():
        assert line == line.rstrip()


def test_a_pipe_obeys_columns_where_it_is_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 70
    assert len(lines) > 2 + len(RECIPES)


def test_the_lines_above_and_below_a_network_s_layers_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet-bn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lenet-bn, one image of 1x28x28"
    assert "Batch normalization, 2015" in lines[-1]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_show_wraps_prose_and_leaves_code_as_it_is(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["show", "conv2d"]) == 0
    text = capsys.readouterr().out
    prose, code = text.split("scratch/conv.py:", 1)
    assert max(map(len, prose.splitlines())) <= min(columns, 100)
    assert "conv2d is one matrix product. *Unfold*: lay what" in " ".join(prose.split())
    source = {line.rstrip() for line in inspect.getsource(conv).splitlines()}
    written = [line for line in code.partition("the fast form")[0].splitlines()[1:] if not line.startswith("scratch/")]
    assert max(map(len, written)) > 100
    assert set(written) <= source


def test_a_pipe_gets_each_row_on_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["recipes"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(RECIPES)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with the records of three runs."""
    folder = tmp_path / "runs"
    settings = {
        "20260102-000000-lenet-fashion-mini": Recipe(model="lenet", optimizer="sgd", lr=0.05),
        "20260101-000000-lenet-bn-fashion-mini": Recipe(model="lenet-bn", optimizer="sgd", model_options={"width": 2}),
        "last": Recipe(model="lenet", optimizer="adam", winograd=False, epochs=3),
    }
    for index, (name, recipe) in enumerate(settings.items()):
        (folder / name).mkdir(parents=True)
        (folder / name / "recipe.json").write_text(recipe.to_json())
        record = {"status": "finished", "started": f"2026-01-0{3 - index}T00:00:00+00:00", "epochs_done": index}
        record |= {"num_parameters": 1000, "train_seconds": 10.0 * (2 - index)}
        (folder / name / "run.json").write_text(json.dumps(record))
    (folder / "last" / "evaluation.json").write_text(json.dumps({"split": "test", "accuracy": 0.75}))
    return folder


def test_runs_are_as_wide_as_the_terminal_and_speak_the_command_line_s_language(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["runs", str(runs)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.split() == ["accuracy", "on", "val", "epochs", "seconds", "run"]
    assert len(lines) == 2 * 3
    assert lines[0].split() == ["0.7500", "test", "–", "2", "0.0", "last"]
    settings = {
        name.split()[-1]: line.partition("parameters  ")[2] for name, line in zip(lines[::2], lines[1::2], strict=True)
    }
    # Adam's own learning rate follows from --optimizer adam; those of the two runs with SGD differ.
    assert settings["last"] == "lenet --optimizer adam --lr 0.001 --epochs 3 --no-winograd"
    assert settings["20260102-000000-lenet-fashion-mini"].startswith("lenet --optimizer sgd --lr 0.05")
    assert settings["20260101-000000-lenet-bn-fashion-mini"].startswith("lenet-bn --model-options width 2 ")
    monkeypatch.delenv("COLUMNS")
    assert main(["runs", str(runs)]) == 0
    piped = capsys.readouterr().out.splitlines()
    assert on_a_terminal("runs", runs) == piped
    assert max(map(len, piped)) <= 80
    assert " ".join(" ".join(piped).split()) == " ".join(" ".join([first, *lines]).split())
    assert any(line.startswith("      --") for line in piped), "no setting is broken"


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("accuracy", ["last", "20260101-000000-lenet-bn-fashion-mini", "20260102-000000-lenet-fashion-mini"]),
        ("date", ["20260102-000000-lenet-fashion-mini", "20260101-000000-lenet-bn-fashion-mini", "last"]),
        ("name", ["20260101-000000-lenet-bn-fashion-mini", "20260102-000000-lenet-fashion-mini", "last"]),
        ("time", ["last", "20260101-000000-lenet-bn-fashion-mini", "20260102-000000-lenet-fashion-mini"]),
        ("epochs", ["last", "20260101-000000-lenet-bn-fashion-mini", "20260102-000000-lenet-fashion-mini"]),
    ],
)
def test_runs_are_sorted(order: str, names: list[str], runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--sort", order, "--json"]) == 0
    assert [json.loads(line)["run"] for line in capsys.readouterr().out.splitlines()] == names


def test_runs_know_which_setting_decides_which() -> None:
    assert {name: chooser for name, (chooser, _) in DEPENDENT_SETTINGS.items()} == DECIDED_BY


def test_a_broken_record_leaves_the_run_in(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "last" / "run.json").write_text("{")
    assert main(["runs", str(runs)]) == 0
    captured = capsys.readouterr()
    assert "last" in captured.out
    assert "run.json could not be read" in captured.err
