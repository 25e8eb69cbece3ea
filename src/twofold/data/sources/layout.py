"""Folders as people have them: what a layout that is not one folder a class most likely is, and what to do with it.

`listing` finds the files. Here stand the sentences for what is not images by class: an archive, the folder of a run, a
flat folder with a table beside it, a detection data set, a folder that an archive left around the real one. Training,
evaluation and `twofold data check` say the same of the same folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from twofold.terminal import quoted

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
"""Endings of tables that are read."""

LAYOUT_KINDS = ("detection layout", "splits inside classes")
"""Problems of a folder that is another thing than it was taken for: its images need not be looked at."""

UNUSABLE_KINDS = ("missing folder", "not a folder", "unreadable folder", "not images")
"""Problems of a folder that is no folder of images of any kind, or that cannot be opened."""

BOX_FORMATS = "COCO, Pascal VOC, YOLO or labelme"
"""Formats of boxes that are found in a folder by looking."""

_ARCHIVES = {
    ".zip": ("a ZIP archive", "zipfile"),
    **dict.fromkeys((".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz"), ("a tar archive", "tarfile")),
    **dict.fromkeys((".7z", ".rar"), ("an archive", "")),
}
_IMAGES_OF_DETECTION = {"images", "imgs", "img", "jpegimages"}
_ANNOTATIONS = {"labels", "annotations", "annos", "masks", "bboxes", "imagesets", "segmentationclass"}
_OTHERS_OF_DETECTION = {"segmentationobject", *SPLIT_NAMES}
_YEAR = re.compile(r"^(train|val|test)20\d\d$")


def file_message(path: Path | str) -> str:
    """Return what to say of a file where a folder is needed: of an archive, the command that unpacks it."""
    path = Path(path)
    name = path.name.lower()
    what, module = _ARCHIVES.get(path.suffix.lower(), ("", ""))
    # Of what is compressed, only an archive has files to unpack: labels.csv.gz is none.
    if path.suffix.lower() in (".gz", ".bz2", ".xz") and not name.removesuffix(path.suffix.lower()).endswith(".tar"):
        what = ""
    if not what:
        return f"{path} is a file, not a folder; give the folder that holds one folder per class"
    out = path.with_name(path.name[: -len(path.suffix)].removesuffix(".tar") or "unpacked")
    remedy = f": python -m {module} -e {quoted(path)} {quoted(out)}" if module else ""
    return f"{path} is {what}, not a folder; unpack it and give the folder{remedy}"


def is_run(folder: Path) -> bool:
    """Return whether a folder is the record of a run."""
    # os.path, unlike Path, takes a folder that may not be entered for one without these.
    return os.path.isfile(folder / "recipe.json") and os.path.isdir(folder / "checkpoints")


def holds_runs(folder: Path) -> bool:
    """Return whether a folder is one that runs are written into."""
    if folder.name != "runs":
        return False
    try:
        return any(is_run(path) for path in folder.iterdir())
    except OSError:
        return False


def run_message(root: Path, runs: Sequence[str]) -> str:
    """Return what to say of a folder that is a run, or that holds nothing but `runs`."""
    if is_run(root):
        return f"{root} is a run, which twofold train wrote, not images; give the folder of images"
    return f"{root} holds runs of twofold train, such as {runs[0]}, not images; give the folder of images"


def flat_message(folder: Path, num_images: int) -> str:
    """Return what to say of a folder whose images lie in no class folders: of a table beside them, how to use it."""
    held = f"{folder} holds {num_images:,} image{'s' if num_images > 1 else ''} but no class folders"
    remedy = table_hint(folder) or "put the images of each class in a folder that has its name"
    return f"{held}; {remedy}"


def boxes_message(folder: Path) -> str:
    """Return what to say of a folder for a detector where no boxes are found: of a table beside it, how to use it."""
    table = _table_beside(folder)
    remedy = f"put images there with boxes of {BOX_FORMATS}, or give a table of boxes: --data boxes.csv"
    if table is not None:
        remedy = f"if {table.name} says the boxes: --data {quoted(table)}"
    return f"{folder} holds no images with boxes, which a detector needs; {remedy}"


def table_hint(folder: Path) -> str:
    """Return how to use the table that lies in or beside a folder of images; "" if there is none."""
    if (table := _table_beside(folder)) is None:
        return ""
    words = f"--data {quoted(table)} --images {quoted(folder)}"
    return f"if {table.name} says the classes: {words}"


def _table_beside(folder: Path) -> Path | None:
    """Return the table that most likely holds the labels of the images in a folder: in it, or beside it."""
    for place in (folder, folder.resolve().parent if folder == Path() else folder.parent):
        try:
            names = sorted(path.name for path in place.iterdir() if path.name.lower().endswith(TABLE_SUFFIXES))
        except OSError:
            continue
        # Kaggle's: train.csv and sample_submission.csv beside train/ and test/.
        names = [name for name in names if not re.search("submission|^test", name.lower())] or names
        if names:
            best = min(names, key=lambda name: (not re.search("label|train|class", name.lower()), name))
            return place / best
    return None


def detection_message(names: Sequence[str]) -> str | None:
    """Return what to say of folders that together are a data set for detection or segmentation; None of others."""
    lower = {name.lower() for name in names}
    images = {name for name in lower if name in _IMAGES_OF_DETECTION or _YEAR.match(name)}
    annotations = lower & _ANNOTATIONS
    if not images or not annotations or lower - images - annotations - _OTHERS_OF_DETECTION:
        return None
    which = " and ".join(f"{name}/" for name in sorted(names) if name.lower() in images | annotations)
    return (
        f"{which} are the layout of a data set for detection or segmentation, not classes, and hold no boxes that are "
        f"read (of {BOX_FORMATS}); put the images of each class in a folder that has its name"
    )


def inner_folder(root: Path, visible: Sequence[str], inside: Sequence[str]) -> Path | None:
    """Return the folder that the classes seem to lie in, where `root` is but a wrapper that an archive left.

    Args:
        root: the folder that was given.
        visible: the folders in it.
        inside: the folders in the only one of these.
    """
    if len(visible) != 1 or not inside:
        return None
    are_splits = any(name.lower() in SPLIT_NAMES for name in inside)
    return root / visible[0] if are_splits or len(inside) > 1 else None
