"""Images with boxes, written in another format: COCO's JSON, Pascal VOC's XML, YOLO's text, or a table.

    convert_boxes(find_data("photos"), Path("photos-coco"), "coco")

The images are linked, or copied; those in memory, such as fashion-scenes, are written as PNG. What is read back is the
same to a thousandth of a pixel. What a format has no word for is lost, and said: YOLO has neither crowds nor areas, and
Pascal VOC has difficult objects in place of crowds and no areas. An unfinished folder has another name.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from xml.etree import ElementTree

import torch
import yaml
from PIL import Image

from twofold.data.images import MemoryImages, Part
from twofold.data.pixels import image_to_pil
from twofold.data.sources.found import FilePart, Found
from twofold.data.targets import BoxTargets
from twofold.errors import TwofoldError
from twofold.files import atomic_folder
from twofold.names import json_text, shown
from twofold.terminal import track

BoxFormat = Literal["coco", "voc", "yolo", "csv"]
BOX_FORMATS = get_args(BoxFormat)
_FOLDERS: dict[str, Callable[[str], str]] = {
    "coco": lambda split: "images" if split == "all" else split,
    "voc": lambda split: "JPEGImages",
    "yolo": lambda split: "images" if split == "all" else f"images/{split}",
    "csv": lambda split: "images",
}


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written: the folder, what to give as data, how many images and boxes, and lines on what was lost.

    `has_links` is whether the images are links to those that were converted.
    """

    out: Path
    data: str
    num_images: int
    num_boxes: int
    has_links: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Object:
    """A box of an image: its corners in pixels, the index of its class, whether it is a crowd, its area."""

    corners: tuple[float, ...]
    label: int
    crowd: bool
    area: float


@dataclass(frozen=True, slots=True)
class _Item:
    """An image to write: its split, its path in the new folder's images, its (height, width) and its objects."""

    split: str
    name: str
    size: tuple[int, int]
    objects: list[_Object]


