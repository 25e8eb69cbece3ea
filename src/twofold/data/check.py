"""Decode every image of a folder once, before hours of training meet the broken one; remember the good ones.

The result for a file is kept in the cache by its path, size and time of change, so the next start only looks at
what is new. The cache is never needed: damaged or unwritable, the files are simply decoded again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twofold.data.decode import BrokenImageError, open_image
from twofold.data.listing import ImageFile
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


def check_files(root: Path, files: Sequence[ImageFile], *, show_progress: bool) -> list[Checked]:
    """Return what decoding each file shows, in order, from the cache where the file has not changed since."""
    cache = cache_folder() / "checked" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]}.json"
    known = _read(cache)
    results = [known.get(_key(file)) for file in files]
    missing = [index for index, result in enumerate(results) if result is None]
    decoded = ordered_map(_check, (files[index] for index in missing))
    tracked = track(decoded, total=len(missing), label="checking images", enabled=show_progress)
    for index, result in zip(missing, tracked, strict=True):
        results[index] = result
    complete = [result for result in results if result is not None]
    if missing:
        _write(cache, files, complete)
    return complete


def _check(file: ImageFile) -> Checked:
    try:
        image = open_image(file.path)
    except BrokenImageError as error:
        return Checked(broken=error.reason)
    return Checked(image.height, image.width, is_grey(image))


def _key(file: ImageFile) -> str:
    return f"{file.size} {file.mtime_ns} {file.relative}"


def _read(cache: Path) -> dict[str, Checked]:
    """Return the remembered results by key; none if the cache is missing or in any way damaged."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            return {}
        return {key: Checked(int(h), int(w), bool(grey)) for key, (h, w, grey) in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(cache: Path, files: Sequence[ImageFile], results: Sequence[Checked]) -> None:
    # Failures are not remembered: a file that could not be read may be readable next time, unchanged.
    good = {
        _key(file): (result.height, result.width, int(result.grey))
        for file, result in zip(files, results, strict=True)
        if result.broken is None
    }
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps({"version": _VERSION, "files": good}))
    except (OSError, TwofoldError):
        pass  # a cache that cannot be written costs time at the next start, nothing else
