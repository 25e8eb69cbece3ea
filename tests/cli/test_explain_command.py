"""`twofold explain`: what it writes, and every wrong input."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import twofold
import twofold.figures.explain
import twofold.figures.explain_detector
from twofold.cli.main import main


def num_panels(svg: Path) -> int:
    return len(set(re.findall(r'id="(axes_\d+)"', svg.read_text(encoding="utf-8"))))


def test_the_command_explains_an_image(
    run: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(run), str(boot)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"wrote explain-{boot.stem}.png\n")
    with Image.open(f"explain-{boot.stem}.png") as saved:
        assert saved.format == "PNG"
    out = tmp_path / "picture.SVG"
    assert main(["explain", str(run), str(boot), "--class", "shirt", "--class", "$bag_1", "--figure", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().err
    best = twofold.load(run, device="cpu").predict(boot).class_name
    heats = len({best, "shirt", "$bag_1"})
    assert num_panels(out) == 2 + heats + 6 + 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"explain-{boot.stem}.png", "picture.SVG"]


def test_the_command_shows_what_excites_a_channel(
    run: Path, images: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["explain", str(run), "--data", str(images), "--channel", "features.7:2"]
    assert main(words) == 0
    assert "wrote explain-features.7-2.png\n" in capsys.readouterr().err
    assert main([*words, "--figure", "nine.svg"]) == 0
    assert num_panels(tmp_path / "nine.svg") == 9
    assert main([*words, "--figure", "ten.svg", str(boot)]) == 0
    assert num_panels(tmp_path / "ten.svg") == 10

    few = tmp_path / "few" / "shirt"
    few.mkdir(parents=True)
    for path in sorted((images / "shirt").iterdir())[:4]:
        shutil.copy(path, few)
    (few / "broken.png").write_bytes(b"no picture")
    words[3] = str(few.parent)
    assert main([*words, "--figure", "few.svg"]) == 2
    assert "--skip-broken" in capsys.readouterr().err
    assert main([*words, "--figure", "few.svg", "--skip-broken"]) == 0
    assert "broken.png" in capsys.readouterr().err
    assert num_panels(tmp_path / "few.svg") == 4


Fails = Callable[..., str]


def test_wrong_use_is_one_line(
    fails: Fails, run: Path, images: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    red = io.BytesIO()
    Image.new("RGB", (30, 30), (200, 30, 60)).save(red, "PNG")
    (tmp_path / "red.png").write_bytes(red.getvalue())
    channel = ["--data", images, "--channel"]
    for arguments, words in [
        ([], "missing RUN"),
        ([run], "say what to explain: an IMAGE, or a channel with --data and --channel"),
        ([tmp_path / "none", boot], "there is no folder"),
        ([tmp_path, boot], "is not a run folder"),
        ([run, tmp_path / "none.png"], f"there is no image {tmp_path / 'none.png'}"),
        ([run, tmp_path], f"{tmp_path} is a folder; give the path of one image"),
        ([run, "text.png"], "text.png: not an image that can be read"),
        ([run, "red.png"], "red.png: the image is in colour"),
        ([run, boot, "--class", "shirts"], "unknown class 'shirts': did you mean shirt?"),
        ([run, boot, "--figure", "x.gif"], "--figure must end in .png, .svg, .pdf, got x.gif"),
        ([run, boot, "--figure", "x"], "--figure must end in .png, .svg, .pdf, got x"),
        ([run, boot, "--figure", "no/x.png"], "there is no folder no"),
        ([run, boot, "--channel", "features.7:0"], "--channel needs --data"),
        ([run, boot, "--data", images], "--data needs --channel"),
        ([run, boot, "--skip-broken"], "--skip-broken is for the images of --data"),
        ([run, boot, *channel, "features.7:0", "--class", "shirt"], "--class goes with an IMAGE"),
        ([run, *channel, "features.7"], "a channel is STAGE:INDEX, e.g. layer1:0, got 'features.7'"),
        ([run, *channel, "layer1:0"], "unknown stage 'layer1': the stages of lenet-bn are features.3, features.7"),
        ([run, *channel, "features.7:16"], "stage features.7 of lenet-bn has 16 channels, 0 to 15; got 16"),
        ([run, "--data", "fashion-mni", "--channel", "features.7:0"], "did you mean fashion-mini"),
        ([run, "--data", "fashion-mini", "--channel", "features.7:0"], "classes that the network was not trained on"),
        ([run, boot, "--device", "tpu"], "invalid choice 'tpu'"),
        ([run, boot, "--clas", "shirt"], "did you mean --class"),
    ]:
        assert words in fails(["explain", *arguments]), arguments
    assert sorted(path.name for path in tmp_path.iterdir()) == ["red.png", "text.png"]


def test_a_figure_that_cannot_be_written_fails(fails: Fails, run: Path, boot: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    assert "cannot write" in fails(["explain", run, boot, "--figure", tmp_path / "x.png"], code=1)


def test_a_detector_is_explained_by_its_anchors_and_its_levels(
    detector_run: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    figures = []
    draw = twofold.figures.explain_detector.draw_detector
    monkeypatch.setattr(
        twofold.figures.explain_detector,
        "draw_detector",
        lambda seen, *, title: (figures.append((seen, title)), draw(seen, title=title))[1],
    )
    scene = scenes / "scene 0.png"
    words = ["explain", str(detector_run), str(scene), "--threshold", "0.01"]
    assert main([*words, "--class", "Bag", "--figure", "bag.png"]) == 0
    (seen, title), *_ = figures
    assert (title, set(seen.class_names), seen.threshold) == ("scene 0.png", {"Bag"}, 0.01)
    assert (tmp_path / "bag.png").is_file()
    assert twofold.explain(detector_run, scene).axes
    assert "did you mean Bag?" in fails([*words, "--class", "bags"])
    assert "from 0 to 1, got 2.0" in fails(["explain", detector_run, scene, "--threshold", "2"])


def test_what_excites_a_channel_of_a_detector(
    detector_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["explain", str(detector_run), "--data", "fashion-scenes?train=1&test=12&side=64"]
    assert main([*words, "--channel", "layer2:1"]) == 0
    assert (tmp_path / "explain-layer2-1.png").is_file()
    assert "unknown stage 'head'" in fails([*words, "--channel", "head:0"])
    assert "--threshold goes with an IMAGE" in fails([*words, "--channel", "layer2:1", "--threshold", "0.5"])


def test_a_classifier_has_no_threshold(run: Path, boot: Path, fails: Fails) -> None:
    assert "--threshold 0.5 is for detectors" in fails(["explain", run, boot, "--threshold", "0.5"])
