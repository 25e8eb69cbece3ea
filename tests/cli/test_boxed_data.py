"""`twofold data check`, `pack` and `convert` of images with boxes, as a user calls them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from data.sources.boxed import coco_content, draw_all, make_coco, make_csv, make_voc, make_yolo
from twofold.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert"], "missing DATA and OUT"),
        (["convert", "set", "out"], "missing --to"),
        (["convert", "set", "out", "--to", "coca"], "invalid choice 'coca' for --to: did you mean coco?"),
        (["convert", "set", "set", "--to", "coco"], "set is there already; give another folder"),
        (["convert", "set", "boxes.csv/out", "--to", "coco"], "cannot write boxes.csv/out"),
        (["convert", "fashion-mini", "out", "--to", "coco"], "fashion-mini has no boxes"),
        (["convert", "nowhere", "out", "--to", "coco"], "no folder of that name here"),
        (["convert", "voc:set", "out", "--to", "coco"], "set has no XML files, which Pascal VOC's boxes are in"),
        (["check", "coco:nowhere.json"], "no such file or folder: nowhere.json; give coco:FILE.json"),
        (["check", "coco:"], "'coco:' lacks a file or folder"),
        (["check", "labelme:boxes.csv"], "boxes.csv is a file; give labelme:FOLDER"),
        (["check", "boxes:set"], "no such file: set; give boxes:FILE.csv"),
        (["check", "yolo:boxes.csv", "--images", "gone"], "--images gone is no folder"),
        (["check", "set", "--images", "set"], "--images set goes with a table"),
        (["check", "boxes.csv", "--columns", "label=nothing"], "has no such column"),
        (["pack", "coco:set"], "set has no JSON file such as annotations/instances_*.json"),
    ],
)
def test_wrong_use(
    arguments: list[str], words: str, fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_yolo(tmp_path / "set")
    (tmp_path / "boxes.csv").write_text("image,x1,y1,x2,y2,label\nset/images/a.png,1,2,3,4,cat\n")
    assert words in fails(["data", *arguments], code=1 if "cannot write" in words else 2)


def test_check_counts_classes_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_voc(tmp_path / "set")
    assert main(["data", "check", str(tmp_path / "set")]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if line.startswith(("cat", "dog"))] == [
        ["cat", "1", "2"],
        ["dog", "2", "0"],
    ]
    assert "5 boxes: 80% small, 20% medium, 0% large" in out
    assert "at most 2 in an image; images without a box: 1" in out
    assert "shorter side in px" in out


def test_check_names_problems_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = coco_content()
    content["annotations"].append({"id": 7, "image_id": 100, "category_id": 3, "bbox": [30, 20, -8, 5]})
    path = make_coco(tmp_path / "set", content)
    figure = tmp_path / "odd.png"
    assert main(["data", "check", f"coco:{path}", "--figure", str(figure)]) == 1
    out = capsys.readouterr().out
    assert "instances.json annotation 7: swapped corners: the box (30, 20) to (22, 25) of a.png" in out
    assert figure.stat().st_size > 10_000
    assert main(["data", "check", f"coco:{path}", "--json"]) == 1
    summary, *findings = map(json.loads, capsys.readouterr().out.splitlines())
    assert summary["boxes"]["num_boxes"] == 5
    assert summary["counts"] == {"all": {"cat": 3, "dog": 2}}
    assert "box problem" in {finding["kind"] for finding in findings}


@pytest.mark.parametrize("name", ["boxes.csv", "boxes:boxes.csv"])
def test_a_table_of_boxes_beside_its_images(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = make_csv(tmp_path / "images")
    table.rename(tmp_path / "boxes.csv")
    assert main(["data", "check", name, "--images", "images"]) == 0
    assert "5 boxes" in capsys.readouterr().out
    assert main(["data", "pack", name, "--images", "images", "--out", "packed"]) == 0
    assert main(["data", "check", "packed"]) == 0
    assert "packed: 4 packed images, 0 damaged" in capsys.readouterr().out


def test_convert_prints_commands_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_coco(tmp_path / "a set")
    assert main(["data", "convert", "coco:a set/instances.json", "my boxes", "--to", "csv", "--copy"]) == 0
    said = capsys.readouterr().err
    assert "wrote my boxes: 4 images, 5 boxes\n" in said
    hint = next(line for line in said.splitlines() if line.startswith("look at it: "))
    words = shlex.split(hint.removeprefix("look at it: ").partition(";")[0])
    assert words[:3] == ["twofold", "data", "check"]
    assert main(words[1:]) == 0


def test_a_set_without_boxes_says_where_they_were_looked_for(tmp_path: Path, fails: Callable[..., str]) -> None:
    draw_all(tmp_path / "images")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    line = fails(["data", "check", tmp_path])
    assert f"none of the 4 images of {tmp_path} has a box: boxes were looked for in {tmp_path / 'labels'}" in line
