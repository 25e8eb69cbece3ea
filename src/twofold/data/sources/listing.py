"""Which image files a folder holds, by split and class, found without opening any of them.

One walk serves every verb: `list_folder` where images have classes, `list_images` where they need none. Links are
followed, and what other systems leave behind (`is_litter`) is not seen.

Two layouts are known: one folder per class, or train/ with one folder per class beside val/ (also valid/ or
validation/) and test/. Inside a class, images may lie in any depth of sub-folders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twofold.data.formats import KNOWN_FORMATS, is_image_name, unread_notes, unread_suffix
from twofold.data.sources.layout import (
    BOX_FORMATS,
    LAYOUT_KINDS,
    SPLIT_NAMES,
    detection_message,
    file_message,
    flat_message,
    holds_runs,
    inner_folder,
    is_run,
    run_message,
    table_hint,
)
from twofold.data.sources.problems import DataError, Problem, single_error
from twofold.terminal import command

_LITTER = frozenset(
    {
        "__macosx",  # the other half of files in archives made by macOS
        "@eadir",  # thumbnails of a Synology disk station
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "__pycache__",
    }
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that claims to be an image; `relative` is its path below the root with forward slashes.

    `identity` is that of the content on disk, the same for all links to it.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int
    identity: tuple[int, int]


@dataclass
class Listing:
    """What a walk found: files by split (or "all" where the layout has no splits) and class.

    `folders` is where each split lies. `unread` are the paths, relative to the root, of images that are not read, by
    the ending of their names. `inner` is the folder that the classes seem to lie in, where the root is but a wrapper
    around it. `table` is the table that the splits and classes are from, where they are not from folders; `unlabelled`
    are its images, by split, that may have several labels and have none.
    """

    root: Path
    splits: dict[str, dict[str, list[ImageFile]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=dict)
    inner: Path | None = None
    table: Path | None = None
    unlabelled: dict[str, list[ImageFile]] = field(default_factory=dict)
    num_ignored: int = 0

    def report(self, kind: str, path: str | Path, message: str, *, skippable: bool) -> None:
        """Add a problem about `path`."""
        self.problems.append(Problem(kind, _relative(str(path), self.root), message, skippable))

    def unread_notes(self, folder: Path | None = None) -> list[str]:
        """Return lines on the images that are not read, of one folder or of all."""
        start = _prefix(folder or self.root, self)
        counts = {suffix: sum(name.startswith(start) for name in names) for suffix, names in self.unread.items()}
        return unread_notes({suffix: count for suffix, count in counts.items() if count})


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is never an image or a class: hidden, or left by another system.

    >>> [is_litter(name) for name in ("._cat.png", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "cat.png")]
    [True, True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _LITTER


def list_images(folder: Path) -> tuple[list[ImageFile], Listing]:
    """Return the images at any depth below `folder`, in order, whatever they show; and what else there was to see.

    Raises:
        DataError: it holds none.
    """
    listing = Listing(folder)
    files = _walk(folder, listing, set())
    if not files:
        raise no_images_error(listing, f"put {KNOWN_FORMATS} files into it")
    listing.notes += listing.unread_notes()
    return files, listing


def no_images_error(listing: Listing, remedy: str = "") -> DataError:
    """Return the error for a folder without a single image that can be read; it says what is unread, else `remedy`."""
    root = listing.root
    names = sorted({name for classes in listing.splits.values() for name in classes})
    where = f"its folders ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})" if names else "a folder a class"
    usual = f"put {KNOWN_FORMATS} files into {where}" + ("" if names else f", or images with boxes of {BOX_FORMATS}")
    remedy = "; ".join(listing.unread_notes()) or remedy or usual
    return single_error("no images", str(root), f"{root} holds no images that can be read; {remedy}")


def training_problems(listing: Listing) -> list[Problem]:
    """Return why a classifier cannot be trained on the folder, though a network may be evaluated with it."""
    root, splits = listing.root, listing.splits
    if any(problem.kind in LAYOUT_KINDS for problem in listing.problems):
        return []  # the folder is no data for a classifier at all, which is said already
    if "train" not in splits and "all" not in splits:
        evaluation = command("eval", "RUN", "--data", root)
        have, lack, remedy = " and ".join(f"{split}/" for split in splits), "train/", "add train/ with a folder a class"
        if listing.table is not None:
            have, lack, remedy = f"rows for {' and '.join(splits)}", "rows for train", "add such rows"
            evaluation = command("eval", "RUN", "--data", listing.table, "--images", root)
        message = (
            f"there {'are' if len(splits) > 1 or listing.table else 'is'} {have} but no {lack}: {remedy}; "
            f"to evaluate a network, it is enough as it is: {evaluation}"
        )
        return [Problem("no training images", ".", message, skippable=False)]
    main = "train" if "train" in splits else "all"
    names = [name for name, files in splits[main].items() if files]
    if len(names) != 1:
        return []
    if listing.inner is not None:
        remedy = f"the classes seem to lie in {listing.inner}: give that"
    else:
        hint = "" if listing.table else table_hint(listing.folders[main] / names[0])
        remedy = hint or "at least two are needed to train a classifier"
    return [Problem("one class", ".", f"the only class is {names[0]!r}; {remedy}", skippable=False)]


def list_folder(root: Path) -> Listing:
    """Return the image files below `root`.

    Raises:
        DataError: the folder is missing, is a file, cannot be opened, or holds no class folders.
    """
    _check_root(root)
    listing = Listing(root)
    folders, num_loose = _sub_folders(root, listing)
    runs = [name for name in folders if is_run(root / name) or holds_runs(root / name)]
    if is_run(root) or (runs and len(runs) == len(folders)):
        raise single_error("not images", str(root), run_message(root, runs))
    if runs:
        folders = [name for name in folders if name not in runs]
        listing.notes.append(f"not taken for a class, because twofold train wrote it: {', '.join(runs)}")
    by_split: dict[str, list[str]] = {}
    for name in folders:
        if name.lower() in SPLIT_NAMES:
            by_split.setdefault(SPLIT_NAMES[name.lower()], []).append(name)
    strays = [name for name in folders if name.lower() not in SPLIT_NAMES]
    # A lone "train" among other folders is a class (beside "bus"); with a val or test folder it is a split.
    if by_split and (not strays or ("train" in by_split and len(by_split) > 1)):
        _list_splits(root, by_split, listing)
        if strays:
            listing.notes.append(f"not used, because they stand beside train/: {', '.join(strays)}")
    elif folders:
        listing.folders["all"] = root
        listing.splits["all"] = {name: _walk(root / name, listing, {_identity(root)}) for name in folders}
        if len(folders) == 1:
            inside, _ = _sub_folders(root / folders[0], Listing(root))
            listing.inner = inner_folder(root, folders, inside)
    elif num_loose:
        raise single_error("no images", str(root), flat_message(root, num_loose))
    else:
        raise no_images_error(listing)
    if num_loose:
        listing.num_ignored += num_loose
        listing.notes.append(f"{num_loose} images lie outside every class folder and are not used")
    _report_layout(listing)
    return listing


def _check_root(root: Path) -> None:
    if not root.exists():
        raise single_error("missing folder", str(root), f"no such folder: {root}")
    if not root.is_dir():
        raise single_error("not a folder", str(root), file_message(root))
    try:
        with os.scandir(root):
            pass
    except OSError as error:
        message = f"cannot open the folder {root}: {error.strerror or error}"
        raise single_error("unreadable folder", str(root), message) from error


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
    flat: dict[Path, int] = {}
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
            if num_loose and not classes:
                flat[folder] = num_loose  # such as Kaggle's test/, of which nobody knows the classes
                continue
            listing.folders[split] = folder
            above = {_identity(root), _identity(folder)}
            listing.splits[split] = {name: _walk(folder / name, listing, above) for name in classes}
    if flat and ("train" in by_split or not listing.splits) and "train" not in listing.splits:
        folder, num_images = next(iter(flat.items()))
        raise single_error("no images", str(root), flat_message(folder, num_images))


def _report_layout(listing: Listing) -> None:
    """Add what the names of folders tell: that they are no classes, or that the classes are others."""
    main = next(split for split in ("all", "train", *listing.splits) if split in listing.splits)
    classes = listing.splits[main]
    above = 0 if main == "all" else 1
    folder = listing.folders[main]
    if message := detection_message(list(classes)):
        listing.report("detection layout", folder, message, skippable=False)
        return
    below = [(name, [file.relative.split("/")[above + 1 :] for file in files]) for name, files in classes.items()]
    below = [(name, parts) for name, parts in below if parts]
    if len(below) < 2 or any(len(parts) == 1 for _, members in below for parts in members):
        return
    inside = sorted({parts[0] for _, members in below for parts in members})
    first = below[0][0]
    if len(inside) > 1 and all(name.lower() in SPLIT_NAMES for name in inside):
        ways = " and ".join(f"{name}/{first}" for name in inside)
        message = f"holds {' and '.join(f'{name}/' for name in inside)}: put it the other way round, {ways}"
        listing.report("splits inside classes", folder / first, message, skippable=False)
    elif len(inside) > 1:
        listing.notes.append(
            f"every class holds further folders, such as {first}/{below[0][1][0][0]}/: the classes are "
            f"{', '.join(name for name, _ in below[:3])}{', …' if len(below) > 3 else ''}; "
            f"where they should be {', '.join(inside[:3])}{', …' if len(inside) > 3 else ''}, move these folders up"
        )


def _sub_folders(folder: Path, listing: Listing) -> tuple[list[str], int]:
    """Return the names of the visible sub-folders in order, and how many images lie directly in `folder`."""
    names, num_loose = [], 0
    prefix = _prefix(folder, listing)
    for entry, info in _entries(folder, listing):
        if stat.S_ISDIR(info.st_mode):
            names.append(entry.name)
        elif is_image_name(entry.name):
            num_loose += 1
        else:
            _ignore(entry, info, prefix, listing)
    return names, num_loose


def _walk(folder: Path, listing: Listing, above: set[tuple[int, int]]) -> list[ImageFile]:
    """Return the images at any depth below `folder`; `above` identifies the folders that it lies in."""
    files: list[ImageFile] = []
    runs: list[str] = []
    seen = set(above)
    if _identity(folder) in seen:
        listing.report("link loop", folder, "is a link to a folder that it lies in", skippable=True)
        return files
    seen.add(_identity(folder))
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        prefix = _prefix(current, listing)
        for entry, info in _entries(current, listing):
            if stat.S_ISDIR(info.st_mode):
                identity = (info.st_dev, info.st_ino)
                if identity in seen:
                    what = "is a link to a folder that is read already" if entry.is_symlink() else "is read by a link"
                    listing.report("link loop", entry.path, f"{what}; remove the link", skippable=True)
                elif is_run(Path(entry.path)):
                    runs.append(f"{prefix}{entry.name}")
                else:
                    seen.add(identity)
                    waiting.append(Path(entry.path))
            elif stat.S_ISREG(info.st_mode) and is_image_name(entry.name):
                identity = (info.st_dev, info.st_ino)
                files.append(ImageFile(entry.path, f"{prefix}{entry.name}", info.st_size, info.st_mtime_ns, identity))
            else:
                _ignore(entry, info, prefix, listing)
    if runs:
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        listing.notes.append(f"left out, because twofold train wrote it: {', '.join(sorted(runs)[:3])}{more}")
    return sorted(files, key=lambda file: file.relative)


def _prefix(folder: Path, listing: Listing) -> str:
    """Return what stands before the names of files of `folder` in paths relative to the root."""
    relative = _relative(str(folder), listing.root)
    return "" if relative == "." else f"{relative}/"


def _ignore(entry: os.DirEntry[str], info: os.stat_result, prefix: str, listing: Listing) -> None:
    listing.num_ignored += 1
    if stat.S_ISREG(info.st_mode) and (suffix := unread_suffix(entry.name, entry.path)) is not None:
        listing.unread.setdefault(suffix, []).append(f"{prefix}{entry.name}")


def _entries(folder: Path, listing: Listing) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the entries of `folder` by name, and what each is, links followed; report what cannot be read."""
    try:
        with os.scandir(folder) as iterator:
            entries = sorted(iterator, key=lambda entry: entry.name)
    except OSError as error:
        message = f"cannot be opened: {error.strerror or error}"
        listing.report("unreadable folder", folder, message, skippable=True)
        return
    visible = [entry for entry in entries if not is_litter(entry.name)]
    listing.num_ignored += len(entries) - len(visible)
    for entry in visible:
        try:
            yield entry, os.stat(entry.path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                kind, message = "link loop", "is a link that leads back to itself"
            else:
                kind, message = "unreadable file", f"cannot be read: {error.strerror or error}"
                with contextlib.suppress(OSError):  # no link, or one that is gone as well
                    kind, message = "dangling link", f"is a link to {os.readlink(entry.path)}, which is not there"
            listing.report(kind, entry.path, message, skippable=True)


def _relative(path: str, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return (info.st_dev, info.st_ino)
