"""Boxes in a table: a row a box, with the image's path, the four coordinates and the class.

    list_boxes_csv(Path("boxes.csv"), Path("photos"))

The columns are found by their names: corners (xmin, ymin, xmax, ymax; x1 …; left, top, right, bottom), or the upper
left corner with width and height (x, y, w, h). Columns called width and height beside corners are the image's size. A
row with an image and without coordinates is an image without objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twofold.data.sources.boxes_listing import Box, BoxedImage, BoxListing, as_number, read_corners
from twofold.data.sources.listing import ImageFile
from twofold.data.sources.table_columns import SPLIT_WORDS, UNUSED
from twofold.data.sources.table_file import Table, first_columns, read_table
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import SettingError, TwofoldError, nearest
from twofold.names import shown, shown_short

# Names in lower case, letters and digits alone, the likeliest first.
_IMAGES = "image imagepath imagefile imagename filename filepath file path img imgpath imgname imageid id name"
_LABELS = "label class classname labelname category categoryname name labelid classid categoryid"
_SPLITS = "split fold set subset partition"
_CORNERS = (
    ("xmin ymin xmax ymax"),
    ("x1 y1 x2 y2"),
    ("x0 y0 x1 y1"),
    ("left top right bottom"),
    ("bboxx1 bboxy1 bboxx2 bboxy2"),
    ("bboxxmin bboxymin bboxxmax bboxymax"),
)
_SIZES = (
    ("x y w h"),
    ("x y width height"),
    ("xmin ymin width height"),
    ("left top width height"),
    ("x1 y1 w h"),
    ("bboxx bboxy bboxwidth bboxheight"),
    ("bboxx bboxy bboxw bboxh"),
)
_CROWDS, _AREAS = "crowd iscrowd difficult", "area"


def box_columns(table: Table) -> tuple[list[str], bool] | None:
    """Return the columns with a table's boxes, and whether the last two are width and height; None without boxes."""
    plain = _plain(table)
    for are_sizes, ways in ((False, _CORNERS), (True, _SIZES)):
        for way in ways:
            names = [plain.get(word) for word in way.split()]
            if all(names):
                return [name for name in names if name], are_sizes
    return None


def list_boxes_csv(
    path: Path, images: Path | None = None, columns: Mapping[str, str] | None = None, *, table: Table | None = None
) -> BoxListing:
    """Return the images that a table has boxes for.

    Args:
        path: the table.
        images: the folder of the images; that of the table if left out.
        columns: the columns with "image", "label" and "split", where their names do not tell.
        table: its content, where that has been read.

    Raises:
        TwofoldError: it cannot be read, has no columns with boxes, or there are no images.
    """
    table = read_table(path) if table is None else table
    if (found := box_columns(table)) is None:
        listed = first_columns(list(table.columns))
        raise TwofoldError(
            f"{path} has no columns with boxes, such as xmin, ymin, xmax and ymax, or x, y, w and h; it has {listed}"
        )
    folder = path.parent if images is None else images
    index = ImageIndex(folder, path)
    listing = BoxListing(path, folder, f"boxes:{path}", f"the columns {', '.join(map(shown, found[0]))}")
    listing.problems += table.problems
    listing.notes += table.notes
    chosen = _columns(table, *found, columns or {})
    by_file: dict[str, BoxedImage] = {}
    missing: set[str] = set()
    for row, number in enumerate(table.rows):
        cells = {name: column[row] for name, column in table.columns.items()}
        where, name = f"row {number}", cells[chosen.image]
        if isinstance(file := index.find(name) if name else "has no image", str):
            if name not in missing:  # once for all of its boxes
                listing.report("missing image", where, f"{shown_short(name)} {file}".strip())
            missing.add(name)
            continue
        image = _image(listing, where, file, cells, chosen, by_file)
        # A row without coordinates says that the image has no object.
        has_box = image is not None and any(cells[each] for each in chosen.boxes)
        if image is not None and has_box and (box := _box(listing, where, cells, chosen)) is not None:
            image.boxes.append(box)
    return listing


