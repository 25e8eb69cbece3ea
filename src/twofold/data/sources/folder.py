"""An image folder to classes, splits and problems: the data are checked before the work starts, not in its middle.

scan = scan_folder(Path("photos"))
scan.class_names            # the folders' names, sorted
scan.splits["train"].paths  # with labels beside; "all" where the folder has no train/
"""

from __future__ import annotations

import hashlib
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.data.check import Checked, check_files
from twofold.data.sources.listing import ImageFile, Listing, list_folder
from twofold.data.sources.problems import DataError, Problem, single_error, summary_error

__all__ = ["DataError", "FolderScan", "Problem", "Split", "scan_folder"]

_NUM_SAMPLED = 64


@dataclass(frozen=True)
class Split:
    """The images of one split: a path and a label (an index into the class names) for each."""

    paths: list[str]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True)
class FolderScan:
    """What an image folder holds.

    `splits` has "train" and, where present, "val" and "test"; or "all" alone, where the layout has no splits.
    `channels` is 1 if every image is grey, else 3; `median_side` is the median of the images' shorter sides in
    pixels. `problems` are those that were skipped. `num_ignored` counts entries that are no images.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    channels: int
    median_side: int
    num_ignored: int
    fingerprint: str


def scan_folder(
    root: Path,
    *,
    skip_broken: bool = False,
    check: bool = True,
    for_training: bool = True,
    show_progress: bool = True,
) -> FolderScan:
    """Find the images of a folder, and decode each once (`check`) to see that it can be read.

    Without `check`, 64 images spread over the folder are decoded, to learn channels and sizes. Evaluation
    (`for_training=False`) accepts a single class, and classes that train/ does not have.

    Raises:
        DataError: the folder cannot be used, or something is wrong with it that `skip_broken` does not cover;
            the message lists what, and `problems` holds all of it.
    """
    listing = list_folder(root)
    files = [file for classes in listing.splits.values() for members in classes.values() for file in members]
    if not files and not listing.problems:
        raise _no_images(root, listing)
    sample = files if check else files[:: max(1, len(files) // _NUM_SAMPLED)]
    checked = check_files(root, sample, show_progress=show_progress)
    _drop_broken(listing, sample, checked)
    class_names = _class_names(listing, for_training=for_training)
    problems = listing.problems
    if any(not problem.skippable for problem in problems) or (problems and not skip_broken):
        raise summary_error(str(root), problems)
    good = [result for result in checked if result.broken is None]
    if not good:
        raise _no_images(root, listing)
    splits, fingerprint = _label(listing, class_names)
    return FolderScan(
        root=root,
        class_names=class_names,
        splits=splits,
        problems=tuple(problems),
        notes=tuple(listing.notes),
        channels=1 if all(result.grey for result in good) else 3,
        median_side=statistics.median_low(min(result.height, result.width) for result in good),
        num_ignored=listing.num_ignored,
        fingerprint=fingerprint,
    )


def _no_images(root: Path, listing: Listing) -> DataError:
    names = sorted({name for classes in listing.splits.values() for name in classes})
    where = f"its folders ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})" if names else "it"
    message = f"{root} holds no images that can be read; put PNG, JPEG, WebP, BMP or TIFF files into {where}"
    return single_error("no images", str(root), message)


def _drop_broken(listing: Listing, files: Sequence[ImageFile], checked: Sequence[Checked]) -> None:
    """Take the broken files out of the listing and report each."""
    broken = {file.path: result.broken for file, result in zip(files, checked, strict=True) if result.broken}
    for path, reason in broken.items():
        listing.report("broken image", path, reason, skippable=True)
    if broken:
        for classes in listing.splits.values():
            for name, members in classes.items():
                classes[name] = [file for file in members if file.path not in broken]


def _class_names(listing: Listing, *, for_training: bool) -> tuple[str, ...]:
    """Return the classes, sorted, and report what is wrong with them."""
    if not for_training:
        return tuple(sorted({n for classes in listing.splits.values() for n, members in classes.items() if members}))
    main = "train" if "train" in listing.splits else "all"
    folder = listing.root / "train" if main == "train" else listing.root
    classes = listing.splits[main]
    for name, members in classes.items():
        if not members:
            listing.report("empty class", folder / name, "this class has no image to train on", skippable=True)
    names = tuple(sorted(name for name, members in classes.items() if members))
    _report_cases(listing, folder, names)
    if len(names) == 1:
        message = f"the only class is {names[0]!r}; at least two are needed to train a classifier"
        listing.report("one class", folder, message, skippable=False)
    for split in ("val", "test"):
        for name, members in listing.splits.get(split, {}).items():
            if name not in names and (members or name not in classes):
                message = "this class has no images in train/, so a network cannot learn it"
                listing.report("unknown class", listing.root / split / name, message, skippable=False)
    return names


def _report_cases(listing: Listing, folder: Path, names: Sequence[str]) -> None:
    """Report class names that a person (or another file system) takes for one."""
    first: dict[str, str] = {}
    for name in names:
        same = first.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if same != name:
            message = f"differs from the class {same!r} in letter case alone; rename or merge them"
            listing.report("same class twice", folder / name, message, skippable=False)


def _label(listing: Listing, class_names: Sequence[str]) -> tuple[dict[str, Split], str]:
    """Return the splits with labels, and a digest over class names, paths, sizes and labels."""
    digest = hashlib.sha256("\n".join(class_names).encode(errors="surrogateescape"))
    splits = {}
    for split, classes in listing.splits.items():
        paths: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(class_names):
            for file in classes.get(name, []):
                paths.append(file.path)
                labels.append(label)
                row = f"{split}\t{file.relative}\t{file.size}\t{label}\n"
                digest.update(row.encode(errors="surrogateescape"))
        splits[split] = Split(paths, torch.tensor(labels, dtype=torch.int64))
    return splits, digest.hexdigest()
