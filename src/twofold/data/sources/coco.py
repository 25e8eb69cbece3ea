"""COCO's instances: one JSON file a split, with lists of images, categories and annotations (Lin et al., 2014).

    list_coco(Path("coco"))                        # annotations/instances_*.json beside the images
    list_coco(Path("instances.json"), Path("photos"))

A `bbox` is x, y, width, height in pixels from the upper left corner; `area` is that of the object's outline, which
decides whether it is small, medium or large; `iscrowd` marks a region of many objects. The ids of categories have gaps:
classes are numbered in their order. Images without annotations are images without objects.
"""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from twofold.data.sources.boxes_listing import (
    Box,
    BoxedImage,
    BoxListing,
    as_number,
    briefly,
    read_corners,
    records,
    split_of,
)
from twofold.data.sources.listing import ImageFile
from twofold.data.sources.problems import single_error
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.names import shown, shown_short

_SPLIT_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:id|ing|idation)?(?:[^a-z]|$)")
_ANNOTATION_FOLDERS = ("annotations", "annotation", "annos", "labels")
_NUM_TRIED = 20
_BEGINNING = re.compile(rb"(\xef\xbb\xbf)?\s*\{")
_LIST = re.compile(rb'"(images|annotations|categories)"\s{0,9}:\s{0,9}\[')
_NO_ANNOTATIONS = re.compile(rb'"annotations"\s{0,9}:\s{0,9}\[\s{0,9}\]')


def coco_files(root: Path) -> list[Path]:
    """Return the files in a folder that look like COCO's, those called instances_* alone where there are any."""
    places = [root, *(root / name for name in _folders(root) if _may_hold(name))]
    found = [path for place in places for path in sorted(place.glob("*.json")) if looks_like_coco(path)]
    instances = [path for path in found if path.name.startswith("instances_")]
    return instances or found


