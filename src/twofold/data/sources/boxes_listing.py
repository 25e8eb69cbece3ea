"""Boxes as files have them, before any is checked: what every reader of annotations returns. Imports no torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from twofold.data.sources.layout import SPLIT_NAMES
from twofold.data.sources.listing import ImageFile, is_litter
from twofold.data.sources.problems import Problem
from twofold.errors import TwofoldError
from twofold.names import shown, shown_short

Unit = Literal["pixels", "pixels from 1", "fractions"]
"""What coordinates are in: pixels from the image's edge; VOC's, of which the first is 1 and the last is inside; or
fractions of the image's width and height."""

_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")
_LARGEST = 1e9
_YEAR = re.compile(r"(train|val|test)20\d\d")


@dataclass(frozen=True, slots=True)
class Box:
    """A box as it is written.

    Attributes:
        corners: x1, y1, x2, y2 in the unit of its listing.
        label: the name of its class.
        where: its file and place in it, such as "labels/1.txt line 3".
        crowd: whether it stands for many objects that nobody counted.
        area: that of the object in pixels, where the format says it.
    """

    corners: tuple[float, float, float, float]
    label: str
    where: str
    crowd: bool = False
    area: float | None = None


@dataclass(slots=True)
class BoxedImage:
    """An image with its boxes.

    `where` is the file that says the boxes, relative to what was given, and the place in it; `size` is height and
    width, where that says them too.
    """

    file: ImageFile
    split: str
    where: str
    boxes: list[Box] = field(default_factory=list)
    size: tuple[int, int] | None = None


@dataclass
class BoxListing:
    """What a reader found.

    Attributes:
        path: the file or folder with the annotations.
        folder: the folder that the images lie in.
        said: what a user says to mean these data.
        boxes_in: where boxes were looked for, in words.
        unit: what coordinates are in.
        class_names: the classes in the format's own order; None where only the boxes name them.
        images: the images, in order.
        problems: what is wrong.
        notes: lines that a person should see.
    """

    path: Path
    folder: Path
    said: str
    boxes_in: str
    unit: Unit = "pixels"
    class_names: list[str] | None = None
    images: list[BoxedImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where a user puts things right."""
        return "folder" if self.path.is_dir() else "file"

    def report(self, kind: str, where: str, message: str, *, skippable: bool = True) -> None:
        """Add a problem at a place in a file."""
        self.problems.append(Problem(kind, shown(where), message, skippable))

    def split_by_folders(self) -> None:
        """Put each image into the split that a folder above it is called by, if each has one; else all into "all"."""
        splits = [split_of(image.file.relative) for image in self.images]
        is_split = all(split is not None for split in splits)
        for image, split in zip(self.images, splits, strict=True):
            image.split = split if is_split and split is not None else "all"


def split_of(path: str) -> str | None:
    """Return the split that a folder in a relative path is called by; None if none is.

    >>> split_of("images/val/1.jpg"), split_of("train2017/1.jpg"), split_of("train.jpg")
    ('val', 'train', None)
    """
    for part in path.lower().split("/")[:-1]:
        if split := SPLIT_NAMES.get(part) or (found[1] if (found := _YEAR.fullmatch(part)) else None):
            return split
    return None


def as_number(value: Any) -> float | None:
    """Return a number of JSON, or one written as text, as a float; None for anything else, and what is not finite.

    >>> as_number(" 1.5e1 "), as_number(True), as_number("nan"), as_number(10**400)
    (15.0, None, None, None)
    """
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value := value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None


def read_corners(listing: BoxListing, where: str, values: Sequence[Any]) -> tuple[float, ...] | None:
    """Return four or more coordinates as numbers; None, after a report, where one of them is none."""
    numbers = tuple(map(as_number, values))
    for number, value in zip(numbers, values, strict=True):
        if number is None:
            listing.report("not a number", where, f"has {briefly(value)} where a coordinate is expected")
            return None
    return tuple(number for number in numbers if number is not None)


def briefly(value: Any) -> str:
    """Return a value of JSON fit for a line.

    >>> briefly("cat"), briefly([1, 2]), briefly(10**400)
    ("'cat'", 'a list', 'a huge number')
    """
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and abs(value) > 10**18:
        return "a huge number"
    return repr(shown_short(value, most=40)) if isinstance(value, str) else str(value)


def read_text(path: Path) -> str:
    """Return a text file, in UTF-8 or, with a mark at its start, UTF-16.

    Raises:
        TwofoldError: it cannot be read, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TwofoldError(f"cannot be read: {error.strerror or error}") from error
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TwofoldError("is no text") from error


def files_below(root: Path, suffix: str) -> list[str]:
    """Return the files below `root` whose names end in `suffix`, as paths relative to it, in order.

    Links are followed, each folder once; what `is_litter` is not seen.

    Raises:
        TwofoldError: a folder cannot be opened: its images would seem to have no boxes.
    """

    def refuse(error: OSError) -> None:
        raise TwofoldError(f"cannot open the folder {error.filename}: {error.strerror or error}") from error

    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        info = os.stat(folder)
        if (info.st_dev, info.st_ino) in seen:
            folders.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        folders[:] = sorted(name for name in folders if not is_litter(name))
        inside = Path(os.path.relpath(folder, root)).as_posix()
        start = "" if inside == "." else f"{inside}/"
        found += [f"{start}{name}" for name in names if name.lower().endswith(suffix) and not is_litter(name)]
    return sorted(found)


def without_suffix(path: str) -> str:
    """Return a path without the ending of its name."""
    return os.path.splitext(path)[0]


def records(listing: BoxListing, where: str, value: Any, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in a list of JSON with their numbers from 1; report what is none."""
    if not isinstance(value, list):
        listing.report("wrong type", where, f"has no list of {what}", skippable=False)
        return
    for number, record in enumerate(value, 1):
        if isinstance(record, dict):
            yield number, record
        else:
            listing.report("wrong type", f"{where} {what} {number}", "is no JSON object")
