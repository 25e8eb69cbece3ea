"""A detector from files with boxes: trained on every format and on a pack alike, evaluated, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.sources.boxed import SCENES, draw, make_voc, make_yolo, yolo_text
from twofold.cli.main import main
from twofold.data import PackOptions, load_data, pack_folder
from twofold.data.convert import convert_boxes
from twofold.data.sources.find import find_data
from twofold.engine.finetune import finetune_epochs
from twofold.engine.recipe import Recipe
from twofold.errors import SettingError

FEW = (
    "--epochs",
    "1",
    "--image-size",
    "64",
    "--batch-size",
    "4",
    "--model-options",
    "width",
    "0.25",
    "--precision",
    "float32",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images in YOLO's layout, with images to validate on."""
    root = tmp_path_factory.mktemp("scenes") / "set"
    for number in range(4):
        for split in ("train", "val"):
            for stem, boxes in SCENES.items():
                draw(root / "images" / split / f"{stem}{number}.png", boxes)
                path = root / "labels" / split / f"{stem}{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(yolo_text(boxes))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def losses(run: Path) -> list[float]:
    """Return the loss of each step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "step"]


def test_folder_pack_and_conversion_train_the_same(scenes: Path, tmp_path: Path) -> None:
    pack_folder(scenes, tmp_path / "packed", PackOptions(), show_progress=False)
    found = find_data(str(scenes), show_progress=False)
    convert_boxes(found, tmp_path / "coco", "coco", show_progress=False)
    results = []
    for data in (scenes, tmp_path / "packed", tmp_path / "coco"):
        arguments = ["train", "ssd-mini", "--data", data, *FEW, "--out", tmp_path / "runs", "--name", data.name]
        assert main([str(each) for each in (*arguments, "--quiet")]) == 0
        results.append(losses(tmp_path / "runs" / data.name))
    assert results[0] == results[1]
    assert len(results[0]) == 4
    # The ids of classes follow the same names; corners differ by roundings.
    assert results[2] == pytest.approx(results[0], rel=1e-2)
    assert main(["eval", str(tmp_path / "runs" / "set"), "--data", str(tmp_path / "coco"), "--quiet"]) == 0


def test_a_network_for_classes_is_refused_boxes(scenes: Path, fails) -> None:
    line = fails(["train", "lenet-bn", "--data", scenes, "--epochs", "1"])
    assert "the images of set have boxes, and --model lenet-bn classifies; choose ssd-mini, ssd, ssd300" in line


def test_what_a_recipe_knows_of_boxes_before_it_starts(scenes: Path, tmp_path: Path) -> None:
    def check(data: Path | str) -> None:
        Recipe(model="ssd-mini", data=str(data), patience=2, val_fraction=0.0).check_data()

    check(scenes)
    check(f"yolo:{scenes / 'data.yaml'}")
    check(make_voc(tmp_path / "voc"))
    check("voc2007")
    with pytest.raises(SettingError, match="patience=2 needs validation images"):
        check(make_yolo(tmp_path / "yolo"))
    assert finetune_epochs(str(scenes)) == finetune_epochs(f"yolo:{scenes / 'data.yaml'}") == 100
    assert finetune_epochs("coco") == 5


def test_the_epochs_of_fine_tuning_follow_the_training_images_in_every_format(tmp_path: Path) -> None:
    stem = next(iter(SCENES))
    draw(tmp_path / "a.png", SCENES[stem])
    for split, count in (("train", 300), ("val", 20)):
        for kind in ("images", "labels"):
            (tmp_path / "yolo" / kind / split).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "yolo" / "images" / split / f"{number}.png").hardlink_to(tmp_path / "a.png")
            (tmp_path / "yolo" / "labels" / split / f"{number}.txt").write_text(yolo_text(SCENES[stem]))
    (tmp_path / "yolo" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    found = find_data(str(tmp_path / "yolo"), show_progress=False)
    for form in ("coco", "voc", "csv"):
        convert_boxes(found, tmp_path / form, form, show_progress=False)
    pack_folder(tmp_path / "yolo", tmp_path / "packed", PackOptions(), show_progress=False)
    files = {"yolo": "yolo/data.yaml", "coco": "coco/annotations/instances_train.json", "boxes": "csv/boxes.csv"}
    found_by_looking = ("yolo", "coco", "voc", "packed", *files.values())
    said = [("yolo", "yolo"), ("coco", "coco"), ("voc", "voc"), *files.items()]
    for data in (
        *(tmp_path / name for name in found_by_looking),
        *(f"{form}:{tmp_path / name}" for form, name in said),
    ):
        assert finetune_epochs(str(data)) == 80, data  # 1,500 steps of 16 images


def test_strata_hold_out_the_same_part_of_each_class(tmp_path: Path) -> None:
    for number in range(20):
        stem = "ab"[number % 2]
        draw(tmp_path / "images" / f"{number}.png", SCENES[stem])
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{number}.txt").write_text(yolo_text(SCENES[stem]))
    data = load_data(str(tmp_path), val_fraction=0.2, image_size=32, show_progress=False)
    assert data.val is not None
    assert (len(data.train), len(data.val)) == (16, 4)
    assert data.val.targets.has(2).sum(dim=0).tolist() == [2, 4]
