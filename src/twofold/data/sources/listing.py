"""Which image files a folder holds, by split and class, found without opening any of them.

Two layouts are known: one folder per class, or train/ with one folder per class beside val/ (also valid/ or
validation/) and test/. Inside a class, images may lie in any depth of sub-folders; symbolic links are followed.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twofold.data.sources.problems import Problem, single_error

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NEVER_DATA = frozenset({"__MACOSX"})


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that claims to be an image; `relative` is its path below the root with forward slashes."""

    path: str
    relative: str
    size: int
    mtime_ns: int


@dataclass
class Listing:
    """What a walk found: files by split (or "all" where the layout has no splits) and class."""

    root: Path
    splits: dict[str, dict[str, list[ImageFile]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_ignored: int = 0

    def report(self, kind: str, path: str | Path, message: str, *, skippable: bool) -> None:
        """Add a problem about `path`."""
        relative = os.path.relpath(path, self.root)
        self.problems.append(Problem(kind, Path(relative).as_posix(), message, skippable))


def list_folder(root: Path) -> Listing:
    """Return the image files below `root`.

    Raises:
        DataError: the folder is missing, is a file, cannot be opened, or holds no class folders.
    """
    if not root.exists():
        raise single_error("missing folder", str(root), f"no such folder: {root}")
    if not root.is_dir():
        raise single_error("not a folder", str(root), f"{root} is a file, not a folder; give the folder of classes")
    try:
        with os.scandir(root):
            pass
    except OSError as error:
        message = f"cannot open the folder {root}: {error.strerror or error}"
        raise single_error("unreadable folder", str(root), message) from error
    listing = Listing(root)
    folders, num_loose = _sub_folders(root, listing)
    by_split: dict[str, list[str]] = {}
    for name in folders:
        if name.lower() in _SPLIT_NAMES:
            by_split.setdefault(_SPLIT_NAMES[name.lower()], []).append(name)
    strays = [name for name in folders if name.lower() not in _SPLIT_NAMES]
    # A lone "train" among other folders is a class (beside "bus"); with a val or test folder it is a split.
    if "train" in by_split and (len(by_split) > 1 or not strays):
        _list_splits(root, by_split, listing)
        if strays:
            listing.notes.append(f"not used, because they stand beside train/: {', '.join(strays)}")
    elif folders:
        listing.splits["all"] = {name: _walk_class(root / name, listing, {_identity(root)}) for name in folders}
    else:
        held = f"{num_loose} images but no class folders" if num_loose else "no images"
        named = "" if num_loose else " that has the name of the class"
        message = f"{root} holds {held}; put the images of each class in a folder{named}"
        raise single_error("no images", str(root), message)
    if num_loose:
        listing.num_ignored += num_loose
        listing.notes.append(f"{num_loose} images lie outside every class folder and are not used")
    return listing


def same_names(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that differs from an earlier one in letter case alone, with that one.

    A person takes the two for one, and so do some file systems.
    """
    first: dict[str, str] = {}
    for name in names:
        same = first.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if same != name:
            yield name, same


def _list_splits(root: Path, by_split: dict[str, list[str]], listing: Listing) -> None:
    for split in ("train", "val", "test"):
        names = by_split.get(split, [])
        for name in names[1:]:
            message = f"means the same split as {names[0]}; keep one of them"
            listing.report("split twice", root / name, message, skippable=False)
        if names:
            folder = root / names[0]
            classes, num_loose = _sub_folders(folder, listing)
            if num_loose:
                listing.num_ignored += num_loose
                listing.notes.append(f"{num_loose} images in {names[0]}/ lie outside every class folder; not used")
            above = {_identity(root), _identity(folder)}
            listing.splits[split] = {name: _walk_class(folder / name, listing, above) for name in classes}


def _sub_folders(folder: Path, listing: Listing) -> tuple[list[str], int]:
    """Return the names of the visible sub-folders in order, and how many images lie directly in `folder`."""
    names, num_loose = [], 0
    for entry, info in _entries(folder, listing):
        if stat.S_ISDIR(info.st_mode):
            names.append(entry.name)
        elif _is_image_name(entry.name):
            num_loose += 1
        else:
            listing.num_ignored += 1
    return names, num_loose


def _walk_class(folder: Path, listing: Listing, above: set[tuple[int, int]]) -> list[ImageFile]:
    """Return the images at any depth below `folder`; `above` identifies the folders that it lies in."""
    files: list[ImageFile] = []
    seen = set(above)
    if _identity(folder) in seen:
        listing.report("link loop", folder, "is a link to a folder that it lies in", skippable=True)
        return files
    seen.add(_identity(folder))
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        prefix = Path(os.path.relpath(current, listing.root)).as_posix()
        for entry, info in _entries(current, listing):
            if stat.S_ISDIR(info.st_mode):
                identity = (info.st_dev, info.st_ino)
                if identity in seen:
                    message = "is a link to a folder that is read already; remove the link"
                    listing.report("link loop", entry.path, message, skippable=True)
                else:
                    seen.add(identity)
                    waiting.append(Path(entry.path))
            elif stat.S_ISREG(info.st_mode) and _is_image_name(entry.name):
                files.append(ImageFile(entry.path, f"{prefix}/{entry.name}", info.st_size, info.st_mtime_ns))
            else:
                listing.num_ignored += 1
    return sorted(files, key=lambda file: file.relative)


def _entries(folder: Path, listing: Listing) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the visible entries of `folder` by name, and what each is, links followed; report what cannot be read."""
    try:
        with os.scandir(folder) as iterator:
            entries = sorted(iterator, key=lambda entry: entry.name)
    except OSError as error:
        message = f"cannot be opened: {error.strerror or error}"
        listing.report("unreadable folder", folder, message, skippable=True)
        return
    visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _NEVER_DATA]
    listing.num_ignored += len(entries) - len(visible)
    for entry in visible:
        try:
            yield entry, os.stat(entry.path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                kind, message = "link loop", "is a link that leads back to itself"
            elif entry.is_symlink():
                kind, message = "dangling link", f"is a link to {os.readlink(entry.path)}, which is not there"
            else:
                kind, message = "unreadable file", f"cannot be read: {error.strerror or error}"
            listing.report(kind, entry.path, message, skippable=True)


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return (info.st_dev, info.st_ino)
