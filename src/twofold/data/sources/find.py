"""Which source a name or a path means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twofold.data.names import (
    MULTILABEL_PREFIX,
    NAMED_BOXES,
    asks_for_labels,
    check_data_name,
    is_hub_name,
    is_named,
    is_scenes_name,
    is_table,
    plain_name,
)
from twofold.data.sources.boxes import open_boxes
from twofold.data.sources.boxes_find import list_boxes
from twofold.data.sources.folder import open_folder
from twofold.data.sources.found import Found
from twofold.data.sources.hub import open_hub
from twofold.data.sources.layout import UNUSABLE_KINDS, boxes_message
from twofold.data.sources.named import open_named
from twofold.data.sources.named_boxes import open_named_boxes
from twofold.data.sources.packed import is_packed, open_packed
from twofold.data.sources.problems import DataError, single_error
from twofold.data.sources.scenes import open_scenes
from twofold.data.sources.table import open_table
from twofold.data.sources.table_columns import check_table_settings
from twofold.data.targets import LabelSetTargets
from twofold.errors import TwofoldError
from twofold.files import expanded


def find_data(
    name_or_path: str,
    *,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    skip_broken: bool = False,
    for_training: bool = True,
    several_labels: bool = False,
    for_detector: bool = False,
    show_progress: bool = True,
) -> Found:
    """Return what `name_or_path` means: a named data set, hf:NAME, a packed folder, a folder of images or a table.

    Of a table, `images` is the folder of the images and `columns` what its columns say (see `open_table`). Images with
    boxes are found by looking, or behind the name of their format (see `list_boxes`).

    With `several_labels`, or where multilabel: stands before the name, an image of a folder may be in several classes.

    With `skip_broken`, images that cannot be read are left out, with a note for each. Without `for_training`, a folder
    may have one class alone, and classes that its train/ does not have. With `for_detector`, the error about a folder
    without boxes asks for boxes, and not for folders of classes.

    Raises:
        TwofoldError: an unknown name, or data that cannot be had; DataError for a folder with problems.
    """
    check_data_name(name_or_path, images)
    check_table_settings(name_or_path, images, columns)
    if is_named(name_or_path):
        return _open_named(name_or_path, skip_broken=skip_broken, show_progress=show_progress)
    if is_hub_name(name_or_path):
        return open_hub(name_or_path, skip_broken=skip_broken, show_progress=show_progress)
    asked = asks_for_labels(name_or_path)
    root = expanded(plain_name(name_or_path))
    images_folder = None if images is None else expanded(images)
    if not asked and not (root.is_dir() and is_packed(root)):
        listing = list_boxes(name_or_path, images_folder, columns)
        if listing is not None:
            return open_boxes(listing, skip_broken=skip_broken, for_training=for_training, show_progress=show_progress)
    if is_table(name_or_path):
        return open_table(
            root,
            images_folder,
            columns,
            skip_broken=skip_broken,
            for_training=for_training,
            several_labels=several_labels or asked,
            show_progress=show_progress,
        )
    if is_packed(root):
        found = open_packed(root)
        if asked and found.splits[next(iter(found.splits))].targets.task != LabelSetTargets.task:
            raise TwofoldError(f"{root} is packed, with one class an image; pack {MULTILABEL_PREFIX}FOLDER again")
        return found
    try:
        return open_folder(
            root,
            skip_broken=skip_broken,
            for_training=for_training,
            several_labels=several_labels or asked,
            show_progress=show_progress,
        )
    except DataError as error:
        if not for_detector or any(problem.kind in UNUSABLE_KINDS for problem in error.problems):
            raise
        raise single_error("no boxes", str(root), boxes_message(root)) from error


def _open_named(name: str, *, skip_broken: bool, show_progress: bool) -> Found:
    if name in NAMED_BOXES:
        return open_named_boxes(name, skip_broken=skip_broken, show_progress=show_progress)
    if is_scenes_name(name):
        return open_scenes(name, show_progress=show_progress)
    return open_named(name, show_progress=show_progress)
