"""Decode every image of a folder once, before hours of training meet the broken one; remember the good ones.

The result for a file is kept in the cache by its path, size and time of change, so the next start only looks at
what is new. The cache is never needed: damaged or unwritable, the files are simply decoded again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from twofold.data.decode import BrokenImageError, open_image
from twofold.data.parallel import ordered_map
from twofold.data.pixels import is_grey
from twofold.errors import TwofoldError
from twofold.files import cache_folder, write_text
from twofold.terminal import track

_VERSION = 1


@dataclass(frozen=True)
class Checked:
    """What decoding a file showed: height and width in pixels and whether it is grey, or `broken`, the reason."""

    height: int = 0
    width: int = 0
    grey: bool = False
    broken: str | None = None


def check_images(
    room: str,
    name: str,
    *,
    keys: Sequence[str],
    encoded: Callable[[int], str | Path | bytes],
    label: str,
    show_progress: bool,
) -> list[Checked]:
    """Return what decoding each image shows, in order, from the cache where that is known.

    Args:
        room: the cache's folder for images of this kind.
        name: of the set of images.
        keys: of each image; another content must have another key.
        encoded: returns the path or the bytes of the image at an index, or raises BrokenImageError.
        label: of the progress.
        show_progress: whether to show it.
    """
    known = _recall(room, name)
    missing = [index for index, key in enumerate(keys) if key not in known]
    decoded = ordered_map(partial(_check, encoded), missing)
    for index, result in zip(
        missing, track(decoded, total=len(missing), label=label, enabled=show_progress), strict=True
    ):
        known[keys[index]] = result
    results = {key: known[key] for key in keys}
    if missing:
        _remember(room, name, results)
    return [results[key] for key in keys]


def _check(encoded: Callable[[int], str | Path | bytes], index: int) -> Checked:
    try:
        image = open_image(encoded(index))
    except BrokenImageError as error:
        return Checked(broken=error.reason)
    return Checked(image.height, image.width, is_grey(image))


def _recall(room: str, name: str) -> dict[str, Checked]:
    """Return the results remembered for `name`, by key; none if the cache is missing or in any way damaged."""
    cache = _cache_path(room, name)
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            return {}
        return {key: Checked(int(h), int(w), bool(grey)) for key, (h, w, grey) in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _remember(room: str, name: str, results: Mapping[str, Checked]) -> None:
    """Keep the results for `name` in the cache. Failures are not: a file may be readable next time, unchanged."""
    good = {
        key: (result.height, result.width, int(result.grey)) for key, result in results.items() if result.broken is None
    }
    cache = _cache_path(room, name)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps({"version": _VERSION, "files": good}))
    except (OSError, TwofoldError):
        pass  # a cache that cannot be written costs time at the next start, nothing else


def _cache_path(room: str, name: str) -> Path:
    return cache_folder() / room / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
