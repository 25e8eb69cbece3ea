"""`twofold data check` and `twofold data pack`, as a user calls them; every wrong input of theirs, one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from twofold.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "twofold data check PATH, twofold data pack PATH, or twofold data convert DATA OUT --to FORMAT"),
        (["--size", "3"], "say what to do with the data"),
        (["pcak", "x"], "unknown data command 'pcak': did you mean pack?"),
        (["check"], "missing PATH"),
        (["pack"], "missing PATH"),
        (["check", "nowhere"], "no such folder: nowhere"),
        (["pack", "nowhere"], "no such folder: nowhere"),
        (["check", "fashion-scenes?side=96"], "fashion-scenes?side=96 is a named data set"),
        (["check", "fashion-scenes?sides=96"], "unknown setting 'sides': did you mean side?"),
        (["pack", "mnist"], "mnist is a named data set"),
        (["check", "note.txt"], "note.txt is a file, not a folder"),
        (["check", "empty"], "empty holds no images"),
        (["pack", "empty"], "empty holds no images"),
        (["check", "loose"], "holds 1 image but no class folders"),
        (["check", "loose", "--near-bits", "99"], "--near-bits must be from 0 to 15, got 99"),
        (["check", "loose", "--near-bits", "few"], "--near-bits takes a whole number, got 'few'"),
        (["check", "loose", "--figure", "x.gif"], "--figure must end in .png, .svg, .pdf, got x.gif"),
        (["check", "loose", "--figure", "no/x.png"], "there is no folder no"),
        (["check", "loose", "--sise", "3"], "see twofold data check --help"),
        (["pack", "loose", "--size", "0"], "size must be from 1 to 4096 px, got 0"),
        (["pack", "loose", "--size", "big"], "--size takes a whole number, got 'big'"),
        (["pack", "loose", "--quality", "0"], "quality must be from 1 to 100, got 0"),
        (["pack", "loose", "--shard-mb", "0"], "--shard-mb must be 1 or more, got 0"),
        (
            ["pack", "loose", "--store", "raw", "--quality", "80"],
            "--quality is that of JPEG, which --store raw does without",
        ),
        (["pack", "loose", "--out", "loose/in"], "lies inside of loose"),
        (["pack", "loose", "--out", "note.txt"], "--out note.txt is a file"),
        (["pack", "loose", "--out", "empty/.."], "holds other files"),
        (["pack", "loose", "--sise", "3"], "did you mean --size"),
        (["pack", "multilabel:"], "lacks a folder: write multilabel:FOLDER"),
        (["check", "multilabel:"], "lacks a folder: write multilabel:FOLDER"),
    ],
)
def test_wrong_use(
    arguments: list[str], words: str, fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose").mkdir()
    (tmp_path / "note.txt").write_text("x")
    Image.new("RGB", (8, 8)).save(tmp_path / "loose" / "a.png")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert words in fails(["data", *arguments])
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["pack", "--help"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["data", *words])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: twofold data{' ' + words[0] if len(words) > 1 else ''} " in out
    for option in {"check": ["--near-bits", "--figure", "--json"], "pack": ["--size", "--shard-mb"]}.get(
        words[0], ["pack"]
    ):
        assert option in out


def test_a_good_folder(image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(image_folder)]) == 0
    out = capsys.readouterr().out
    assert "120 files, 120 can be read" in out
    for name in ("bag", "boot", "shirt"):
        assert name in out
    assert "broken" not in out


@pytest.fixture
def bad_folder(image_folder: Path, tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    shutil.copytree(image_folder, root)
    first, second = sorted((root / "bag").iterdir())[:2]
    shutil.copy(first, root / "boot" / "copy.png")
    (root / "bag" / "cut\x1b[31m[bold].png").write_bytes(second.read_bytes()[:100])
    second.rename(second.with_suffix(".jpg"))
    return root


def test_a_bad_folder_as_a_table(bad_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(bad_folder)]) == 1
    out = capsys.readouterr().out
    assert r"bag/cut\x1b[31m[bold].png: is truncated" in out
    assert "\x1b[31m" not in out
    assert "in different classes (bag, boot)" in out
    assert "the name says JPEG, the content is PNG" in out


def test_names_do_not_steer_the_terminal(bad_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bad_folder / "bag" / "two\nlines\x1b[2J.png").write_bytes(b"\x89PNG")
    for arguments in (["data", "pack", str(bad_folder)], ["train", "lenet", "--data", str(bad_folder)]):
        assert main(arguments) != 0
        err = capsys.readouterr().err
        assert r"  bag/cut\x1b[31m[bold].png: is truncated" in err
        assert r"  bag/two\nlines\x1b[2J.png: " in err
        assert "\x1b" not in err
    # Where the name of the folder itself is at fault.
    bad_folder.rename(bad_folder.with_name("odd\x1b[31m"))
    assert main(["train", "lenet", "--data", f"{bad_folder.with_name('odd')}\x1b[31m"]) != 0
    assert "\x1b" not in capsys.readouterr().err


def test_a_bad_folder_as_json_and_figure(bad_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "odd.png"
    assert main(["data", "check", str(bad_folder), "--json", "--figure", str(figure)]) == 1
    captured = capsys.readouterr()
    summary, *findings = map(json.loads, captured.out.splitlines())
    assert (summary["kind"], summary["files"], summary["readable"]) == ("summary", 122, 121)
    assert summary["counts"] == {"all": {"bag": 40, "boot": 41, "shirt": 40}}
    kinds = [finding["kind"] for finding in findings]
    assert kinds[:3] == ["broken file", "wrong extension", "exact duplicate"]
    assert findings[0]["paths"] == ["bag/cut\x1b[31m[bold].png"]
    assert f"wrote {figure}" in captured.err
    with Image.open(figure) as drawn:
        assert drawn.width > 1000


def test_pack_train_and_check_the_pack(
    image_folder: Path, tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "clothes"
    shutil.copytree(image_folder, root)
    out = tmp_path / "clothes-packed"
    assert main(["data", "pack", str(root)]) == 0
    err = capsys.readouterr().err
    assert f"wrote {out}: 120 images in 1 shards" in err
    assert f"--data {out}" in err
    assert main(["data", "pack", str(root)]) == 0
    assert "is packed already: 120 images" in capsys.readouterr().err
    arguments = ["lenet-bn", "--epochs", "1", "--batch-size", "16", "--out", str(tmp_path / "runs"), "--quiet"]
    assert main(["train", *arguments, "--data", str(out)]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(out)]) == 0
    assert "120 packed images, 0 damaged" in capsys.readouterr().out
    assert "is packed; check the folder itself" in fails(["data", "check", out, "--figure", tmp_path / "x.png"])
    shard = out / "all-00000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    assert main(["data", "check", str(out)]) == 1
    assert f"{shard} is damaged: the bytes of " in capsys.readouterr().out
    line = fails(["train", *arguments, "--data", out], code=1)
    assert f"{shard} is damaged" in line
    shard.write_bytes(content[:5000])
    assert f"{shard} has 5,000 bytes" in fails(["train", *arguments, "--data", out], code=1)


def test_several_labels_an_image_are_packed_if_asked_for(outfits: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "my pack"
    assert main(["data", "pack", f"multilabel:{outfits}", "--out", str(out), "--quiet"]) == 0
    assert f"use it in place of the folder: --data '{out}'" in capsys.readouterr().err
    index = json.loads((out / "index.json").read_text())
    assert (index["task"], index["class_names"]) == ("multilabel", ["bag", "boot", "shirt"])


def test_broken_files_end_packing_in_the_usual_way(bad_folder: Path, fails: Callable[..., str], capsys) -> None:
    line = fails(["data", "pack", bad_folder, "--quiet"])
    assert "has 1 problem: broken image" in line
    assert "is only partly packed" in fails(["train", "lenet", "--data", bad_folder.with_name("photos-packed")])
    assert main(["data", "pack", str(bad_folder), "--skip-broken"]) == 0
    assert r"left out bag/cut\x1b[31m[bold].png: is truncated" in capsys.readouterr().err


def test_what_is_not_read_and_what_was_made_of_films(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "photos"
    shutil.copytree(image_folder, root)
    for number in range(12):
        (root / "bag" / f"{number}.psd").write_bytes(b"8BPS")
    frames = [Image.new("L", (28, 28), grey) for grey in (50, 200)]
    frames[0].save(root / "boot" / "film.gif", save_all=True, append_images=frames[1:])
    lines = [
        "12 .psd files are not read: save as PNG or JPEG",
        "1 image has several frames or pages, of which the first is taken",
    ]
    assert main(["data", "check", str(root)]) == 0
    out = capsys.readouterr().out
    assert f"{lines[0]} (bag/0.psd, …)" in out
    assert "boot/film.gif: several frames or pages, of which the first is taken" in out
    arguments = ["--epochs", "1", "--batch-size", "16", "--out", str(tmp_path / "runs"), "--name", "run"]
    assert main(["train", "lenet-bn", "--data", str(root), *arguments]) == 0
    err = capsys.readouterr().err
    for line in lines:
        assert err.count(line) == 1
        assert err.index(line) < err.index("epoch")
    run = str(tmp_path / "runs" / "run")
    assert main(["predict", run, str(root)]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 121
    for line in lines:
        assert captured.err.count(line) == 1
    assert main(["eval", run, "--data", str(root)]) == 0
    assert lines[1] in capsys.readouterr().err
    assert main(["data", "pack", str(root)]) == 0
    assert lines[0] in capsys.readouterr().err


def test_images_with_several_labels_are_counted_once_and_those_without_too(
    outfits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines_of(*arguments: str | Path) -> list[str]:
        assert main(["data", "check", *map(str, arguments)]) == 0
        return capsys.readouterr().out.splitlines()

    # 60 of the 120 images are in two folders each.
    assert "120 images" in lines_of(f"multilabel:{outfits}")
    summary = json.loads(lines_of(f"multilabel:{outfits}", "--json")[0])
    assert (summary["files"], summary["images"], summary["unlabelled"]) == (180, 120, 0)
    for number in range(4):
        Image.new("L", (8, 8), 20 + 50 * number).save(tmp_path / f"{number}.png")
    table = tmp_path / "t.csv"
    table.write_text("image,tags\n0.png,sun\n1.png,sun|moon\n2.png,\n3.png,moon\n", encoding="utf-8")
    lines = lines_of(table)
    assert lines[0].startswith(f"{tmp_path}: 4 files, 4 can be read")
    assert "4 images, 1 of them without a label" in lines
    assert [line.split() for line in lines[1:7]][-1] == ["2", "labels", "4"]
    summary = json.loads(lines_of(table, "--json")[0])
    assert (summary["files"], summary["images"], summary["unlabelled"]) == (4, 4, 1)
