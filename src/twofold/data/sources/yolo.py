"""YOLO's labels: a text file an image, a line a box, in fractions of the image.

    list_yolo(Path("data.yaml"))                   # names of the classes, and where each split lies
    list_yolo(Path("photos"))                      # images/ beside labels/, or pairs of 1.jpg and 1.txt

A line is `class x y width height`: the number of the class, and the box's centre and size from 0 to 1. A line with a
polygon of three points and more is the box around it. The labels of images/train/1.jpg are labels/train/1.txt, or
1.txt beside it. An image without labels is one without objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold.data.sources.boxes_listing import (
    Box,
    BoxedImage,
    BoxListing,
    as_number,
    files_below,
    read_corners,
    read_text,
    without_suffix,
)
from twofold.data.sources.listing import ImageFile, list_images
from twofold.data.sources.problems import single_error
from twofold.errors import TwofoldError
from twofold.names import shown, shown_short

YAML_SUFFIXES = (".yaml", ".yml")
_SPLITS = ("train", "val", "test")
_NAMES_OF_CLASSES = ("classes.txt", "obj.names", "labels.txt", "class_names.txt")
_NOT_LABELS = {*_NAMES_OF_CLASSES, "readme.txt", "readme.roboflow.txt", "readme.dataset.txt", "license.txt"}
_LARGEST_YAML = 1 << 20
_MOST_CLASSES = 100_000


def find_yaml(root: Path) -> Path | None:
    """Return the file in a folder that describes a data set of YOLO's: data.yaml, or else the first with names."""
    paths = sorted(path for path in root.glob("*.y*ml") if path.suffix.lower() in YAML_SUFFIXES and path.is_file())
    paths.sort(key=lambda path: path.stem.lower() not in ("data", "dataset"))
    for path in paths:
        with path.open("rb") as file:
            if any(line.startswith((b"names:", b"nc:")) for line in file.read(_LARGEST_YAML).splitlines()):
                return path
    return None


def list_yolo(path: Path, images: Path | None = None) -> BoxListing:
    """Return the images of a data set of YOLO's, with their boxes.

    Args:
        path: a data.yaml, or a folder.
        images: the folder that images and labels lie in; that of the file if left out.

    Raises:
        TwofoldError: a file cannot be read or is not YOLO's, or there are no images.
    """
    yaml = path if path.is_file() else find_yaml(path)
    root = images or (path.parent if path.is_file() else path)
    described = _Described() if yaml is None else _read_yaml(yaml)
    files, walked = list_images(root)
    listing = BoxListing(path, root, f"yolo:{path}", "", "fractions")
    listing.problems += walked.problems
    listing.notes += walked.notes
    chosen = _chosen(files, described, root, yaml, listing.notes)
    texts = files_below(root, ".txt")
    known = set(texts)
    labels = {file.relative: _labels_of(file.relative, known) for file, _ in chosen}
    folders = dict.fromkeys(os.path.dirname(_candidates(file.relative)[0]) for file, _ in chosen)
    listing.boxes_in = ", ".join(shown(str(root / folder)) for folder in list(folders)[:3]) + (
        ", …" if len(folders) > 3 else ""
    )
    names = described.names or _names_beside(root)
    indices: set[int] = set()
    for file, split in chosen:
        where = labels[file.relative]
        image = BoxedImage(file, split, where or file.relative)
        if where is None or _read_labels(listing, root / where, image, names, indices):
            listing.images.append(image)
    _report_strays(listing, texts, set(labels.values()), {os.path.dirname(name) for name in labels.values() if name})
    if names is None:
        largest = max(indices, default=-1)
        names = [str(index) for index in range(described.num_classes or largest + 1)]
        listing.notes.append("the classes have no names, only numbers: name them in classes.txt or data.yaml")
    listing.class_names = names
    if all(split == "" for _, split in chosen):
        listing.split_by_folders()
    return listing


@dataclass
class _Described:
    """What a data.yaml says: the names of the classes or their number, and the places of each split."""

    names: list[str] | None = None
    num_classes: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)
    base: str = ""


