"""labelme's annotations: a JSON file an image, of which the shapes are taken (Wada, labelme).

    list_labelme(Path("photos"))                   # 1.json beside 1.jpg

A rectangle is two corners in any order; a polygon, a circle or a mask is the box around it. Points and lines have no
area and are left out. Images that are only in the JSON file, as text, are not read.
"""

from __future__ import annotations

import os
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
from twofold.data.sources.listing import ImageFile
from twofold.data.sources.problems import single_error
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.names import shown, shown_short

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


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
    without_area = 0
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
        for number, shape in records(listing, text, content.get("shapes"), "shape"):
            if shape.get("shape_type") in _WITHOUT_AREA:
                without_area += 1
            elif (box := _box(listing, f"{text} shape {number}", shape)) is not None:
                image.boxes.append(box)
        listing.images.append(image)
    listing.split_by_folders()
    if without_area:
        noun = "shape" if without_area == 1 else "shapes"
        listing.notes.append(f"{without_area:,} {noun} without area (points and lines) left out")
    if unused := len(index.files) - len({image.file.path for image in listing.images}):
        noun = "image has" if unused == 1 else "images have"
        listing.notes.append(f"{unused:,} {noun} no annotation and {'is' if unused == 1 else 'are'} not used")
    return listing


def looks_like_labelme(path: Path) -> bool:
    """Return whether a JSON file begins as labelme's do; those with the image inside have it in front of its size."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 12)
    except OSError:
        return False
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"shapes"' in start


def _image(text: str, content: dict[str, Any], index: ImageIndex) -> BoxedImage | str:
    """Return the image of a file, or why there is none."""
    named = content.get("imagePath")
    folder, stem = os.path.split(without_suffix(text))
    name = named.replace("\\", "/") if isinstance(named, str) and named else ""
    file: ImageFile | str = "has no imagePath, and no image has its name"
    for each in filter(None, (name and os.path.join(folder, name), os.path.join(folder, stem))):
        file = index.find(each)
        if isinstance(file, ImageFile):
            sides = (as_number(content.get("imageHeight")), as_number(content.get("imageWidth")))
            size = (int(sides[0] or 0), int(sides[1] or 0))
            return BoxedImage(file, "", text, size=None if 0 in size else size)
        if "lies outside" in file:
            break
    return f"{shown_short(name)} {file}"


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
