"""What each format of boxes has of its own: data.yaml and its paths, VOC's difficult objects, labelme's shapes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from data.sources.boxed import (
    SCENES,
    SIZE,
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
from data.sources.test_boxes import boxes_by_image, found, problems
from twofold.errors import SettingError, TwofoldError


def splits(text: str | Path, **options) -> dict[str, list[str]]:
    parts = found(text, for_training=False, **options).splits
    return {split: sorted(Path(path).stem for path in part.paths) for split, part in parts.items()}


def test_cocos_own_layout(tmp_path: Path) -> None:
    content = coco_content()
    (tmp_path / "annotations").mkdir()
    for split, stems in (("train2017", "ab"), ("val2017", "cd")):
        images = [each for each in content["images"] if each["file_name"][0] in stems]
        for stem in stems:
            draw(tmp_path / split / f"{stem}.png", SCENES[stem])
        ids = {each["id"] for each in images}
        own = {"images": images, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]}
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(own | {"categories": content["categories"]}))
        # The captions and the poses of the same images lie beside.
        (tmp_path / "annotations" / f"captions_{split}.json").write_text(json.dumps({"images": images}))
    assert splits(tmp_path) == {"train": ["a", "b"], "val": ["c", "d"]}
    assert splits(f"coco:{tmp_path / 'annotations' / 'instances_val2017.json'}") == {"all": ["c", "d"]}
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    train = f"coco:{tmp_path / 'annotations' / 'instances_train2017.json'}"
    assert splits(train, images=tmp_path / "elsewhere") == {"all": ["a", "b"]}


def test_cocos_layout_of_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        make_coco(tmp_path / split)
        (tmp_path / split / "instances.json").rename(tmp_path / split / "_annotations.coco.json")
    assert splits(tmp_path) == {"train": ["a", "b", "c", "d"], "val": ["a", "b", "c", "d"]}


def test_coco_classes_are_numbered_by_their_ids_and_named_once(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"].insert(0, {"id": 90, "name": "never"})
    data = found(f"coco:{make_coco(tmp_path / 'a', content)}")
    assert data.class_names == ("dog", "cat", "never")
    assert "no training image has a box of never" in data.notes
    content["categories"][0]["name"] = "dog"
    ((kind, where, _),) = problems(f"coco:{make_coco(tmp_path / 'b', content)}", skip_broken=True)
    assert (kind, where) == ("same class twice", "instances.json category 3")


@pytest.mark.parametrize("content", ["[]", '{"images": 3}', '{"images": [], "annotations": [], "categories": []}', "{"])
def test_json_that_is_no_coco(tmp_path: Path, content: str) -> None:
    draw_all(tmp_path)
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(TwofoldError) as raised:
        found(f"coco:{tmp_path / 'a.json'}")
    assert str(tmp_path / "a.json") in str(raised.value)


@pytest.mark.parametrize(
    "yaml",
    [
        "path: ../datasets/pets  # of another machine\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
        "train: ../train/images\nval: ../images/val\nnames: ['cat', \"dog\"]\n",
        "train: [images/train]\nvalid: ./images/val/\nnc: 2\nnames:\n- cat\n- dog\n",
        "train: train.txt\nval: images/val\nnames: {1: dog, 0: cat}\n",
    ],
)
def test_data_yaml_as_tools_write_it(tmp_path: Path, yaml: str) -> None:
    make_yolo(tmp_path, splits=True)
    (tmp_path / "data.yaml").write_text(yaml)
    (tmp_path / "train.txt").write_text("./images/train/a.png\n./images/train/c.png\n")
    if "train/images" in yaml:
        for kind in ("images", "labels"):
            (tmp_path / "train").mkdir(exist_ok=True)
            shutil.move(tmp_path / kind / "train", tmp_path / "train" / kind)
    assert splits(f"yolo:{tmp_path / 'data.yaml'}") == {
        "train": ["a", "c"],
        "val": ["b", "d"],
    }
    assert found(tmp_path).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("names: [cat, cat]\n", "each once"),
        ("names: {0: cat, 2: dog}\n", "without gaps"),
        ("names: [[cat]]\n", "must be a list of names"),
        ("names: [cat\n", "is no YAML that can be read"),
        ("- cat\n", "is no data.yaml"),
        ("train: [{}]\nnames: [cat]\n", "must be a folder"),
        ("train: /etc\nnames: [cat]\n", "there is no /etc in"),
        ("train: ../../secret\nnames: [cat]\n", "there is no ../../secret in"),
    ],
)
def test_data_yaml_that_cannot_be_used(tmp_path: Path, yaml: str, words: str) -> None:
    make_yolo(tmp_path / "set")
    draw(tmp_path / "secret" / "a.png")
    (tmp_path / "set" / "data.yaml").write_text(yaml)
    with pytest.raises(TwofoldError, match=words) as raised:
        found(f"yolo:{tmp_path / 'set' / 'data.yaml'}")
    assert "\n" not in str(raised.value)


def test_yaml_words_stay_words(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [no, 1.10]\n")
    assert found(tmp_path).class_names == ("no", "1.10")


def test_yolo_without_names(tmp_path: Path) -> None:
    make_yolo(tmp_path, yaml=False)
    data = found(tmp_path)
    assert data.class_names == ("0", "1")
    assert "the classes have no names, only numbers: name them in classes.txt or data.yaml" in data.notes
    (tmp_path / "labels" / "classes.txt").write_text("cat\ndog\n\n")
    assert found(tmp_path).class_names == ("cat", "dog")


def test_yolo_polygons_and_wrong_lines(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    lines = "0 0.1 0.2 0.5 0.2 0.5 0.8\n1 0.5 0.5 0.2\n\n2 0.5 0.5 0.1 0.1 0.9\n5 0.5 0.5 0.1 0.1\nx 0.5 0.5 0.1 0.1\n"
    (tmp_path / "a.txt").write_text(lines)
    (tmp_path / "gone.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "notes.txt").write_text("taken in May\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog, cow]\n")
    told = [(kind, where) for kind, where, _ in problems(tmp_path)]
    assert told == [
        ("no box", "a.txt line 2"),
        ("no box", "a.txt line 4"),
        ("unknown class", "a.txt line 5"),
        ("not a number", "a.txt line 6"),
        ("annotation without image", "gone.txt"),
    ]
    ((label, box),) = boxes_by_image(found(tmp_path, skip_broken=True))["a"]
    assert label == "cat"
    assert box == pytest.approx((4, 6, 20, 24))


def test_yolo_labels_that_are_no_text_leave_their_image_out(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "labels" / "a.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n\xff\xfe\x00")
    ((kind, where, message),) = problems(tmp_path)
    assert (kind, where, message) == ("unread file", "labels/a.txt", "is no text")
    assert boxes_by_image(found(tmp_path, skip_broken=True)).keys() == {"b", "c", "d"}


def test_a_folder_of_labels_that_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_yolo(tmp_path)
    scan = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("labels"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(TwofoldError, match="cannot open the folder .*labels: Permission denied"):
        found(f"yolo:{tmp_path}")


def test_yolo_with_one_folder_for_both_splits(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    data = found(tmp_path)
    assert data.splits.keys() == {"train"}
    assert data.notes[0] == "data.yaml names images for train and val: it is train"


def test_voc_beside_the_images_and_in_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for stem, boxes in SCENES.items():
            draw(tmp_path / split / f"{stem}.png", boxes)
            (tmp_path / split / f"{stem}.xml").write_text(voc_xml(f"{stem}.png", boxes))
    assert splits(tmp_path) == {"train": ["a", "b", "c", "d"], "val": ["a", "b", "c", "d"]}


def test_names_in_voc_image_sets_may_have_spaces(tmp_path: Path) -> None:
    root = make_voc(tmp_path, sets=False)
    for stem, name in {"a": "my photo 1", "b": "my photo"}.items():
        (root / "JPEGImages" / f"{stem}.png").rename(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{stem}.xml").unlink()
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(f"{name}.png", SCENES[stem]))
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("c  1\nd -1\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("my photo 1\nmy photo  0\n")
    assert splits(root) == {"train": ["c", "d"], "val": ["my photo", "my photo 1"]}


@pytest.mark.parametrize("path", ["/media/disk/photos/a.png", "../raw/a.png", r"C:\photos\a.png"])
def test_paths_of_the_machine_that_wrote_them_do_no_harm(tmp_path: Path, path: str) -> None:
    labelme, voc = make_labelme(tmp_path / "labelme"), make_voc(tmp_path / "voc", sets=False)
    content = json.loads((labelme / "a.json").read_text())
    (labelme / "a.json").write_text(json.dumps(content | {"imagePath": path}))
    (voc / "Annotations" / "a.xml").write_text(voc_xml(path, SCENES["a"]))
    for root in (labelme, voc):
        assert boxes_by_image(found(root))["a"] == boxes_by_image(found(make_csv(tmp_path / f"csv{root.name}")))["a"]


def test_voc_difficult_objects_are_crowds(tmp_path: Path) -> None:
    make_voc(tmp_path, sets=False)
    path = tmp_path / "Annotations" / "a.xml"
    path.write_text(voc_xml("a.png", SCENES["a"], extra="<difficult>1</difficult>"))
    data = found(tmp_path)
    assert data.splits["all"].targets.crowd.tolist() == [True, True, False, False, False]
    assert data.notes[0] == "2 difficult objects are taken for crowds: not trained on, and not counted"


def test_voc_image_sets(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "VOCdevkit" / "VOC2007")
    (root / "ImageSets" / "Main" / "val.txt").write_text("c\nz\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("x\ny\n")
    ((kind, where, _),) = problems(tmp_path)
    assert (kind, where) == ("missing annotation", "ImageSets/Main val z")
    data = found(tmp_path, skip_broken=True)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 2, "val": 1}
    assert "the 2 images of test have no annotations and are not used" in data.notes
    assert "1 image is in no image set and is not used" in data.notes
    make_voc(tmp_path / "VOCdevkit" / "VOC2012")
    with pytest.raises(TwofoldError, match=r"holds several data sets; give voc:.*VOC2007 or voc:.*VOC2012"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares a document type"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>', "declares a document type"),
        ("<annotation>" * 60, "is nested too deeply"),
        ("<annotation><object>", "is no XML that can be read"),
        ("<svg/>", "is no annotation of Pascal VOC, but <svg>"),
        (voc_xml("../../secret.png", SCENES["a"]), "lies outside of"),
        (voc_xml("nothing.png", SCENES["a"]).replace("annotation>", "annotations>"), "is no annotation"),
    ],
)
def test_voc_files_that_cannot_be_used(tmp_path: Path, content: str, words: str) -> None:
    root = make_voc(tmp_path / "in" / "set", sets=False)
    draw(tmp_path / "secret.png")
    (root / "JPEGImages" / "a.png").rename(root / "JPEGImages" / "other.png")
    (root / "Annotations" / "a.xml").write_text(content)
    ((_, where, message),) = problems(root)
    assert where == "Annotations/a.xml"
    assert words in message
    assert boxes_by_image(found(root, skip_broken=True)).keys() == {"b", "c", "d"}


def test_labelme_shapes(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.png")
    shapes = [
        {"label": "cat", "points": [[9, 9], [1, 2]], "shape_type": "rectangle"},
        {"label": "cat", "points": [[1, 1], [20, 3], [10, 25]], "shape_type": "polygon"},
        {"label": "dog", "points": [[10, 10], [13, 14]], "shape_type": "circle"},
        {"label": "dog", "points": [[10, 10]], "shape_type": "point"},
    ]
    sides = {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
    (tmp_path / "json").mkdir()
    content = {"shapes": shapes, "imagePath": "..\\images\\a.png", **sides}
    (tmp_path / "json" / "a.json").write_text(json.dumps(content))
    data = found(f"labelme:{tmp_path}")
    assert [box for _, box in boxes_by_image(data)["a"]] == [(1, 2, 9, 9), (1, 1, 20, 25), (5, 5, 15, 15)]
    assert "1 shape without area (points and lines) left out" in data.notes


def test_labelme_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    parts = [
        ("cat", 7, (1, 2, 9, 9)),
        ("cat", 7, (12, 4, 20, 8)),
        ("dog", 7, (3, 3, 6, 6)),
        ("cat", None, (1, 1, 4, 4)),
    ]
    parts += [("cat", None, (2, 2, 5, 5))]
    shapes = [
        {"label": label, "group_id": group, "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"}
        for label, group, (x1, y1, x2, y2) in parts
    ]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    data = found(tmp_path)
    assert boxes_by_image(data)["a"] == [
        ("cat", (1, 2, 20, 9)),
        ("dog", (3, 3, 6, 6)),
        ("cat", (1, 1, 4, 4)),
        ("cat", (2, 2, 5, 5)),
    ]
    assert "1 shape belongs to an object that has another shape, by its group_id" in data.notes


def test_labelme_files_with_the_image_before_the_shapes(tmp_path: Path) -> None:
    root = make_labelme(tmp_path)
    for path in root.glob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({"imageData": "A" * 100_000, **content, "imagePath": content["imagePath"]}))
    assert boxes_by_image(found(root)).keys() == boxes_by_image(found(f"labelme:{root}")).keys() == set("abcd")


def test_labelme_files_that_cannot_be_used(tmp_path: Path) -> None:
    root = make_labelme(tmp_path / "set")
    draw(tmp_path / "outside.png")
    (root / "a.png").rename(root / "other.png")
    (root / "a.json").write_text('{"shapes": [], "imagePath": "../outside.png"}')
    (root / "b.json").write_text('{"shapes": [1, {"label": 3}, {"label": "cat", "points": [[1, 2], 3]}]}')
    (root / "c.json").write_text('{"shapes": [')
    kinds = [(kind, where) for kind, where, _ in problems(root)]
    assert kinds == [
        ("missing image", "a.json"),
        ("wrong type", "b.json shape 1"),
        ("unknown class", "b.json shape 2"),
        ("no box", "b.json shape 3"),
        ("unread file", "c.json"),
    ]


def test_a_table_of_boxes_with_splits_crowds_and_areas(tmp_path: Path) -> None:
    draw_all(tmp_path)
    rows = ["image,xmin,ymin,xmax,ymax,label,split,iscrowd,area", "a.png,1,2,9,9,cat,train,0,20.5"]
    rows += ["a.png,1,2,30,30,cat,train,1,", "b.png,1,1,5,5,dog,val,0,"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    data = found(tmp_path / "boxes.csv")
    targets = data.splits["train"].targets
    assert targets.crowd.tolist() == [False, True]
    assert targets.areas.tolist() == [20.5, 29 * 28]
    assert torch.equal(data.splits["val"].targets.boxes, torch.tensor([[1.0, 1, 5, 5]], dtype=torch.float64))


def test_a_table_of_boxes_with_wrong_rows(tmp_path: Path) -> None:
    path = make_csv(tmp_path)
    more = [
        "gone.png,40,30,cat,1,2,3,4",
        "gone.png,40,30,cat,1,2,3,9",
        "a.png,40,30,,1,2,3,9",
        "a.png,40,30,cat,,2,3,9",
    ]
    path.write_text(path.read_text() + "\n".join(more))
    told = [(kind, where) for kind, where, _ in problems(path)]
    assert told == [("missing image", "row 8"), ("unknown class", "row 10"), ("not a number", "row 11")]


def test_columns_of_a_table_of_boxes(tmp_path: Path) -> None:
    path = make_csv(tmp_path)
    path.write_text(path.read_text().replace("filename", "foto").replace("class", "kind"))
    with pytest.raises(SettingError, match="no column is named as one with images"):
        found(path)
    assert boxes_by_image(found(path, columns={"image": "foto", "label": "kind"})).keys() == SCENES.keys()
    with pytest.raises(SettingError, match="has no such column"):
        found(path, columns={"image": "photo", "label": "kind"})
    with pytest.raises(TwofoldError, match="has no columns with boxes"):
        (tmp_path / "classes.csv").write_text("image,label\na.png,cat\n")
        found(f"boxes:{tmp_path / 'classes.csv'}")


@pytest.mark.parametrize("text", ["coco:gone.json", "voc:", "boxes:gone.csv"])
def test_a_format_without_its_file(text: str) -> None:
    with pytest.raises(TwofoldError, match=r"no such file or folder|lacks a file or folder"):
        found(text)


def test_flat_pairs_of_yolo(tmp_path: Path) -> None:
    draw_all(tmp_path)
    for stem, boxes in SCENES.items():
        (tmp_path / f"{stem}.txt").write_text(yolo_text(boxes))
    assert boxes_by_image(found(tmp_path)).keys() == SCENES.keys()