def looks_like_coco(path: Path) -> bool:
    """Return whether a JSON file begins as COCO's do and has boxes, or no annotation at all.

    Files of the same form say the classes or the captions of images.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
            if _BEGINNING.match(start) is None or _LIST.search(start) is None:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(b'"bbox"') >= 0 or _NO_ANNOTATIONS.search(content) is not None
    except (OSError, ValueError):
        return False


def list_coco(path: Path, images: Path | None = None) -> BoxListing:
    """Return the images that COCO's files list, with their boxes.

    Args:
        path: a JSON file, or the folder of one or more, a split each.
        images: the folder of the images; looked for beside the file if left out.

    Raises:
        TwofoldError: a file cannot be read or is not COCO's, or there are no images.
    """
    files = coco_files(path) if path.is_dir() else [path]
    if not files:
        raise single_error("no annotations", str(path), f"{path} has no JSON file such as annotations/instances_*.json")
    base = path if path.is_dir() else _base(path)
    names = ", ".join(shown(os.path.relpath(file, base)) for file in files)
    listing = BoxListing(path, images or base, f"coco:{path}", f"{names}, in annotations", class_names=[])
    indices: dict[Path, ImageIndex] = {}
    splits = [_split(file) for file in files] if path.is_dir() else ["all"]
    if set(splits) != {"all"}:
        splits = ["train" if split == "all" else split for split in splits]
    for file, split in zip(files, splits, strict=True):
        content = read_json(file)
        if not isinstance(content, dict):
            raise TwofoldError(f"{file} is not COCO's: it must be an object with images, categories and annotations")
        if not content.get("annotations") and len(files) > 1:
            listing.notes.append(f"{file.name} has no annotations and is not used")
            continue
        where = Path(os.path.relpath(file, base)).as_posix()
        folder = images or _images_folder(file, content)
        if folder not in indices:
            indices[folder] = ImageIndex(folder, file)
        _read(listing, where, content, split, indices[folder], listing.folder)
    return listing


def _folders(root: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        return []


def _may_hold(name: str) -> bool:
    return name.lower() in _ANNOTATION_FOLDERS or split_of(f"{name}/") is not None


def _base(file: Path) -> Path:
    """Return the folder of a data set, by one of its files."""
    return file.parent.parent if file.absolute().parent.name.lower() in _ANNOTATION_FOLDERS else file.parent


def _split(file: Path) -> str:
    if (found := _SPLIT_IN_NAME.search(file.stem.lower())) is not None:
        return found[1]
    return split_of(f"{file.absolute().parent.name}/x") or "all"


def _images_folder(file: Path, content: dict[str, Any]) -> Path:
    """Return the folder in which most of the first images are, of those where people put them."""
    base = _base(file)
    word = file.stem.removeprefix("instances_")
    images = content.get("images")
    first = images[:_NUM_TRIED] if isinstance(images, list) else []
    named = [record.get("file_name") for record in first if isinstance(record, dict)]
    names = [name for name in named if isinstance(name, str) and "\0" not in name and len(name) < 1000]
    short = dict.fromkeys(("", word, _split(file), "images", f"images/{word}", f"images/{_split(file)}", "JPEGImages"))
    places = [file.parent, *(base / name for name in short)]
    counts = [sum(os.path.isfile(place / name) for name in names) for place in places]
    return places[counts.index(max(counts))] if any(counts) else base


def _read(listing: BoxListing, where: str, content: dict[str, Any], split: str, index: ImageIndex, root: Path) -> None:
    inside = os.path.relpath(index.folder, root)
    start = "" if inside == "." else f"{Path(inside).as_posix()}/"
    names = _categories(listing, where, content)
    images: dict[Any, BoxedImage | None] = {}
    for number, record in records(listing, where, content.get("images"), "image"):
        key, name = record.get("id", None), record.get("file_name")
        place = f"{where} image {_id(key, number)}"
        if not _is_id(key) or not isinstance(name, str) or not name:
            listing.report("wrong type", place, "needs an id and a file_name")
        elif key in images:
            listing.report("image listed twice", place, "has the id of another image")
        elif isinstance(file := index.find(name), ImageFile):
            size = (as_number(record.get("height")), as_number(record.get("width")))
            known = None if None in size or 0 in size else (int(size[0] or 0), int(size[1] or 0))
            file = replace(file, relative=f"{start}{file.relative}")
            images[key] = BoxedImage(file, split, place, size=known)
        else:
            images[key] = None
            listing.report("missing image", place, f"{shown_short(name)} {file}")
    for number, record in records(listing, where, content.get("annotations"), "annotation"):
        key = record.get("image_id")
        place = f"{where} annotation {_id(record.get('id'), number)}"
        if not _is_id(key) or key not in images:
            listing.report("annotation without image", place, f"is of an image {briefly(key)}, which is not listed")
        elif (image := images[key]) is not None and (box := _box(listing, place, record, names)) is not None:
            image.boxes.append(box)
    for image in images.values():
        if image is not None:
            listing.images.append(image)


def _categories(listing: BoxListing, where: str, content: dict[str, Any]) -> dict[Any, str]:
    """Return the name of each category by its id, and add those that are new to the listing's, in order of ids."""
    names: dict[Any, str] = {}
    for number, record in records(listing, where, content.get("categories"), "category"):
        key, name = record.get("id"), record.get("name")
        place = f"{where} category {_id(key, number)}"
        if not _is_id(key) or not isinstance(name, str) or not name:
            listing.report("wrong type", place, "needs an id and a name", skippable=False)
        elif key in names or name in names.values():
            what = "id" if key in names else "name"
            listing.report("same class twice", place, f"has the {what} of another category", skippable=False)
            names.setdefault(key, name)
        else:
            names[key] = name
    assert listing.class_names is not None
    ordered = sorted(names, key=lambda key: (isinstance(key, str), key))  # numbers first
    listing.class_names += [names[key] for key in ordered if names[key] not in listing.class_names]
    return names


def _box(listing: BoxListing, place: str, record: dict[str, Any], names: dict[Any, str]) -> Box | None:
    category, bbox = record.get("category_id"), record.get("bbox")
    if not _is_id(category) or category not in names:
        listing.report("unknown class", place, f"is of a category {briefly(category)}, which is not listed")
        return None
    if not isinstance(bbox, list) or len(bbox) != 4:
        listing.report("no box", place, "needs a bbox of four numbers: x, y, width, height")
        return None
    if (numbers := read_corners(listing, place, bbox)) is None:
        return None
    if any(isinstance(value, str) for value in bbox):
        listing.report("not a number", place, "has a text where a number is expected")
        return None
    said = record.get("area")
    area = 0.0 if said is None else as_number(said)
    if area is None or area < 0:
        listing.report("not a number", place, f"has {briefly(said)} for its area")
        return None
    x, y, width, height = numbers
    corners = (x, y, x + width, y + height)
    return Box(corners, names[category], place, record.get("iscrowd") in (1, True), area or None)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _id(value: Any, number: int) -> str:
    """Return an id to be read by a person, or which one in its list has none."""
    return briefly(value).strip("'") if _is_id(value) else f"number {number}"
