"""labelme's annotations: a JSON file an image, of which the shapes are taken (Wada, labelme).

    list_labelme(Path("photos"))                   # 1.json beside 1.jpg

A rectangle is two corners in any order; a polygon, a circle or a mask is the box around it. Points and lines have no
area and are left out. Shapes with the same label and group_id are parts of one object, as a car behind a tree. Images
that are only in the JSON file, as text, are not read.
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
    files_below,
    read_corners,
    records,
    without_suffix,
)
from twofold.data.sources.problems import single_error
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.names import shown, shown_short

_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_SHAPES = re.compile(rb'"shapes"\s*:')


def list_labelme(path: Path, images: Path | None = None) -> BoxListing:
    """Return the images of labelme's files in a folder, with their boxes.

    Args:
        path: the folder with the JSON files.
        images: the folder of the images; `path` if left out.

    Raises:
        TwofoldError: there are no such files, or no images.
    """
    texts = [name for name in files_below(path, ".json") if looks_like_labelme(path / name)]
    if not texts:
        raise single_error("no annotations", str(path), f"{path} has no JSON files of labelme's, with shapes")
    index = ImageIndex(images or path, path / texts[0])
    listing = BoxListing(path, images or path, f"labelme:{path}", f"{shown(str(path))}, in shapes")
    without_area = merged = 0
    for text in texts:
        try:
            content = read_json(path / text)
        except TwofoldError as error:
            listing.report("unread file", text, str(error).removeprefix(f"{path / text} "))
            continue
        if not isinstance(content, dict):
            listing.report("wrong type", text, "is no JSON object")
            continue
        if isinstance(image := _image(text, content, index), str):
            listing.report("missing image", text, image)
            continue
        counted = _take_shapes(listing, image, text, content)
        without_area, merged = without_area + counted[0], merged + counted[1]
        listing.images.append(image)
    listing.split_by_folders()
    if without_area:
        noun = "shape" if without_area == 1 else "shapes"
        listing.notes.append(f"{without_area:,} {noun} without area (points and lines) left out")
    if merged:
        noun = "shape belongs" if merged == 1 else "shapes belong"
        listing.notes.append(f"{merged:,} {noun} to an object that has another shape, by its group_id")
    if unused := len(index.files) - len({image.file.path for image in listing.images}):
        noun = "image has" if unused == 1 else "images have"
        listing.notes.append(f"{unused:,} {noun} no annotation and {'is' if unused == 1 else 'are'} not used")
    return listing


def _take_shapes(listing: BoxListing, image: BoxedImage, text: str, content: dict[str, Any]) -> tuple[int, int]:
    """Add the boxes of a file to its image; return how many shapes have no area, and how many belong to another."""
    without_area = merged = 0
    groups: dict[tuple[str, int | str], int] = {}
    for number, shape in records(listing, text, content.get("shapes"), "shape"):
        if shape.get("shape_type") in _WITHOUT_AREA:
            without_area += 1
            continue
        if (box := _box(listing, f"{text} shape {number}", shape)) is None:
            continue
        group = shape.get("group_id")
        place = groups.setdefault((box.label, group), len(image.boxes)) if isinstance(group, int | str) else None
        if place is None or place == len(image.boxes):
            image.boxes.append(box)
        else:
            image.boxes[place] = _around(image.boxes[place], box)
            merged += 1
    return without_area, merged


def looks_like_labelme(path: Path) -> bool:
    """Return whether a JSON file is an object with shapes; some tools write those behind the image's bytes."""
    try:
        with path.open("rb") as file:
            if not file.read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _SHAPES.search(content) is not None
    except (OSError, ValueError):
        return False


def _around(one: Box, other: Box) -> Box:
    """Return the box around two of one object."""
    x1, y1, x2, y2 = zip(one.corners, other.corners, strict=True)
    return replace(one, corners=(min(x1), min(y1), max(x2), max(y2)))


def _image(text: str, content: dict[str, Any], index: ImageIndex) -> BoxedImage | str:
    """Return the image of a file, or why there is none."""
    named = content.get("imagePath")
    folder, stem = os.path.split(without_suffix(text))
    name = named.replace("\\", "/") if isinstance(named, str) and named else ""
    file = index.find_first(filter(None, (name and os.path.join(folder, name), os.path.join(folder, stem))))
    if isinstance(file, str):
        return f"{shown_short(name)} {file}"
    sides = (as_number(content.get("imageHeight")), as_number(content.get("imageWidth")))
    size = (int(sides[0] or 0), int(sides[1] or 0))
    return BoxedImage(file, "", text, size=None if 0 in size else size)


def _box(listing: BoxListing, where: str, shape: dict[str, Any]) -> Box | None:
    label, points, kind = shape.get("label"), shape.get("points"), shape.get("shape_type")
    if not isinstance(label, str) or not label.strip():
        listing.report("unknown class", where, "has no label")
        return None
    if not isinstance(points, list) or len(points) < 2 or not all(isinstance(p, list) and len(p) == 2 for p in points):
        listing.report("no box", where, "needs two points or more, each of x and y")
        return None
    if (values := read_corners(listing, where, [value for point in points for value in point])) is None:
        return None
    xs, ys = values[::2], values[1::2]
    corners = (min(xs), min(ys), max(xs), max(ys))
    if kind == "circle":
        radius = ((xs[0] - xs[1]) ** 2 + (ys[0] - ys[1]) ** 2) ** 0.5
        corners = (xs[0] - radius, ys[0] - radius, xs[0] + radius, ys[0] + radius)
    return Box(corners, label.strip(), where)
