"""Classes, files and folders of any name that a disk takes, through all verbs; and the names come back the same."""

from __future__ import annotations

import json
import os
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings, strategies as st
from PIL import Image

import twofold
from twofold.cli.main import main
from twofold.data.sources.packed import open_packed
from twofold.data.spec import ModelSpec

# What follows a first letter, so that no name is hidden, another's twin, or that of a split.
tails = st.binary(max_size=40).filter(lambda name: not {0, ord("/")} & set(name))
STEERING = b"\xff\xe9\n\t\r\x1b[2J\xe2\x80\xae\xfe"  # no UTF-8 either
MARKUP = b"[red] <b>&amp; $x_1 \"'\\[bold]%"
# `capsys` is read anew for each command.
CAPTURING = HealthCheck.function_scoped_fixture
SETTINGS = ("--epochs", "1", "--image-size", "28", "--batch-size", "8", "--precision", "float32")


def make_folder(root: Path, tail: bytes) -> Path:
    """Three classes of six grey images each, whose names all end in `tail`, but for the ending of the files."""
    folder = root / ("d" + os.fsdecode(tail))
    generator = np.random.default_rng(0)
    for row, letter in enumerate("abc"):
        (folder / (letter + os.fsdecode(tail))).mkdir(parents=True)
        for number in range(6):
            pixels = generator.integers(0, 100, (28, 28), dtype=np.uint8)
            pixels[9 * row : 9 * row + 9] = 255
            Image.fromarray(pixels).save(folder / (letter + os.fsdecode(tail)) / f"{number}{os.fsdecode(tail)}.png")
    return folder


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a verb, check that nothing it prints steers a terminal, and return its standard output."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        text.encode()
        strange = {sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Cs"}}
        assert strange <= set("\n\t\u200c\u200d")
    return captured.out


def use_every_verb(root: Path, tail: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = make_folder(root, tail), root / ("o" + os.fsdecode(tail))
    names = tuple(sorted(path.name for path in data.iterdir()))
    image = next((data / names[0]).iterdir())

    found = [json.loads(line) for line in call(capsys, "data", "check", data, "--json").splitlines()]
    assert found[0]["folder"] == str(data)
    assert found[0]["counts"] == {"all": dict.fromkeys(names, 6)}
    call(capsys, "data", "check", data, "--figure", root / f"{data.name}.png")

    call(capsys, "train", "lenet", "--data", data, *SETTINGS, "--out", out, "--name", data.name)
    run = out / data.name
    assert Path(twofold.Recipe.load(run / "recipe.json").data) == data
    assert ModelSpec.load(run / "spec.json").class_names == names
    assert twofold.load(run).spec.class_names == names
    assert json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["data"] == data.name
    page = (run / "report.html").read_text(encoding="utf-8")
    assert {sign for sign in page if unicodedata.category(sign) in {"Cc", "Cf", "Cs"}} <= set("\n\u200c\u200d")

    measured = json.loads(call(capsys, "eval", run, "--json", "--quiet"))
    assert tuple(row["name"] for row in measured["classes"]) == names
    call(capsys, "eval", run, "--data", data)
    call(capsys, "report", run)
    (line,) = call(capsys, "predict", run, image, "--json").splitlines()
    assert json.loads(line)["path"] == str(image)
    assert json.loads(line)["predictions"][0]["class"] in names
    assert len(call(capsys, "predict", run, data).splitlines()) == 18
    call(capsys, "explain", run, image, "--class", names[0], "--figure", root / f"{image.name}.svg")
    assert json.loads(call(capsys, "runs", out, "--json"))["run"] == run.name
    call(capsys, "runs", out)

    packed = root / ("p" + os.fsdecode(tail))
    call(capsys, "data", "pack", data, "--out", packed)
    call(capsys, "data", "check", packed)
    assert open_packed(packed).class_names == names
    assert json.loads(call(capsys, "eval", run, "--data", packed, "--json"))["accuracy"] >= 0.0
    call(capsys, "finetune", run, "--data", packed, "--epochs", "1", "--precision", "float32", "--out", out)


@settings(max_examples=1, derandomize=True, phases=[Phase.explicit, Phase.generate], suppress_health_check=[CAPTURING])
@given(tail=tails)
@example(tail=STEERING)
@example(tail=MARKUP)
def test_every_verb_takes_any_name(tail: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        use_every_verb(Path(root), tail, capsys)
