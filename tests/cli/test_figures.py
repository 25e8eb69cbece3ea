"""One rule for figures: a verb writes one where --figure asks for it, or it is what the verb is for; its path is said.

The path goes to standard error, so that a table or JSON on standard output stays clean.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import twofold
from twofold.cli.completion import form_of
from twofold.cli.data import CheckArguments
from twofold.cli.help import options_of
from twofold.cli.main import VERBS, main
from twofold.engine.options import Options

BOOT = Path(__file__).parents[1] / "pictures" / "boot.png"

# A quick use of each verb that can draw. These exist to draw, and do so unasked, into a file of this name.
DRAWS = {
    "augment-boot.png": ["augment", str(BOOT), "--rows", "1"],
    "explain-boot.png": ["explain", "RUN", str(BOOT)],
    "schedule-step.png": ["schedule", "step"],
    "surface-parabola.png": ["surface", "parabola", "--lr", "0.1"],
}
DRAWS_IF_ASKED = {
    "bench": ["bench", "RUN", "--forms", "torch", "onnx", "--seconds", "0.1", "--batch-size", "1", "4", "--quiet"],
    "batch-study": ["batch-study", "--batch-size", "1500", "--quiet"],
    "cost": ["cost", "relu", "--repeats", "1"],
    "curvature": ["curvature", "--images", "8", "--steps", "1", "--model-options", "width", "0.25"],
    "data check": ["data", "check", "IMAGES"],
    "predict": ["predict", "DETECTOR", "SCENE"],
    "lr-find": [
        *("lr-find", "lenet-bn", "--data", "IMAGES", "--image-size", "28", "--augment", "none", "--quiet"),
        *("--optimizer", "sgd", "--steps", "60", "--batch-size", "16"),
    ],
}
# Measured for a minute: its figure has a test beside its other output.
SLOW = {"claims"}


def test_every_verb_that_draws_is_tried() -> None:
    drawing = {
        verb for verb in VERBS if verb != "data" and "figure" in {option.name for option in options_of(form_of(verb))}
    }
    assert "figure" in {option.name for option in options_of(CheckArguments)}
    assert drawing | {"data check"} == {words[0] for words in DRAWS.values()} | DRAWS_IF_ASKED.keys() | SLOW


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = twofold.Recipe(model="lenet-bn", model_options={"width": 0.25}, epochs=1)
    return twofold.train(recipe, out=tmp_path_factory.mktemp("runs"), name="run", options=Options(show=False)).folder


@pytest.mark.parametrize("name", [*DRAWS, *DRAWS_IF_ASKED])
def test_a_figure_is_written_and_said_by_one_rule(
    name: str,
    run: Path,
    image_folder: Path,
    detector_run: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(run), "IMAGES": str(image_folder)}
    known |= {"DETECTOR": str(detector_run), "SCENE": str(scenes / "scene 0.png")}
    words = [known.get(word, word) for word in (DRAWS | DRAWS_IF_ASKED)[name]]
    written = [name] if name in DRAWS else []
    assert main(words) == 0
    said = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == written
    assert [line for line in said.err.splitlines() if line.startswith("wrote ")] == [
        f"wrote {file}" for file in written
    ]
    assert "wrote" not in said.out
    for file in written:
        (tmp_path / file).unlink()

    assert main([*words, "--figure", "asked.svg"]) == 0
    said = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["asked.svg"]
    assert "wrote asked.svg" in said.err.splitlines()
    assert "wrote" not in said.out
