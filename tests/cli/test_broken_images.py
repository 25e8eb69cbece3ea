"""Broken images: whatever verb meets them names --skip-broken, takes it, and says what it left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from twofold.cli.completion import form_of
from twofold.cli.data import PackArguments
from twofold.cli.help import options_of
from twofold.cli.main import VERBS, main

SMALL = ("--model", "lenet-bn", "--image-size", "28", "--batch-size", "8", "--threads", "1", "--val-fraction", "0.25")
ONCE = ("--optimizer", "sgd", "--seeds", "1", "--epochs", "1", "--trials", "1", "--trial-epochs", "1")
# Every verb that reads a folder of images, as words; {run} is a run on these classes.
COMMANDS = {
    "train": "train lenet-bn --data {photos} --epochs 1 --batch-size 8 --image-size 28 --precision float32 --out {out}",
    "finetune": "finetune {run} --data {photos} --epochs 1 --batch-size 8 --precision float32 --out {out}",
    "eval": "eval {run} --data {photos}",
    "export": "export {run} --data {photos} --out {out}/export",
    "bench": "bench {run} --data {photos} --forms onnx --seconds 0.1 --batch-size 1",
    "explain": "explain {run} --data {photos} --channel features.7:2 --figure {out}/channel.svg",
    "lr-find": "lr-find lenet-bn --data {photos} --image-size 28 --batch-size 8 --optimizer sgd --steps 100 --min 1e-4",
    "race": f"race --data {{photos}} {' '.join((*SMALL, *ONCE))} --out {{out}}",
    "curvature": "curvature lenet-bn --data {photos} --images 8 --steps 1 --every 1 --model-options width 0.25",
    "curvature of a run": "curvature {run} --images 8",
    "data pack": "data pack {photos} --out {out}/packed",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> dict[str, Path]:
    """A folder with a broken image; a run, one of whose own images was spoilt since."""
    here = tmp_path_factory.mktemp("broken")
    for name in ("photos", "own"):
        for kind in ("bag", "boot"):
            (here / name / kind).mkdir(parents=True)
            for file in sorted((image_folder / kind).iterdir())[:10]:
                shutil.copy(file, here / name / kind)
    words = f"train lenet-bn --data {here}/own --epochs 1 --batch-size 8 --image-size 28 --precision float32 --quiet"
    assert main([*words.split(), "--out", str(here), "--name", "run"]) == 0
    for name in ("photos", "own"):
        (here / name / "bag" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return {"photos": here / "photos", "run": here / "run"}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_suggested_for_broken_images_works(
    name: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = COMMANDS[name].format(**places, out=tmp_path).split()
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert "broken.png" in errors
    assert "go on without them with --skip-broken" in errors
    assert main([*words, "--skip-broken"]) == 0
    assert "broken.png" in capsys.readouterr().err


def test_every_verb_with_data_takes_the_option() -> None:
    # What a lab is given, it reads when it is asked for: a broken data set is a line on its page.
    forms = {verb: form_of(verb) for verb in VERBS if verb not in ("data", "lab")} | {"data pack": PackArguments}
    taking = {verb for verb, form in forms.items() if {"data", "path"} & {o.name for o in options_of(form)}}
    assert taking == {name for name in COMMANDS if " of " not in name}
    assert all("skip-broken" in {option.name for option in options_of(forms[verb])} for verb in taking)


def test_a_race_that_left_images_out_goes_on_and_is_repeated_so(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    words = COMMANDS["race"].format(**places, out=tmp_path).split()
    assert main([*words, "--name", "race", "--skip-broken", "--quiet"]) == 0
    race = tmp_path / "race"
    assert json.loads((race / "data.json").read_text())["num_images"] == {"train": 16, "val": 4}
    page = (race / "race.html").read_text()
    assert page.count("--skip-broken") == 2  # to train so, to race again
    (race / "race.json").unlink()
    next((race / "runs").iterdir()).unlink()
    assert main(["race", "--resume", str(race), "--quiet"]) == 0

    whole = tmp_path / "whole"
    shutil.copytree(places["photos"], whole)
    broken = whole / "bag" / "broken.png"
    shutil.copy(next((whole / "boot").iterdir()), broken)
    words[words.index("--data") + 1] = str(whole)
    assert main([*words, "--name", "other", "--quiet"]) == 0
    other = tmp_path / "other"
    (other / "race.json").unlink()
    broken.write_bytes(b"no picture")
    assert main(["race", "--resume", str(other)]) == 2
    assert "--skip-broken" in capsys.readouterr().err
    assert "the images of whole are not those" in fails(["race", "--resume", other, "--skip-broken", "--quiet"])
