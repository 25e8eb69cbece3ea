"""Which source a name or a path means."""

from __future__ import annotations

from pathlib import Path

from twofold.data.names import NAMED_DATA, asks_for_labels, check_data_name, is_hub_name, plain_name
from twofold.data.sources.folder import open_folder
from twofold.data.sources.found import Found
from twofold.data.sources.hub import open_hub
from twofold.data.sources.named import open_named
from twofold.data.sources.packed import is_packed, open_packed
from twofold.errors import TwofoldError


def find_data(
    name_or_path: str,
    *,
    skip_broken: bool = False,
    for_training: bool = True,
    several_labels: bool = False,
    show_progress: bool = True,
) -> Found:
    """Return what `name_or_path` means: a named data set, hf:NAME, a packed folder or a folder of images.

    With `several_labels`, or where multilabel: stands before the name, the image of a folder may be in several classes.

    With `skip_broken`, images that cannot be read are left out, with a note for each. Without `for_training`, a folder
    may have one class alone, and classes that its train/ does not have.

    Raises:
        TwofoldError: an unknown name, or data that cannot be had; DataError for a folder with problems.
    """
    check_data_name(name_or_path)
    if name_or_path in NAMED_DATA:
        return open_named(name_or_path, show_progress=show_progress)
    if is_hub_name(name_or_path):
        return open_hub(name_or_path, skip_broken=skip_broken, show_progress=show_progress)
    asked = asks_for_labels(name_or_path)
    root = Path(plain_name(name_or_path)).expanduser()
    if is_packed(root):
        if asked:
            raise TwofoldError(f"{root} is packed, with one class an image; give the folder that it was packed from")
        return open_packed(root)
    return open_folder(
        root,
        skip_broken=skip_broken,
        for_training=for_training,
        several_labels=several_labels or asked,
        show_progress=show_progress,
    )
