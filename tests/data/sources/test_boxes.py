"""Boxes from any format: the same targets, the same checks, every problem named by file and box."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.sources.boxed import (
    SCENES,
    coco_content,
    draw,
    draw_all,
    make_coco,
    make_csv,
    make_labelme,
    make_voc,
    make_yolo,
    voc_xml,
    yolo_text,
)
from twofold.data import BoxTargets, DataError, load_data
from twofold.data.sources.boxes import open_boxes
from twofold.data.sources.boxes_find import list_boxes, recognised
from twofold.data.sources.find import find_data
from twofold.data.sources.found import Found

MAKERS: dict[str, Callable[[Path], Path]] = {
    "coco": make_coco,
    "voc": make_voc,
    "yolo": make_yolo,
    "labelme": make_labelme,
    "boxes": make_csv,
}


def found(text: str | Path, **options: Any) -> Found:
    return find_data(str(text), show_progress=False, **options)


def boxes_by_image(data: Found) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """Return the boxes of each image by the name of its file."""
    result = {}
    for part in data.splits.values():
        for index, path in enumerate(part.paths):
            own = part.targets.take(torch.tensor([index]))
            labels = [data.class_names[label] for label in own.labels.tolist()]
            result[Path(path).stem] = [*zip(labels, map(tuple, own.boxes.tolist()), strict=True)]
    return result


def problems(text: str | Path, **options: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(DataError) as raised:
        found(text, **options)
    return [(each.kind, each.path, each.message) for each in raised.value.problems]


@pytest.mark.parametrize("name", MAKERS)
def test_every_format_gives_the_same_boxes(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / "set")
    said = found(f"{name}:{path}")
    assert set(said.class_names) == {"cat", "dog"}
    read = boxes_by_image(said)
    assert read.keys() == SCENES.keys()
    for stem, boxes in SCENES.items():
        assert [label for label, _ in read[stem]] == [label for label, _ in boxes]
        np.testing.assert_allclose([own for _, own in read[stem]], [own for _, own in boxes], atol=1e-9)
    looked = found(path if name == "boxes" else tmp_path / "set")
    assert boxes_by_image(looked) == read
    assert looked.splits.keys() == said.splits.keys()
    sizes = torch.cat([part.targets.sizes for part in said.splits.values()])
    assert sizes.tolist() == [[30, 40]] * 4


@pytest.mark.parametrize("name", MAKERS)
def test_the_boxes_lie_on_what_was_drawn(tmp_path: Path, name: str) -> None:
    """An off-by-one would take a pixel of the background in, or leave one of the rectangle out."""
    path = MAKERS[name](tmp_path / "set")
    data = found(f"{name}:{path}")
    for part in data.splits.values():
        for index, image_path in enumerate(part.paths):
            if Path(image_path).stem not in "ab":
                continue
            pixels = np.asarray(Image.open(image_path))
            is_drawn = (pixels != 220).any(axis=2)
            for x1, y1, x2, y2 in part.targets.take(torch.tensor([index])).boxes.round().int().tolist():
                assert is_drawn[y1:y2, x1:x2].all()
                assert is_drawn[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1].sum() == (y2 - y1) * (x2 - x1)


def test_a_table_with_widths(tmp_path: Path) -> None:
    widths = found(make_csv(tmp_path / "widths", corners=False))
    assert boxes_by_image(widths) == boxes_by_image(found(make_csv(tmp_path / "corners")))


def test_the_data_load_stretched_with_a_split_of_their_own(tmp_path: Path) -> None:
    make_yolo(tmp_path, splits=True)
    data = load_data(str(tmp_path), image_size=16, show_progress=False)
    assert data.spec.resize == "stretch"
    assert data.val is not None
    assert (len(data.train), len(data.val)) == (2, 2)
    assert isinstance(data.train.targets, BoxTargets)
    drawn = load_data(f"coco:{make_coco(tmp_path / 'coco')}", image_size=16, val_fraction=0.3, show_progress=False)
    assert drawn.val is not None
    assert len(drawn.train) + len(drawn.val) == 4


def test_coco_agrees_with_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    dice = np.random.default_rng(0)
    content = coco_content()
    for number, annotation in enumerate(content["annotations"]):
        corner, size = dice.uniform(0, 15, 2), dice.uniform(1, 12, 2)
        annotation |= {"bbox": [*corner, *size], "area": float(dice.uniform(1, 100)), "iscrowd": number % 2}
    path = make_coco(tmp_path, content)
    oracle = COCO(str(path))
    part = found(f"coco:{path}").splits["all"]
    for index, image_path in enumerate(part.paths):
        (image,) = [each for each in oracle.dataset["images"] if each["file_name"] == Path(image_path).name]
        truth = oracle.loadAnns(oracle.getAnnIds(imgIds=image["id"]))
        own = part.targets.take(torch.tensor([index]))
        corners = [(x, y, x + w, y + h) for x, y, w, h in (each["bbox"] for each in truth)]
        np.testing.assert_allclose(own.boxes.numpy().reshape(-1, 4), np.reshape(corners, (-1, 4)), atol=1e-12)
        assert own.areas.tolist() == [each["area"] for each in truth]
        assert own.crowd.tolist() == [bool(each["iscrowd"]) for each in truth]
        ids = sorted(oracle.getCatIds())
        assert own.labels.tolist() == [ids.index(each["category_id"]) for each in truth]


# What is wrong, by what is changed in COCO's annotation of one box, and the kind that it is named by.
WRONG_BOXES = {
    "box without area": {"bbox": [5, 5, 0, 4]},
    "swapped corners": {"bbox": [5, 5, -3, 4]},
    "box outside the image": {"bbox": [41, 5, 3, 4]},
    "not a number": {"bbox": [float("nan"), 5, 3, 4]},
    "unknown class": {"category_id": 4},
    "annotation without image": {"image_id": 7},
    "no box": {"bbox": [1, 2, 3]},
    "wrong unit": {"bbox": [0.1, 0.2, 0.3, 0.4]},
    "duplicate box": {"bbox": [20, 5, 18, 24]},
}


@pytest.mark.parametrize("kind", WRONG_BOXES)
def test_a_wrong_box_is_named_and_left_out(tmp_path: Path, kind: str) -> None:
    content = coco_content()
    added = {"id": 77, "image_id": 100, "category_id": 3, "area": 1.0, "iscrowd": 0} | WRONG_BOXES[kind]
    content["annotations"].append(added)
    path = make_coco(tmp_path, content)
    ((told, where, message),) = problems(f"coco:{path}")
    assert told == kind
    assert where.startswith("instances.json")
    assert "annotation 77" in where
    assert "\n" not in message
    left = found(f"coco:{path}", skip_broken=True)
    assert boxes_by_image(left).keys() == SCENES.keys()
    assert len(left.splits["all"].targets.boxes) == 5
    assert any(note.startswith(f"skipped 1 × {kind} (instances.json") for note in left.notes)


@pytest.mark.parametrize("field", ["bbox", "area", "iscrowd", "category_id", "image_id", "id"])
def test_values_of_any_type_in_coco(tmp_path: Path, field: str) -> None:
    path = make_coco(tmp_path)
    for value in ("12", None, True, [1], {}, float("inf"), 10**400, -(10**30), "9" * 5000):
        content = coco_content()
        content["annotations"][0][field] = [value, 1, 2, 3] if field == "bbox" else value
        path.write_text(json.dumps(content))
        try:
            found(f"coco:{path}")
        except DataError as error:
            assert all("\n" not in line and len(line) < 300 for line in error.lines)
            assert len(error.problems) == 1


def test_images_that_are_missing_broken_or_listed_twice(tmp_path: Path) -> None:
    content = coco_content()
    content["images"] += [
        {"id": 1, "file_name": "gone.png"},
        {"id": 2, "file_name": "../outside.png"},
        {"id": 3, "file_name": "a.png"},
        {"id": 100, "file_name": "b.png"},
    ]
    draw(tmp_path / "outside.png")
    path = make_coco(tmp_path / "set", content)
    (tmp_path / "set" / "d.png").write_bytes(b"\x89PNG no more")
    told = {kind: message for kind, _, message in problems(f"coco:{path}")}
    assert told.keys() == {"missing image", "image listed twice", "broken image"}
    kinds = [kind for kind, _, _ in problems(f"coco:{path}")]
    assert kinds.count("missing image") == kinds.count("image listed twice") == 2
    messages = [message for _, _, message in problems(f"coco:{path}")]
    assert any("../outside.png lies outside" in message for message in messages)
    assert boxes_by_image(found(f"coco:{path}", skip_broken=True)).keys() == {"a", "b", "c"}


def test_images_in_two_splits(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("c\nd\na\n")
    ((kind, _, message),) = problems(tmp_path)
    assert (kind, message) == ("image in two splits", "JPEGImages/a.png is in train and in val")


def test_boxes_that_stick_out_are_cut_off_and_counted(tmp_path: Path) -> None:
    content = coco_content({"a": [("cat", (-4, 3, 12, 33)), ("dog", (30, 5, 40.5, 20))]})
    data = found(f"coco:{make_coco(tmp_path, content)}")
    assert data.splits["all"].targets.boxes.tolist() == [[0, 3, 12, 30], [30, 5, 40, 20]]
    assert data.notes[0].startswith("1 box sticks out of the image and is cut off at its edges (instances.json")


def test_a_size_that_only_the_stored_pixels_have(tmp_path: Path) -> None:
    make_voc(tmp_path, sets=False)
    path = tmp_path / "JPEGImages" / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    ((kind, where, message),) = problems(tmp_path)
    assert (kind, where) == ("wrong size", "Annotations/a.xml")
    assert "which its EXIF orientation turns" in message
    (tmp_path / "Annotations" / "b.xml").write_text(voc_xml("b.png", SCENES["b"], size=(80, 60)))
    told = problems(tmp_path)
    assert told[1][2] == "says that JPEGImages/b.png has 80 x 60 px, but it has 40 x 30 px"


@pytest.mark.parametrize("name", MAKERS)
def test_a_data_set_without_a_single_box(tmp_path: Path, name: str) -> None:
    root = draw_all(tmp_path / "set" / "images")
    if name == "coco":
        content = coco_content() | {"annotations": []}
        (root / "instances.json").write_text(json.dumps(content))
        text, words = root / "instances.json", "instances.json, in annotations"
    elif name == "voc":
        (root / "a.xml").write_text(voc_xml("a.png", []))
        text, words = root, "in <object>"
    elif name == "yolo":
        (root / "data.yaml").write_text("names: [cat]\n")
        text, words = tmp_path / "set", str(tmp_path / "set" / "labels")
    elif name == "labelme":
        (root / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.png"}))
        text, words = root, "in shapes"
    else:
        (root / "boxes.csv").write_text("image,x1,y1,x2,y2,label\na.png,,,,,\n")
        text, words = root / "boxes.csv", "the columns x1, y1, x2, y2"
    ((kind, _, message),) = problems(f"{name}:{text}")
    assert kind == "no boxes"
    assert words in message


@pytest.mark.parametrize(
    ("factor", "words"), [(100, "as percent or pixels are"), (1000, "as pixels are")], ids=["percent", "pixels"]
)
def test_a_whole_set_of_labels_in_another_unit(tmp_path: Path, factor: float, words: str) -> None:
    make_yolo(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{c} {' '.join(str(float(v) * factor) for v in rest)}\n" for c, *rest in rows))
    ((kind, _, message),) = problems(tmp_path, skip_broken=True)
    assert kind == "wrong unit"
    assert words in message


def test_fractions_taken_for_pixels(tmp_path: Path) -> None:
    scenes = {stem: [(n, tuple(v / 50 for v in box)) for n, box in boxes] for stem, boxes in SCENES.items()}
    ((kind, _, message),) = problems(f"coco:{make_coco(tmp_path, coco_content(scenes))}", skip_broken=True)
    assert kind == "wrong unit"
    assert "at most 1, as fractions are" in message


def test_pixels_that_may_be_percent_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", size=(300, 260))
    rows = [f"a.png,{x},{x},{x + 20},{x + 30},cat\n" for x in range(0, 70, 7)]
    (tmp_path / "boxes.csv").write_text("image,x1,y1,x2,y2,label\n" + "".join(rows))
    assert "if they are percent" in found(tmp_path / "boxes.csv").notes[0]


def test_evaluation_alone_and_no_training_images(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").unlink()
    assert found(tmp_path, for_training=False).splits.keys() == {"val"}
    ((kind, _, message),) = problems(tmp_path)
    assert kind == "no training images"
    assert f"twofold eval RUN --data voc:{tmp_path}" in message


def test_the_fingerprint_follows_boxes_images_and_splits_alone(tmp_path: Path) -> None:
    content = coco_content()
    first = found(f"coco:{make_coco(tmp_path / 'a', content)}").fingerprint
    assert found(f"coco:{make_coco(tmp_path / 'b', content)}").fingerprint == first
    content["annotations"][0]["bbox"][0] += 0.5
    assert found(f"coco:{make_coco(tmp_path / 'c', content)}").fingerprint != first


def test_a_json_or_yaml_file_needs_no_prefix(tmp_path: Path) -> None:
    path, root = make_coco(tmp_path / "coco"), make_yolo(tmp_path / "yolo")
    assert found(path).fingerprint == found(f"coco:{path}").fingerprint
    assert found(path, images=tmp_path / "coco").fingerprint == found(path).fingerprint
    assert found(root / "data.yaml").class_names == ("cat", "dog")


def test_formats_are_recognised_and_others_left_alone(tmp_path: Path) -> None:
    for name, make in MAKERS.items():
        make(tmp_path / name)
        assert recognised(tmp_path / name) == (None if name == "boxes" else name)
    flat = tmp_path / "flat"
    draw(flat / "a.png")
    (flat / "a.txt").write_text(yolo_text(SCENES["a"]))
    assert recognised(flat) == "yolo"
    captions = tmp_path / "captions"
    draw(captions / "a.png")
    (captions / "a.txt").write_text("a cat on a mat\n")
    (captions / "captions.json").write_text(json.dumps({"images": [{"id": 1}], "annotations": [{"caption": "a cat"}]}))
    assert recognised(captions) is None
    classes = tmp_path / "classes"
    draw(classes / "cat" / "a.png")
    draw(classes / "dog" / "a.png")
    (classes / "dog" / "a.json").write_text(json.dumps({"shapes": []}))
    assert recognised(classes) is None
    assert list_boxes(str(classes)) is None


def test_a_listing_is_checked_without_progress_and_twice_the_same(tmp_path: Path) -> None:
    make_voc(tmp_path)
    both = []
    for _ in range(2):
        listing = list_boxes(str(tmp_path))
        assert listing is not None
        both.append(open_boxes(listing, show_progress=False))
    assert both[0].fingerprint == both[1].fingerprint