def _read_yaml(path: Path) -> _Described:
    import yaml

    if path.stat().st_size > _LARGEST_YAML:
        raise TwofoldError(f"{path} has more than {_LARGEST_YAML:,} bytes, too many for a data.yaml")
    try:
        # Every value stays the text that it is: a class may be called no, or 1.10.
        content = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except TwofoldError as error:
        raise TwofoldError(f"{path} {error}") from error
    except RecursionError:
        raise TwofoldError(f"{path} is no YAML that can be read: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        first = str(error).split("\n")[0]
        raise TwofoldError(f"{path} is no YAML that can be read: {shown_short(first)}") from error
    if not isinstance(content, dict):
        raise TwofoldError(f"{path} is no data.yaml: it needs lines such as names: [cat, dog] and train: images/train")
    described = _Described(_names(path, content.get("names")))
    count = as_number(content.get("nc"))
    described.num_classes = min(_MOST_CLASSES, max(0, int(count or 0)))
    described.base = content["path"] if isinstance(content.get("path"), str) else ""
    for split in _SPLITS:
        value = content.get(split) or (content.get("valid") if split == "val" else None)
        places = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if wrong := [place for place in places if not isinstance(place, str)]:
            raise TwofoldError(f"{path}: {split} must be a folder or a list of folders, got {str(type(wrong[0]))!r}")
        described.places[split] = [place for place in places if place]
    return described


def _names(path: Path, value: Any) -> list[str] | None:
    """Return the names of classes from a list, or from a mapping of their numbers."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, dict):
        numbers = {name: as_number(key) for key, name in value.items() if isinstance(name, str)}
        by_number = sorted(numbers, key=lambda name: numbers[name] or 0)
        if len(numbers) != len(value) or [numbers[name] for name in by_number] != list(range(len(value))):
            raise TwofoldError(f"{path}: names must be numbered 0, 1, 2 … without gaps, each name once")
        value = by_number
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise TwofoldError(f"{path}: names must be a list of names, such as [cat, dog]")
    if len(value) > _MOST_CLASSES or len(set(value)) < len(value):
        raise TwofoldError(f"{path}: names must be at most {_MOST_CLASSES:,}, and each once")
    return value


def _names_beside(root: Path) -> list[str] | None:
    """Return the names in a text file of a line a class; None if there is none."""
    for folder in (root, root / "labels"):
        for name in _NAMES_OF_CLASSES:
            if (folder / name).is_file():
                try:
                    names = [line.strip() for line in read_text(folder / name).splitlines() if line.strip()]
                except TwofoldError as error:
                    raise TwofoldError(f"{folder / name} {error}") from error
                if len(set(names)) < len(names):
                    raise TwofoldError(f"{folder / name} names a class twice")
                if names:
                    return names
    return None


def _chosen(
    files: list[ImageFile], described: _Described, root: Path, yaml: Path | None, notes: list[str]
) -> list[tuple[ImageFile, str]]:
    """Return the images with their splits: those that data.yaml names; else all, with "" for a split."""
    if not any(described.places.values()):
        return [(file, "") for file in files]
    assert yaml is not None
    chosen: list[tuple[ImageFile, str]] = []
    seen: dict[str, str] = {}
    for split in _SPLITS:
        for place in described.places.get(split, ()):
            inside = _inside(place, described.base, root, yaml)
            if seen.setdefault(inside, split) != split:
                notes.append(f"{yaml.name} names {shown(place)} for {seen[inside]} and {split}: it is {seen[inside]}")
                continue
            if inside.endswith(".txt"):
                chosen += [(file, split) for file in _listed(files, root, inside, yaml)]
            else:
                start = "" if inside == "." else f"{inside}/"
                below = [(file, split) for file in files if file.relative.startswith(start)]
                chosen += below
                if not below:
                    raise single_error(
                        "no images",
                        str(yaml),
                        f"{yaml}: {split}: {shown_short(place)} has no images in {root / inside}",
                    )
    return chosen


def _inside(place: str, base: str, root: Path, yaml: Path) -> str:
    """Return the path of a split inside of the root.

    Tools write paths of the machine that they ran on, and ../ too many: what leads out of the root is looked for in it.
    """
    top = os.path.abspath(root)
    tried = [os.path.join(top, base, place), os.path.join(top, place)]
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tried += [os.path.join(top, *parts[start:]) for start in range(len(parts))]
    for path in map(os.path.normpath, tried):
        if "\0" not in path and (path == top or path.startswith(os.path.join(top, ""))) and os.path.exists(path):
            return Path(os.path.relpath(path, top)).as_posix()
    raise single_error(
        "no images",
        str(yaml),
        f"{yaml}: there is no {shown_short(place)} in {root}; put the images there, or give their folder with --images",
    )


def _listed(files: list[ImageFile], root: Path, inside: str, yaml: Path) -> list[ImageFile]:
    """Return the images that a text file lists, a path a line."""
    try:
        lines = [line.strip() for line in read_text(root / inside).splitlines() if line.strip()]
    except TwofoldError as error:
        raise TwofoldError(f"{root / inside} {error}") from error
    by_path = {file.relative: file for file in files}
    found = []
    for number, line in enumerate(lines, 1):
        name = _inside(line, os.path.dirname(inside), root, yaml)
        if name not in by_path:
            raise TwofoldError(f"{root / inside} line {number}: {shown_short(line)} is no image")
        found.append(by_path[name])
    return found


def _candidates(relative: str) -> list[str]:
    """Return where the labels of an image may be: in labels/ for images/, or beside it."""
    *folders, name = without_suffix(relative).split("/")
    at = [index for index, folder in enumerate(folders) if folder.lower() == "images"]
    beside = "/".join((*folders, f"{name}.txt"))
    if not at:
        return [beside]
    mapped = [*folders[: at[-1]], "labels", *folders[at[-1] + 1 :], f"{name}.txt"]
    return ["/".join(mapped), beside]


def _labels_of(relative: str, known: set[str]) -> str | None:
    return next((name for name in _candidates(relative) if name in known), None)


def _read_labels(
    listing: BoxListing, path: Path, image: BoxedImage, names: list[str] | None, indices: set[int]
) -> bool:
    """Add the boxes in a file to an image, and their classes to `indices`; return whether it could be read."""
    try:
        text = read_text(path)
    except TwofoldError as error:
        listing.report("unread file", image.where, str(error))
        return False
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        where = f"{image.where} line {number}"
        if len(cells) != 5 and (len(cells) < 7 or len(cells) % 2 == 0):
            message = f"has {len(cells)} numbers; a box has 5: class, x and y of the centre, width, height"
            listing.report("no box", where, message)
            continue
        if (values := read_corners(listing, where, cells)) is None:
            continue
        index, rest = values[0], values[1:]
        if index != int(index) or not 0 <= index < (_MOST_CLASSES if names is None else len(names)):
            known = "" if names is None else f"; the classes are 0 to {len(names) - 1}"
            listing.report("unknown class", where, f"has the class {shown_short(cells[0], most=40)}{known}")
            continue
        indices.add(int(index))
        if len(rest) == 4:
            x, y, width, height = rest
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:
            corners = (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))
        image.boxes.append(Box(corners, names[int(index)] if names else str(int(index)), where))
    return True


def _report_strays(listing: BoxListing, texts: Iterable[str], used: set[str | None], folders: set[str]) -> None:
    """Report labels without an image: in folders of labels, or in those that have labels of other images."""
    for name in texts:
        folder, base = os.path.split(name)
        in_labels = any(part.lower() == "labels" for part in folder.split("/"))
        if name in used or base.lower() in _NOT_LABELS or not (in_labels or folder in folders):
            continue
        if in_labels or _has_label_line(listing.folder / name):
            listing.report("annotation without image", name, "has no image of its name")


def _has_label_line(path: Path) -> bool:
    try:
        first = next((line for line in read_text(path).splitlines() if line.strip()), "")
    except TwofoldError:
        return False
    return is_label_line(first)


def is_label_line(line: str) -> bool:
    """Return whether a line of a text looks like a box of YOLO's.

    >>> is_label_line("0 0.5 0.5 0.2 0.1"), is_label_line("a cat on a mat")
    (True, False)
    """
    cells = line.split()
    return len(cells) >= 5 and cells[0].isdecimal() and all(as_number(cell) is not None for cell in cells)