def convert_boxes(
    found: Found[Any], out: Path, to: BoxFormat, *, copy: bool = False, show_progress: bool = True
) -> Converted:
    """Write images with boxes to a new folder.

    Args:
        found: what `find_data` found.
        out: the folder, which must not be there.
        to: the format.
        copy: copy the images; else the new folder has links to them.
        show_progress: draw progress.

    Raises:
        TwofoldError: the images have no boxes or are packed, or `out` is taken.
        RunError: it cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise TwofoldError(f"{out} is there already; give another folder")
    for part in found.splits.values():
        if not isinstance(part.targets, BoxTargets):
            raise TwofoldError(f"{found.source} has no boxes, but images for the task {part.targets.task!r}")
        if not isinstance(part, FilePart | MemoryImages):
            raise TwofoldError(f"{found.source} is packed; convert the folder that was packed")
    _check_words(found.class_names, to)
    names = _names(found.splits, flat=to in ("voc", "csv"))
    items: list[_Item] = []
    with atomic_folder(out) as temporary:
        for split, part in found.splits.items():
            folder = temporary / _FOLDERS[to](split)
            label = f"writing {split} images"
            rows = track(range(len(part)), total=len(part), label=label, enabled=show_progress)
            objects, sizes = _objects(part.targets), part.targets.sizes.tolist()
            for index in rows:
                _write_image(part, index, folder / names[split][index], copy=copy)
                size = (sizes[index][0], sizes[index][1])
                items.append(_Item(split, names[split][index], size, objects[index]))
        notes = _WRITERS[to](temporary, items, found.class_names)
    num_boxes = sum(len(item.objects) for item in items)
    data = str(out / "boxes.csv") if to == "csv" else str(out)
    has_links = not copy and any(isinstance(part, FilePart) for part in found.splits.values())
    return Converted(
        out=out, data=data, num_images=len(items), num_boxes=num_boxes, has_links=has_links, notes=tuple(notes)
    )


def _check_words(words: Sequence[str], to: BoxFormat) -> None:
    """Refuse names that the text of a format cannot hold."""
    if to in ("voc", "yolo") and (odd := [word for word in words if not word.isprintable() or word != word.strip()]):
        raise TwofoldError(
            f"the class {shown(odd[0])} has characters that {to} has no place for; rename it, or convert to coco"
        )


def _names(splits: Mapping[str, Part], *, flat: bool) -> dict[str, list[str]]:
    """Return the path of each image in the new folder: as below the folder that those of its split all lie in.

    With `flat`, all lie in one folder; so do those in folders called images, which readers of YOLO take for the one
    that labels/ stands for. No two have the same path up to the ending.
    """
    taken: set[str] = set()
    names: dict[str, list[str]] = {}
    for split, part in splits.items():
        if isinstance(part, FilePart):
            paths = [os.path.abspath(path) for path in part.paths]
            top = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
            wanted = [Path(os.path.relpath(path, top)).as_posix() for path in paths]
        else:
            wanted = [f"{index:06d}.png" for index in range(len(part))]
        names[split] = []
        for name in wanted:
            has_images = "images" in name.casefold().split("/")[:-1]
            stem, suffix = os.path.splitext(name.replace("/", "_") if flat or has_images else name)
            scope = "" if flat else f"{split} "
            number, unique = 1, stem
            while f"{scope}{unique}".casefold() in taken:
                number += 1
                unique = f"{stem}-{number}"
            taken.add(f"{scope}{unique}".casefold())
            names[split].append(unique + suffix)
    return names


def _objects(targets: BoxTargets) -> list[list[_Object]]:
    """Return the boxes of each image."""
    columns = (targets.boxes.tolist(), targets.labels.tolist(), targets.crowd.tolist(), targets.areas.tolist())
    rows = [_Object(tuple(corners), *rest) for corners, *rest in zip(*columns, strict=True)]
    ends = targets.counts.cumsum(0).tolist()
    return [rows[end - count : end] for end, count in zip(ends, targets.counts.tolist(), strict=True)]


def _write_image(part: Part, index: int, path: Path, *, copy: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(part, MemoryImages):
        image: Image.Image = image_to_pil(part.load(torch.tensor([index]))[0])
        image.save(path)
        return
    assert isinstance(part, FilePart)
    if copy:
        shutil.copyfile(part.paths[index], path)
    else:
        path.symlink_to(os.path.abspath(part.paths[index]))


def _write_coco(out: Path, items: Sequence[_Item], class_names: Sequence[str]) -> list[str]:
    (out / "annotations").mkdir()
    categories = [{"id": index, "name": name} for index, name in enumerate(class_names, 1)]
    number = 0
    for split in dict.fromkeys(item.split for item in items):
        images, annotations = [], []
        for key, item in enumerate((item for item in items if item.split == split), 1):
            images.append({"id": key, "file_name": item.name, "width": item.size[1], "height": item.size[0]})
            for each in item.objects:
                number += 1
                x1, y1, x2, y2 = each.corners
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": each.area, "iscrowd": int(each.crowd)}
                annotations.append({"id": number, "image_id": key, "category_id": each.label + 1, **box})
        content = {"images": images, "annotations": annotations, "categories": categories}
        name = "instances" if split == "all" else f"instances_{split}"
        (out / "annotations" / f"{name}.json").write_text(json_text(content), encoding="utf-8")
    return []


def _write_voc(out: Path, items: Sequence[_Item], class_names: Sequence[str]) -> list[str]:
    (out / "Annotations").mkdir()
    if odd := [item.name for item in items if not item.name.isprintable()]:
        raise TwofoldError(f"{shown(odd[0])} has characters that XML has no place for; rename it, or convert to coco")
    for item in items:
        stem = os.path.splitext(item.name)[0]
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = item.name
        sides = ElementTree.SubElement(root, "size")
        for name, side in (("width", item.size[1]), ("height", item.size[0]), ("depth", 3)):
            ElementTree.SubElement(sides, name).text = str(side)
        for each in item.objects:
            element = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(element, "name").text = class_names[each.label]
            ElementTree.SubElement(element, "difficult").text = str(int(each.crowd))
            bounds = ElementTree.SubElement(element, "bndbox")
            x1, y1, x2, y2 = each.corners
            # Counted from 1, the last pixel inside.
            for name, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
                ElementTree.SubElement(bounds, name).text = _decimal(value)
        ElementTree.indent(root)
        (out / "Annotations" / f"{stem}.xml").write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")
    if {item.split for item in items} != {"all"}:
        (out / "ImageSets" / "Main").mkdir(parents=True)
        for split in dict.fromkeys(item.split for item in items):
            stems = [os.path.splitext(item.name)[0] for item in items if item.split == split]
            (out / "ImageSets" / "Main" / f"{split}.txt").write_text(
                "".join(f"{stem}\n" for stem in stems), encoding="utf-8"
            )
    notes = [f"{count:,} crowds are written as difficult objects" for count in [_num_crowds(items)] if count]
    return notes + _classes_lost(items, class_names) + _areas_lost(items, "Pascal VOC")


def _write_yolo(out: Path, items: Sequence[_Item], class_names: Sequence[str]) -> list[str]:
    for item in items:
        folder = "labels" if item.split == "all" else f"labels/{item.split}"
        height, width = item.size
        lines = []
        for each in item.objects:
            if each.crowd:
                continue
            x1, y1, x2, y2 = each.corners
            values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{each.label} {' '.join(f'{value:.10f}' for value in values)}\n")
        path = out / folder / f"{os.path.splitext(item.name)[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))
    splits = list(dict.fromkeys(item.split for item in items))
    places = {split: f"images/{split}" for split in splits} if splits != ["all"] else {"train": "images"}
    content = places | {"nc": len(class_names), "names": dict(enumerate(class_names))}
    (out / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    crowds = _num_crowds(items)
    return [f"{crowds:,} crowds are left out: YOLO has none"] * bool(crowds) + _areas_lost(items, "YOLO")


def _write_csv(out: Path, items: Sequence[_Item], class_names: Sequence[str]) -> list[str]:
    has_splits = {item.split for item in items} != {"all"}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["image", "xmin", "ymin", "xmax", "ymax", "label", "crowd", "area", *["split"] * has_splits])
    for item in items:
        own = [item.split] * has_splits
        for each in item.objects:
            corners = [_decimal(value) for value in each.corners]
            writer.writerow(
                [f"images/{item.name}", *corners, class_names[each.label], int(each.crowd), _decimal(each.area), *own]
            )
        if not item.objects:
            writer.writerow([f"images/{item.name}", *[""] * 7, *own])
    (out / "boxes.csv").write_text(buffer.getvalue(), encoding="utf-8", errors="surrogateescape")
    return _classes_lost(items, class_names)


_WRITERS: dict[str, Callable[[Path, Sequence[_Item], Sequence[str]], list[str]]] = {
    "coco": _write_coco,
    "voc": _write_voc,
    "yolo": _write_yolo,
    "csv": _write_csv,
}


def _decimal(value: float) -> str:
    """Return a number of pixels without an exponent, whole where it is: some readers take nothing else."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _num_crowds(items: Sequence[_Item]) -> int:
    return sum(each.crowd for item in items for each in item.objects)


def _areas_lost(items: Sequence[_Item], name: str) -> list[str]:
    """Return a line on areas that are not those of the boxes, which a format without areas loses."""

    def own(each: _Object) -> float:
        x1, y1, x2, y2 = each.corners
        return (x2 - x1) * (y2 - y1)

    count = sum(abs(each.area - own(each)) > 1e-6 * max(1.0, own(each)) for item in items for each in item.objects)
    words = "area of an object is" if count == 1 else "areas of objects are"
    return [f"{count:,} {words} lost: {name} has only boxes"] if count else []


def _classes_lost(items: Sequence[_Item], class_names: Sequence[str]) -> list[str]:
    """Return a line on classes that no box names, in a format that has only the names of boxes."""
    unused = sorted(set(range(len(class_names))) - {each.label for item in items for each in item.objects})
    listed = ", ".join(shown(class_names[index]) for index in unused[:5]) + (", …" if len(unused) > 5 else "")
    return [f"classes without a box are lost: {listed}"] if unused else []