@dataclass(frozen=True)
class _Columns:
    """The names of the columns; `sides` are those of the image's height and width."""

    boxes: list[str]
    are_sizes: bool
    image: str
    label: str
    split: str | None
    crowd: str | None
    area: str | None
    sides: tuple[str | None, str | None]


def _image(
    listing: BoxListing,
    where: str,
    file: ImageFile,
    cells: Mapping[str, str],
    chosen: _Columns,
    by_file: dict[str, BoxedImage],
) -> BoxedImage | None:
    """Return the image of a row, listed when it first comes; None, after a report, where its split is not clear."""
    split = "all"
    if chosen.split is not None:
        split = SPLIT_WORDS.get(cells[chosen.split].lower(), "")
        if not split:
            words = shown_short(cells[chosen.split])
            message = f"has {words!r} for its split, which is none of train, val and test"
            listing.report("unknown split", where, message)
            return None
    if (known := by_file.get(file.path)) is None:
        sides = [int(as_number(cells[side]) or 0) if side else 0 for side in chosen.sides]
        known = BoxedImage(file, split, where, size=None if 0 in sides else (sides[0], sides[1]))
        by_file[file.path] = known
        listing.images.append(known)
    elif known.split != split:
        message = f"{shown(file.relative)} is in {known.split} and in {split}"
        listing.report("image in two splits", where, message)
        return None
    return known


def _box(listing: BoxListing, where: str, cells: Mapping[str, str], chosen: _Columns) -> Box | None:
    if (values := read_corners(listing, where, [cells[name] for name in chosen.boxes])) is None:
        return None
    if not cells[chosen.label]:
        listing.report("unknown class", where, "has no class")
        return None
    x, y, right, bottom = values
    corners = (x, y, x + right, y + bottom) if chosen.are_sizes else (x, y, right, bottom)
    is_crowd = chosen.crowd is not None and cells[chosen.crowd].lower() in ("1", "1.0", "true")
    area = as_number(cells[chosen.area]) if chosen.area else None
    return Box(corners, cells[chosen.label], where, is_crowd, area if area and area > 0 else None)


def _plain(table: Table) -> dict[str, str]:
    """Return the names of columns by what is compared of them: lower case, letters and digits alone."""
    return {re.sub(r"[\W_]+", "", name.lower()): name for name in reversed(table.columns)}


def _first(plain: Mapping[str, str], words: str) -> str | None:
    return next((plain[word] for word in words.split() if word in plain), None)


def _columns(table: Table, boxes: list[str], are_sizes: bool, wanted: Mapping[str, str]) -> _Columns:
    """Return which columns say what beside the boxes: by the names that are wanted, or by what they are called."""
    if "group" in wanted:
        raise SettingError(
            "{} has no effect on a table with boxes; leave it out", {"columns": {"group": wanted["group"]}}
        )
    for role, name in wanted.items():
        if name not in table.columns and not (role == "split" and name == UNUSED):
            known = nearest(name, map(shown, table.columns))
            raise SettingError(f"{{}}: {shown(str(table.path))} has no such column; {known}", {"columns": {role: name}})
    plain = _plain(table)
    taken = {*boxes, *wanted.values()}
    chosen: dict[str, str] = {}
    for role, words, example in (("image", _IMAGES, "FILE"), ("label", _LABELS, "CLASS")):
        names = (plain[word] for word in words.split() if word in plain and plain[word] not in taken)
        name = wanted.get(role) or next(names, None)
        if name is None:
            message = f"say which column is which, as {{}}: in {shown(str(table.path))} no column is named as one with "
            message += f"{role}s; it has {first_columns(list(table.columns))}"
            raise SettingError(message, {"columns": {role: example}})
        chosen[role] = name
        taken.add(name)
    split = wanted.get("split") or _first(plain, _SPLITS)
    split = None if split == UNUSED and UNUSED not in table.columns else split
    sides = (None, None) if are_sizes else (plain.get("height"), plain.get("width"))
    return _Columns(
        boxes, are_sizes, chosen["image"], chosen["label"], split, _first(plain, _CROWDS), _first(plain, _AREAS), sides
    )
