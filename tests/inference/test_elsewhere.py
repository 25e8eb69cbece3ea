"""A run's folder on another machine: no images, no recipe that holds there, another working directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import twofold
from processes import CommandLine
from twofold import Recipe
from twofold.engine.options import Options

BOOT = Path(__file__).parents[1] / "pictures" / "boot.png"
QUIET = Options(show=False)


@pytest.fixture(scope="module")
def elsewhere(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on a folder of images named by a relative path, moved to where that means nothing."""
    home, away = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("away")
    shutil.copytree(image_folder, home / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        recipe = Recipe(model="lenet-bn", data="photos", epochs=2, batch_size=16, image_size=28, precision="float32")
        twofold.train(recipe, out="runs", name="run", options=QUIET)
    shutil.move(home / "runs" / "run", away / "run")
    shutil.rmtree(home)
    return away / "run"


@pytest.fixture
def abroad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_predicts(elsewhere: Path, abroad: Path, twofold_command: CommandLine) -> None:
    done = twofold_command("predict", elsewhere, BOOT, "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["predictions"]
    prediction = twofold.load(elsewhere).predict(BOOT)
    assert entry["class"] == prediction.class_name
    assert entry["probability"] == pytest.approx(prediction.probability, abs=1e-6)


def test_it_explains(elsewhere: Path, abroad: Path, twofold_command: CommandLine) -> None:
    done = twofold_command("explain", elsewhere, BOOT, "--figure", "seen.png")
    assert done.returncode == 0, done.stderr
    assert (abroad / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_evaluated_on_other_images(elsewhere: Path, abroad: Path, image_folder: Path) -> None:
    metrics = twofold.evaluate(elsewhere, data=str(image_folder), options=QUIET)
    assert metrics["num_images"] == 120
    assert metrics["accuracy"] > 0.5
    assert (elsewhere / f"evaluation-{image_folder.name}-all.json").is_file()


def test_it_is_fine_tuned(elsewhere: Path, abroad: Path, image_folder: Path, twofold_command: CommandLine) -> None:
    done = twofold_command("finetune", elsewhere, "--data", image_folder, "--epochs", "1", "--name", "tuned")
    assert done.returncode == 0, done.stderr
    assert twofold.load(abroad / "runs" / "tuned").predict(BOOT).class_name in {"bag", "boot", "shirt"}


def test_its_report_and_its_row_in_runs_are_still_made(
    elsewhere: Path, abroad: Path, twofold_command: CommandLine
) -> None:
    assert twofold_command("report", elsewhere).returncode == 0
    done = twofold_command("runs", elsewhere.parent)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


@pytest.mark.parametrize("verb", ["eval", "resume"])
def test_what_needs_the_images_says_so_in_one_line(
    verb: str, elsewhere: Path, abroad: Path, fails: Callable[..., str]
) -> None:
    arguments = ["eval", elsewhere] if verb == "eval" else ["train", "--recipe", elsewhere / "recipe.json"]
    assert "photos" in fails(arguments)


@pytest.mark.parametrize("inside", ["checkpoints/best.safetensors", "best.safetensors"])
def test_a_folder_with_nothing_but_its_best_weights_predicts(inside: str, elsewhere: Path, abroad: Path) -> None:
    alone = abroad / "alone"
    (alone / inside).parent.mkdir(parents=True)
    shutil.copy(elsewhere / "checkpoints" / "best.safetensors", alone / inside)
    expected = twofold.load(elsewhere).predict(BOOT)
    assert twofold.load("alone").predict(BOOT) == expected
    assert twofold.load(alone / inside).predict(BOOT) == expected


def test_a_run_from_before_specs_had_a_task_computes_as_its_folder_says(elsewhere: Path, abroad: Path) -> None:
    from twofold.inference.weights_file import load_checkpoint, read_weights, save_checkpoint

    old = abroad / "old"
    shutil.copytree(elsewhere, old)
    best = old / "checkpoints" / "best.safetensors"
    tensors, record = load_checkpoint(best)
    spec = {name: value for name, value in record["spec"].items() if name not in {"task", "compute"}} | {"format": 1}
    save_checkpoint(best, tensors, record | {"spec": spec})
    for name, changes in (("environment.json", {"precision": "bfloat16"}), ("recipe.json", {"winograd": False})):
        (old / name).write_text(json.dumps(json.loads((old / name).read_text()) | changes))
    _, read, _ = read_weights(old)
    assert (read.task, read.compute.precision, read.compute.winograd) == ("classify", "bfloat16", False)
    shutil.move(best, abroad / "best.safetensors")
    assert read_weights(abroad / "best.safetensors")[1].compute.precision == "auto"
