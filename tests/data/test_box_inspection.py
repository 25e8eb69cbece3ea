"""`twofold data check` of images with boxes: what is said of them, and what is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.sources.boxed import coco_content, draw, make_coco, make_voc, make_yolo
from twofold.data.box_inspection import ODD_BOXES, BoxInspection, inspect_boxes
from twofold.data.sources.boxes_find import count_by_split, list_boxes
from twofold.figures.odd_images import draw_odd_images


def inspect(text: str | Path) -> BoxInspection:
    listing = list_boxes(str(text))
    assert listing is not None
    return inspect_boxes(listing, show_progress=False)


def test_sound_boxes_are_counted_and_measured(tmp_path: Path) -> None:
    found = inspect(make_voc(tmp_path))
    assert found.counts == {"train": {"cat": 1, "dog": 2}, "val": {"cat": 2, "dog": 0}}
    boxes = found.boxes
    assert (boxes.num_boxes, boxes.num_crowds, boxes.num_without, boxes.most) == (5, 0, 1, 2)
    # Of the areas 100, 432, 1200, 130.6 and 126 px one is from 32² on.
    assert boxes.shares == {"small": 0.8, "medium": 0.2, "large": 0.0}
    assert boxes.shorter_side[::4] == (9, 30)
    assert boxes.aspect_ratio[::4] == pytest.approx((9 / 14, 4 / 3))
    assert boxes.part_of_image[4] == 1
    assert not found.has_broken
    assert found.num_files == found.num_readable == 4


def test_coco_areas_decide_what_is_small(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["area"] = 5000.0
    content["annotations"][1]["area"] = 9216.0
    shares = inspect(f"coco:{make_coco(tmp_path, content)}").boxes.shares
    assert shares == {"small": 0.6, "medium": 0.2, "large": 0.2}


def test_what_training_refuses_is_a_finding(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"].append({"id": 99, "name": "never"})
    content["annotations"] += [
        {"id": 7, "image_id": 100, "category_id": 3, "bbox": [30, 20, -8, 5]},
        {"id": 8, "image_id": 101, "category_id": 3, "bbox": [100, 0, 5, 5]},
    ]
    path = make_coco(tmp_path, content)
    (tmp_path / "d.png").write_bytes(b"no image")
    found = inspect(f"coco:{path}")
    assert found.has_broken
    assert [finding.paths for finding in found.of("broken file")] == [("d.png",)]
    kinds = [finding.message.partition(":")[0] for finding in found.of("box problem")]
    assert kinds == ["swapped corners", "box outside the image"]
    assert [finding.paths for finding in found.of("class imbalance")] == [("never",)]
    problems = found.odd["problem boxes"]
    assert [(each.path, each.message) for each in problems] == [
        ("a.png", "swapped corners"),
        ("b.png", "box outside the image"),
    ]
    assert [each.boxes[each.marked[0]] for each in problems] == [(30, 20, 22, 25), (100, 0, 105, 5)]


def test_the_odd_ones_are_found_and_drawn(tmp_path: Path) -> None:
    root = make_yolo(tmp_path / "set")
    draw(root / "images" / "long.png", [("cat", (0, 10, 40, 12))])
    (root / "labels" / "long.txt").write_text("0 0.5 0.3666666667 1 0.0666666667\n")
    found = inspect(root)
    assert found.odd["smallest boxes"][0].path == found.odd["longest boxes"][0].path == "images/long.png"
    assert found.odd["largest boxes"][0].path == "images/b.png"
    assert [each.message for each in found.odd["most boxes"]] == ["2 boxes", "2 boxes"]
    figure = draw_odd_images(found)
    words = [text.get_text() for text in figure.texts]
    assert [kind for kind in ODD_BOXES if kind in words] == [kind for kind in ODD_BOXES if kind != "problem boxes"]
    frames = [len(axes.patches) for axes in figure.axes]
    # Each box is two frames, of a colour and of white.
    num_drawn = sum(len(each.boxes) for kind in found.odd.values() for each in kind)
    assert sum(frames) == 2 * num_drawn > 0


def test_images_are_counted_by_split_without_being_opened(tmp_path: Path) -> None:
    root = make_yolo(tmp_path, splits=True)
    for path in (root / "images").rglob("*.png"):
        path.write_bytes(b"")
    assert count_by_split(str(root), None, None) == {"train": 2, "val": 2}
    assert count_by_split(str(root / "labels"), None, None) is None
