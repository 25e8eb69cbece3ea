"""`twofold augment`, as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import twofold
from processes import CommandLine
from twofold.augment.names import POLICIES
from twofold.cli.main import main

BOOT = Path(__file__).parents[1] / "pictures" / "boot.png"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A relative path to the source would be lost with the folder.
    monkeypatch.setenv("PYTHONPATH", str(Path(twofold.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_gallery_in_a_process_of_its_own(twofold_command: CommandLine, folder: Path) -> None:
    done = twofold_command("augment", BOOT, "--augment", "d2l", "--rows", "2")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "wrote augment-boot.png\n")
    assert [path.name for path in folder.iterdir()] == ["augment-boot.png"]
    with Image.open(folder / "augment-boot.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize("policy", ["flip-crop", "light", "strong"])
def test_a_photograph_in_colour(policy: str, folder: Path) -> None:
    picture = Image.linear_gradient("L").resize((90, 60))
    Image.merge("RGB", (picture, picture.rotate(180), picture.rotate(90))).save("photo.jpg")
    assert main(["augment", "photo.jpg", "--augment", policy, "--rows", "1", "--figure", "all.svg"]) == 0
    assert "<svg" in (folder / "all.svg").read_text()


def test_the_seed_decides_the_figure(folder: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = [
            "augment",
            str(BOOT),
            "--rows",
            "1",
            "--image-size",
            "16",
            "--seed",
            seed,
            "--figure",
            f"{name}.svg",
        ]
        assert main(arguments) == 0
    first, again, other = ((folder / f"{name}.svg").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_one_pixel(folder: Path) -> None:
    Image.new("RGB", (1, 1), "red").save("dot.png")
    for policy in POLICIES:
        if policy != "none":
            assert main(["augment", "dot.png", "--augment", policy, "--rows", "1"]) == 0


def test_wrong_use_is_one_line(fails: Callable[..., str], folder: Path) -> None:
    assert "did you mean d2l" in fails(["augment", BOOT, "--augment", "d21l"])
    assert "nothing to draw; take one of flip" in fails(["augment", BOOT, "--augment", "none"])
    assert "--rows must lie in 1..20, got 0" in fails(["augment", BOOT, "--rows", "0"])
    assert "--image-size must lie in 1..1024 px, got 5000" in fails(["augment", BOOT, "--image-size", "5000"])
    assert "--seed must be 0 or more" in fails(["augment", BOOT, "--seed", "-1"])
    assert "there is no image missing.png" in fails(["augment", "missing.png"])
    assert "--figure must end in .png" in fails(["augment", BOOT, "--figure", "a.gif"])
    assert "missing IMAGE" in fails(["augment"])
    (folder / "text.png").write_text("not a picture")
    assert "text.png: not an image that can be read" in fails(["augment", "text.png"])
    assert list(folder.glob("augment-*")) == []


def test_help_names_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["augment", "--help"])
    said = capsys.readouterr().out
    assert [policy for policy in POLICIES if policy != "none" and policy not in said] == []
