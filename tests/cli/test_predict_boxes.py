"""What `twofold predict` prints and draws of objects: lines, CSV, JSON, COCO's result form, images with boxes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import twofold
from twofold.cli.main import main
from twofold.tasks.predictions import DetectionPrediction

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def found(detector_run: Path, scenes: Path) -> dict[str, DetectionPrediction]:
    """What the detector says of each scene, by its path; only the best eight objects of each are shown."""
    predictor = twofold.load(detector_run, device="cpu")
    paths = [str(path) for path in sorted(scenes.iterdir())]
    predictions = dict(zip(paths, predictor.predict_many(paths), strict=True))
    return {path: one.only(threshold=0.01, top=8) for path, one in predictions.items()}  # type: ignore[attr-defined]


def lines(words: list[object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out.splitlines()


def test_csv_has_a_row_an_object_and_one_for_an_image_without_any(
    detector_run: Path, scenes: Path, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", detector_run, scenes, "--csv", "--top", 8]
    rows = list(csv.DictReader(lines([*words, "--threshold", 0.01], capsys)))
    assert list(rows[0]) == ["path", "class", "probability", "x1", "y1", "x2", "y2"]
    expected = [(path, *one) for path, prediction in found.items() for one in prediction.objects]
    assert len(rows) == len(expected) > 8
    for row, (path, name, probability, box) in zip(rows, expected, strict=True):
        assert (row["path"], row["class"]) == (path, name)
        assert float(row["probability"]) == pytest.approx(probability, abs=1e-5)
        assert [float(row[side]) for side in ("x1", "y1", "x2", "y2")] == pytest.approx(list(box), abs=0.011)
    assert lines([*words, "--threshold", 1], capsys)[1:] == [f"{path},,,,,," for path in found]


def test_the_table_can_be_read_as_boxes(
    detector_run: Path, scenes: Path, found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from twofold.data.sources.boxes_csv import list_boxes_csv

    table = tmp_path / "found.csv"
    text = lines(["predict", detector_run, scenes, "--csv", "--threshold", 0.01, "--top", 8], capsys)
    table.write_text("\n".join([*text, f"{scenes / 'scene 2.png'},,,,,,"]))
    listing = list_boxes_csv(table, scenes)
    assert sorted(len(image.boxes) for image in listing.images) == sorted(len(one.objects) for one in found.values())


def test_json_and_lines_say_the_same(
    detector_run: Path, scenes: Path, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", detector_run, scenes, "--threshold", 0.01, "--top", 2]
    records = [json.loads(line) for line in lines([*words, "--json"], capsys)]
    plain = lines(words, capsys)
    for path, record, line in zip(found, records, plain, strict=True):
        best = found[path].only(top=2)
        assert record == {"path": path, **best.to_record()}
        assert [each["class"] for each in record["objects"]] == [part.rpartition(" ")[0].rpartition(" ")[0]
                for part in line.split("\t")[1:]]  # fmt: skip
    assert (records[0]["width"], records[0]["height"]) == (128, 64)


def test_coco_results_number_images_and_classes_in_their_order(
    detector_run: Path, scenes: Path, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = lines(["predict", detector_run, scenes, "--coco", "--threshold", 0.01, "--top", 8], capsys)
    names = twofold.load(detector_run, device="cpu").spec.class_names
    results = json.loads(line)
    expected = [(path, *one) for path, prediction in found.items() for one in prediction.objects]
    for result, (path, name, probability, (x1, y1, x2, y2)) in zip(results, expected, strict=True):
        assert result["image_id"] == list(found).index(path) + 1
        assert (result["file_name"], result["category_name"]) == (path, name)
        assert result["category_id"] == names.index(name) + 1
        assert result["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.011)
        assert result["score"] == pytest.approx(probability, abs=1e-5)


def annotations(names: tuple[str, ...], files: list[str]) -> dict[str, Any]:
    """A file of COCO's annotations whose ids have gaps, as COCO's own do."""
    return {
        "images": [{"id": 1000 + 7 * k, "file_name": file, "height": 64, "width": 64} for k, file in enumerate(files)],
        "categories": [{"id": 3 * k + 5, "name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": 1, "image_id": 1000, "category_id": 5, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
        ],
    }  # fmt: skip


def test_with_the_ids_of_annotations_pycocotools_reads_them(
    detector_run: Path,
    scenes: Path,
    found: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pycocotools.coco import COCO

    names = twofold.load(detector_run, device="cpu").spec.class_names
    file = tmp_path / "instances.json"
    files = [f"{scenes.name}/{Path(path).name}" for path in found]
    file.write_text(json.dumps(annotations(tuple(reversed(names)), files)))
    words = ["predict", detector_run, scenes, "--coco", "--coco-ids", file, "--threshold", 0.01, "--top", 8]
    (line,) = lines(words, capsys)
    results = json.loads(line)
    assert {result["image_id"] for result in results} == {1000, 1007, 1014}
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    best = next(iter(found.values())).objects[0]
    assert results[0]["category_id"] == 3 * (len(names) - 1 - names.index(best[0])) + 5
    read = COCO(str(file)).loadRes(results)
    assert len(read.getAnnIds()) == len(results)


def test_ids_that_do_not_fit_are_refused_in_a_line(
    detector_run: Path, scenes: Path, found: dict[str, Any], tmp_path: Path, fails: Fails
) -> None:
    names = twofold.load(detector_run, device="cpu").spec.class_names
    file = tmp_path / "instances.json"
    words = ["predict", detector_run, scenes, "--coco", "--coco-ids", file]
    files = [Path(path).name for path in found]
    for content, message in (
        (None, f"--coco-ids {file}: "),
        ([], "is no file of COCO's annotations: it has no images or no categories"),
        ({"images": [{"id": "x", "file_name": 3}], "categories": {}}, "is no file of COCO's annotations"),
        (annotations(names, files[1:]), f"has no image {next(iter(found))}"),
        (annotations(names[1:], files), f"has no category {names[0]!r}, which the network knows"),
    ):
        if content is not None:
            file.write_text(json.dumps(content))
        assert message in fails(words)
    assert "--coco-ids" in fails(["predict", detector_run, scenes, "--coco-ids", file])
    assert "--json and --coco exclude each other" in fails(["predict", detector_run, scenes, "--coco", "--json"])


def test_boxes_are_drawn_into_each_image_of_a_folder(
    detector_run: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("L", (32, 32), 90).save(other / "scene 0.jpg")
    drawn = tmp_path / "drawn"
    words = ["predict", str(detector_run), str(scenes), str(other), "--threshold", "0.01", "--top", "3"]
    assert main([*words, "--figure", str(drawn)]) == 0
    assert f"wrote 4 images to {drawn}" in capsys.readouterr().err.splitlines()
    sizes = {path.name: pixels(path).shape[:2] for path in drawn.iterdir()}
    assert sizes == {
        "scene 0.png": (320, 640), "scene 1.png": (640, 640), "scene 2.png": (640, 640), "scene 0-2.png": (640, 640)
    }  # fmt: skip
    # Grey scenes have colour now: that of boxes.
    drawing = pixels(drawn / "scene 1.png")
    assert abs(drawing[..., 0] - drawing[..., 2]).max() > 60


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_nothing_is_drawn_over_what_is_looked_at(
    detector_run: Path, scenes: Path, tmp_path: Path, fails: Fails
) -> None:
    before = {path: path.read_bytes() for path in scenes.iterdir()}
    first = next(iter(sorted(before)))
    assert "would be written over" in fails(["predict", detector_run, scenes, "--figure", scenes])
    assert "would be written over" in fails(["predict", detector_run, first, "--figure", first])
    assert "give a folder" in fails(["predict", detector_run, scenes, "--figure", tmp_path / "a.png"])
    assert "must end in .png, .svg, .pdf" in fails(["predict", detector_run, first, "--figure", tmp_path / "a.tiff"])
    assert "no folder" in fails(["predict", detector_run, first, "--figure", tmp_path / "no" / "such"])
    assert {path: path.read_bytes() for path in scenes.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "0.5"], "--threshold 0.5 is for detectors, and this network gives each image one class"),
        (["--coco"], "--coco is for detectors"),
        (["--figure", "boxes.png"], "--figure boxes.png is for detectors"),
        (["--threshold", "1.5"], "--threshold is a probability, from 0 to 1, got 1.5"),
    ],
)
def test_a_classifier_refuses_what_is_about_boxes(
    words: list[str], said: str, run: Path, boot: Path, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in fails(["predict", run, boot, *words])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_images_is_asked_for_image_files(detector_run: Path, fails: Fails, tmp_path: Path) -> None:
    line = fails(["predict", detector_run, tmp_path])
    assert f"{tmp_path} holds no images that can be read; put PNG, JPEG," in line
    assert line.endswith("files into it")
