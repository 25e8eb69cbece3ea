"""Small images with drawn rectangles, and the files that say where these are, in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

Boxes = Sequence[tuple[str, tuple[float, float, float, float]]]

SIZE = (40, 30)
# Of each image its boxes as edges in pixels; the last image shows nothing.
SCENES: dict[str, Boxes] = {
    "a": [("cat", (2, 3, 12, 13)), ("dog", (20, 5, 38, 29))],
    "b": [("dog", (0, 0, 40, 30))],
    "c": [("cat", (5.5, 6.25, 15, 20)), ("cat", (21, 6, 30, 20))],
    "d": [],
}
COLOURS = {"cat": (200, 60, 40), "dog": (30, 90, 200)}


def draw(path: Path, boxes: Boxes = (), size: tuple[int, int] = SIZE) -> Path:
    """Write an image of `size` (width, height) in which each box is filled with the colour of its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (220, 220, 220))
    for label, (x1, y1, x2, y2) in boxes:
        ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLOURS.get(label, (0, 0, 0)))
    image.save(path)
    return path


def draw_all(folder: Path) -> Path:
    for stem, boxes in SCENES.items():
        draw(folder / f"{stem}.png", boxes)
    return folder


def coco_content(scenes: dict[str, Boxes] | None = None) -> dict:
    """COCO's form, with ids that have gaps and are in another order than the names."""
    scenes = SCENES if scenes is None else scenes
    ids = {"dog": 3, "cat": 18}
    images = [
        {"id": 100 + number, "file_name": f"{stem}.png", "width": SIZE[0], "height": SIZE[1]}
        for number, stem in enumerate(scenes)
    ]
    annotations = [
        {
            "id": 1000 + 10 * number + index,
            "image_id": 100 + number,
            "category_id": ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1) * 0.75,
            "iscrowd": int(stem == "c" and index == 1),
        }
        for number, (stem, boxes) in enumerate(scenes.items())
        for index, (label, (x1, y1, x2, y2)) in enumerate(boxes)
    ]
    categories = [{"id": value, "name": name} for name, value in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_coco(root: Path, content: dict | None = None) -> Path:
    """Return a JSON file whose images lie beside it."""
    draw_all(root)
    path = root / "instances.json"
    path.write_text(json.dumps(coco_content() if content is None else content))
    return path


def voc_xml(name: str, boxes: Boxes, size: tuple[int, int] = SIZE, extra: str = "") -> str:
    objects = "".join(
        f"<object><name>{label}</name>{extra}<bndbox><xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin>"
        f"<xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in boxes
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{sides}{objects}</annotation>"


def make_voc(root: Path, *, sets: bool = True) -> Path:
    draw_all(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for stem, boxes in SCENES.items():
        (root / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.png", boxes))
    if sets:
        (root / "ImageSets" / "Main").mkdir(parents=True)
        for split, stems in {"train": "a\nb\n", "val": "c\nd\n"}.items():
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)
        (root / "ImageSets" / "Main" / "cat_train.txt").write_text("a 1\nb -1\n")
    return root


def yolo_text(boxes: Boxes, names: Sequence[str] = ("cat", "dog"), size: tuple[int, int] = SIZE) -> str:
    return "".join(
        f"{names.index(label)} {(x1 + x2) / 2 / size[0]!r} {(y1 + y2) / 2 / size[1]!r} "
        f"{(x2 - x1) / size[0]!r} {(y2 - y1) / size[1]!r}\n"
        for label, (x1, y1, x2, y2) in boxes
    )


def make_yolo(root: Path, *, splits: bool = False, yaml: bool = True) -> Path:
    for number, (stem, boxes) in enumerate(SCENES.items()):
        inner = ("train", "val")[number % 2] if splits else "."
        draw(root / "images" / inner / f"{stem}.png", boxes)
        (root / "labels" / inner).mkdir(parents=True, exist_ok=True)
        if boxes:
            (root / "labels" / inner / f"{stem}.txt").write_text(yolo_text(boxes))
    if yaml:
        places = "train: images/train\nval: images/val\n" if splits else ""
        (root / "data.yaml").write_text(f"{places}nc: 2\nnames:\n  0: cat\n  1: dog\n")
    return root


def make_labelme(root: Path) -> Path:
    draw_all(root)
    for stem, boxes in SCENES.items():
        shapes = [
            {"label": label, "points": [[x2, y1], [x1, y2]], "shape_type": "rectangle", "flags": {}}
            for label, (x1, y1, x2, y2) in boxes
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
        (root / f"{stem}.json").write_text(json.dumps(content | {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}))
    return root


def make_csv(root: Path, *, corners: bool = True) -> Path:
    draw_all(root)
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax" if corners else "path,x,y,w,h,label"]
    for stem, boxes in SCENES.items():
        for label, (x1, y1, x2, y2) in boxes:
            lines.append(
                f"{stem}.png,40,30,{label},{x1},{y1},{x2},{y2}"
                if corners
                else f"{stem}.png,{x1},{y1},{x2 - x1},{y2 - y1},{label}"
            )
        if not boxes:
            lines.append(f"{stem}.png,40,30,,,,," if corners else f"{stem}.png,,,,,")
    path = root / "boxes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
