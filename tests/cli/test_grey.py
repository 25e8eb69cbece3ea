"""Colour images and a network for grey ones: refused in one line, or turned to grey where that is asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twofold
from twofold import TwofoldError
from twofold.cli.main import main
from twofold.engine.options import Options

Fails = Callable[..., str]
QUIET = Options(show=False)


@pytest.fixture(scope="session")
def colours(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the classes that `run` knows, six of each, tinted."""
    folder = tmp_path_factory.mktemp("colours") / "tinted"
    for of_class in sorted(images.iterdir()):
        (folder / of_class.name).mkdir(parents=True)
        for path in sorted(of_class.iterdir())[:6]:
            with Image.open(path) as grey:
                values = np.asarray(grey.convert("L"))
            tinted = np.stack([values, values // 2, 255 - values], axis=2)
            Image.fromarray(tinted).save(folder / of_class.name / path.name)
    return folder


@pytest.fixture(scope="session")
def colour_run(run: Path, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for colour images, fine-tuned from one for grey ones."""
    out = tmp_path_factory.mktemp("colour")
    return twofold.finetune(run, data=str(colours), channels=3, epochs=1, out=out, name="run", options=QUIET).folder


def test_many_colour_images_are_one_line_and_the_grey_ones_are_predicted(
    run: Path, boot: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), str(boot), str(colours)]) == 1
    captured = capsys.readouterr()
    first = sorted(path for path in colours.rglob("*.png"))[0]
    assert captured.err == (
        f"error: 18 of 19 images are in colour (first: {first}), and the network takes grey images; "
        "--to-grey turns them to grey\n"
    )
    assert [line.split("\t")[0] for line in captured.out.splitlines()] == [str(boot)]

    assert main(["predict", str(run), str(boot), str(colours), "--to-grey"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 19


def test_one_colour_image_is_one_line_by_its_name(
    run: Path, colours: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(colours.rglob("*.png"))
    says = "is in colour, and the network takes grey images; --to-grey turns it to grey\n"
    assert main(["predict", str(run), str(path)]) == 1
    assert capsys.readouterr().err == f"error: {path} {says}"
    for words, code in (([], 1), (["--to-grey"], 0)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert main(["predict", str(run), "-", *words]) == code
        assert capsys.readouterr().err == ("" if words else f"error: standard input {says}")


def test_to_grey_sees_what_a_grey_copy_of_the_image_has(run: Path, colours: Path) -> None:
    path = next(colours.rglob("*.png"))
    with Image.open(path) as image:
        grey = image.convert("L")
    refuses, takes = twofold.load(run), twofold.load(run, to_grey=True)
    assert takes.predict(path) == takes.predict(grey) == refuses.predict(grey)
    assert (takes.pixels(path) == refuses.pixels(grey)).all()
    with pytest.raises(TwofoldError) as caught:
        refuses.predict(path)
    says = "the image is in colour, and the network takes grey ones; to_grey=True turns it to grey"
    assert str(caught.value) == f"{path}: {says}"
    with pytest.raises(TwofoldError) as caught, Image.open(path) as image:
        refuses.predict(image)
    assert str(caught.value) == says


def test_eval_refuses_or_turns_to_grey(
    run: Path, colours: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(["eval", run, "--data", colours]) == (
        f"error: {colours}: images are in colour, and the network takes grey ones; --to-grey turns them to grey"
    )
    assert main(["eval", str(run), "--data", str(colours), "--to-grey", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 18
    assert "--to-grey is for other images than the run's own: give them with --data" in fails(
        ["eval", run, "--to-grey"]
    )
    assert twofold.evaluate(run, data=str(colours), to_grey=True, options=QUIET)["num_images"] == 18


def test_explain_refuses_or_turns_to_grey(run: Path, colours: Path, fails: Fails, tmp_path: Path) -> None:
    path = next(colours.rglob("*.png"))
    figure = tmp_path / "explained.png"
    assert fails(["explain", run, path, "--figure", figure]) == (
        f"error: {path}: the image is in colour, and the network takes grey ones; --to-grey turns it to grey"
    )
    channel = ["--data", colours, "--channel", "features.7:2", "--figure", figure]
    assert "images are in colour, and the network takes grey ones; --to-grey" in fails(["explain", run, *channel])
    for words in ([path, "--figure", figure], [path, *channel]):
        assert main(["explain", str(run), *map(str, words), "--to-grey"]) == 0
        assert figure.is_file()
        figure.unlink()
    assert twofold.explain(run, path, to_grey=True).axes


def test_a_network_for_colour_has_no_use_for_it_and_takes_grey_images(
    colour_run: Path, boot: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["predict", colour_run, boot], ["explain", colour_run, boot], ["eval", colour_run, "--data", boot]):
        assert fails([*words, "--to-grey"]) == (
            "error: --to-grey has no effect: the network takes colour images; leave it out"
        )
    assert main(["predict", str(colour_run), str(boot)]) == 0
    assert capsys.readouterr().err == ""


def test_fine_tuning_a_grey_network_says_what_becomes_of_colours(
    run: Path, colours: Path, colour_run: Path, images: Path, tmp_path: Path
) -> None:
    line = "colour images are turned to grey, for the network takes 1 channel; 3 would keep their colours"
    grey = twofold.finetune(run, data=str(colours), epochs=1, out=tmp_path, name="grey", options=QUIET)
    log = (grey.folder / "log.txt").read_text()
    assert log.count(line) == 1
    assert log.index(line) < log.index("training images in")
    # What it was trained on, it takes afterwards.
    assert twofold.load(grey.folder).predict(next(colours.rglob("*.png"))).class_name
    assert line not in (colour_run / "log.txt").read_text()
    assert "its channel is divided among three for colour images" in (colour_run / "log.txt").read_text()
    again = twofold.finetune(colour_run, data=str(images), epochs=1, out=tmp_path, name="again", options=QUIET)
    assert line not in (again.folder / "log.txt").read_text()
