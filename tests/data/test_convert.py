"""Boxes from each format to each other and back: the same to a thousandth of a pixel, and what is lost is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.sources.boxed import SCENES, coco_content, draw, make_coco, make_csv, make_labelme, make_voc, make_yolo
from twofold.data import pack_folder
from twofold.data.convert import BOX_FORMATS, convert_boxes
from twofold.data.sources.find import find_data
from twofold.data.sources.found import Found
from twofold.data.sources.pack import PackOptions
from twofold.errors import TwofoldError

SOURCES = {
    "coco": lambda root: f"coco:{make_coco(root)}",
    "voc": make_voc,
    "yolo": lambda root: make_yolo(root, splits=True),
    "labelme": make_labelme,
    "csv": make_csv,
}


def found(text: str | Path) -> Found:
    return find_data(str(text), show_progress=False)


def contents(data: Found) -> dict[tuple[str, str], list[tuple]]:
    """Return the boxes of each image, by split (all and train are the same to train on) and name."""
    result = {}
    for split, part in data.splits.items():
        for index in range(len(part)):
            own = part.targets.take(torch.tensor([index]))
            labels = [data.class_names[label] for label in own.labels.tolist()]
            rows = zip(labels, own.boxes.tolist(), own.crowd.tolist(), strict=True)
            result["train" if split == "all" else split, Path(part.describe(index)).stem] = list(rows)
    return result


def same(one: dict, other: dict, *, crowds: bool = True) -> None:
    assert one.keys() == other.keys()
    for key, rows in one.items():
        kept = [row for row in rows if crowds or not row[2]]
        assert [(label, crowd) for label, _, crowd in kept] == [(label, crowd) for label, _, crowd in other[key]]
        np.testing.assert_allclose([row[1] for row in kept], [row[1] for row in other[key]], atol=1e-3)


@pytest.mark.parametrize("to", BOX_FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_there_and_back(tmp_path: Path, source: str, to: str) -> None:
    before = found(SOURCES[source](tmp_path / "set"))
    result = convert_boxes(before, tmp_path / "out", to, show_progress=False)
    after = found(result.data)
    same(contents(before), contents(after), crowds=to != "yolo")
    assert (result.num_images, result.num_boxes, result.has_links) == (4, 5, True)
    assert set(after.class_names) == {"cat", "dog"}
    back = convert_boxes(after, tmp_path / "back", "coco", show_progress=False)
    same(contents(after), contents(found(back.data)))
    assert not list(tmp_path.glob(".*"))


def test_areas_and_crowds_where_the_format_has_them(tmp_path: Path) -> None:
    before = found(f"coco:{make_coco(tmp_path / 'set')}")
    areas = before.splits["all"].targets.areas
    for to in ("coco", "csv"):
        result = convert_boxes(before, tmp_path / to, to, show_progress=False)
        assert result.notes == ()
        after = found(result.data)
        assert torch.allclose(after.splits["all"].targets.areas, areas, atol=1e-5)
    assert convert_boxes(before, tmp_path / "yolo", "yolo", show_progress=False).notes == (
        "1 crowds are left out: YOLO has none",
        "5 areas of objects are lost: YOLO has only boxes",
    )
    assert convert_boxes(before, tmp_path / "voc", "voc", show_progress=False).notes[0] == (
        "1 crowds are written as difficult objects"
    )


def test_copies_links_and_images_in_memory(tmp_path: Path) -> None:
    before = found(make_voc(tmp_path / "set"))
    convert_boxes(before, tmp_path / "links", "yolo", show_progress=False)
    convert_boxes(before, tmp_path / "copies", "yolo", copy=True, show_progress=False)
    for name, is_link in (("links", True), ("copies", False)):
        path = tmp_path / name / "images" / "train" / "a.png"
        assert path.is_symlink() == is_link
        assert path.read_bytes() == (tmp_path / "set" / "JPEGImages" / "a.png").read_bytes()
    scenes = found("fashion-scenes?train=3&test=2&side=64")
    result = convert_boxes(scenes, tmp_path / "scenes", "coco", show_progress=False)
    after = found(result.data)
    assert not result.has_links
    assert after.class_names == scenes.class_names
    for split in ("train", "test"):
        assert torch.equal(after.splits[split].targets.boxes, scenes.splits[split].targets.boxes)
        pixels = np.asarray(after.splits[split].decoded(0))
        assert np.array_equal(pixels, scenes.splits[split].images[0, 0].numpy())


def test_images_of_one_name_stay_apart(tmp_path: Path) -> None:
    content = coco_content()
    for number, name in enumerate(("x/a.png", "x_a.png", "x/a.jpg", "y/a.png")):
        draw(tmp_path / "set" / name)
        content["images"][number]["file_name"] = name
    path = tmp_path / "set" / "instances.json"
    path.write_text(json.dumps(content))
    before = found(f"coco:{path}")
    for to in BOX_FORMATS:
        after = found(convert_boxes(before, tmp_path / to, to, copy=True, show_progress=False).data)
        assert len(after.splits.get("all", after.splits.get("train"))) == 4
        own = sorted(after.splits.get("all", after.splits.get("train")).targets.boxes.tolist())
        crowds = [(21, 6, 30, 20)] if to == "yolo" else []
        wanted = sorted([*box] for boxes in SCENES.values() for _, box in boxes if box not in crowds)
        np.testing.assert_allclose(own, wanted, atol=1e-3)


@pytest.mark.parametrize("to", BOX_FORMATS)
def test_images_in_odd_places_come_back(tmp_path: Path, to: str) -> None:
    content = coco_content()
    places = {"a": "b1/images/a.png", "b": "images/b.png", "c": "my photo 1.png", "d": "x/Images/y/d.png"}
    for image in content["images"]:
        stem = Path(image["file_name"]).stem
        image["file_name"] = places[stem]
        draw(tmp_path / "set" / places[stem], SCENES[stem])
    (tmp_path / "set" / "instances.json").write_text(json.dumps(content))
    before = found(f"coco:{tmp_path / 'set'}")
    after = found(convert_boxes(before, tmp_path / "out", to, show_progress=False).data)
    of_stems = {key[1][-1]: rows for key, rows in contents(after).items()}
    same({key[1][-1]: rows for key, rows in contents(before).items()}, of_stems, crowds=to != "yolo")


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    before = found(make_voc(tmp_path / "set"))
    with pytest.raises(TwofoldError, match="is there already"):
        convert_boxes(before, tmp_path / "set", "coco", show_progress=False)
    with pytest.raises(TwofoldError, match="has no boxes, but images for the task 'classify'"):
        convert_boxes(found("fashion-mini"), tmp_path / "out", "coco", show_progress=False)
    pack_folder(tmp_path / "set", tmp_path / "packed", PackOptions(), show_progress=False)
    with pytest.raises(TwofoldError, match="is packed; convert the folder that was packed"):
        convert_boxes(found(tmp_path / "packed"), tmp_path / "out", "coco", show_progress=False)
    content = coco_content()
    content["categories"][0]["name"] = "cat\x1b[2J"
    odd = found(f"coco:{make_coco(tmp_path / 'odd', content)}")
    for to in ("voc", "yolo"):
        with pytest.raises(TwofoldError, match=r"the class cat\\x1b\[2J has characters that"):
            convert_boxes(odd, tmp_path / "out", to, show_progress=False)
    assert found(convert_boxes(odd, tmp_path / "out", "coco", show_progress=False).data).class_names[0] == "cat\x1b[2J"
