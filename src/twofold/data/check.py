"""Decode every image of a folder once, before hours of training meet the broken one; remember the good ones.

The result for a file is kept in the cache by its path, size and time of change, so the next start decodes
only what is new. The cache may be lost: the files are decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twofold.data.decode import DECODING, REMARKS, BrokenImageError, open_image, remark_line, remarks_of
from twofold.data.parallel import ordered_map
from twofold.data.pixels import is_grey
from twofold.errors import TwofoldError
from twofold.files import cache_folder, write_text
from twofold.names import name_bytes
from twofold.terminal import track


@dataclass(frozen=True)
class Checked:
    """What decoding a file showed: height and width in pixels, whether it is grey, and `remarks_of` it.

    Of a file that cannot be read, only `broken`: the reason.
    """

    height: int = 0
    width: int = 0
    grey: bool = False
    broken: str | None = None
    remarks: tuple[str, ...] = ()


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

    `room` is the cache's folder for images of this kind, `name` that of the set. Another content must have another key.
    `encoded` returns the path or the bytes of the image at an index, or raises BrokenImageError.
    """
    cache = cache_folder() / room / f"{hashlib.sha256(name_bytes(name)).hexdigest()[:32]}.json"
    known: dict[str, Checked] = {}
    # A cache that is missing or in any way damaged is as good as none.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["version"] == DECODING:
            rows = content["files"].items()
            known = {key: Checked(int(h), int(w), bool(grey), None, tuple(rest)) for key, (h, w, grey, *rest) in rows}

    def check(index: int) -> Checked:
        try:
            image = open_image(encoded(index))
        except BrokenImageError as error:
            return Checked(broken=error.reason)
        return Checked(image.height, image.width, is_grey(image), None, remarks_of(image))

    missing = [index for index, key in enumerate(keys) if key not in known]
    decoded = track(ordered_map(check, missing), total=len(missing), label=label, enabled=show_progress)
    known |= {keys[index]: result for index, result in zip(missing, decoded, strict=True)}
    results = {key: known[key] for key in keys}
    if missing:
        # Failures are not kept: a file may be readable next time, unchanged.
        good = {
            key: (each.height, each.width, int(each.grey), *each.remarks)
            for key, each in results.items()
            if each.broken is None
        }
        # A cache that cannot be written costs time at the next start, nothing else.
        with contextlib.suppress(OSError, TwofoldError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_text(cache, json.dumps({"version": DECODING, "files": good}))
    return [results[key] for key in keys]


def channels_and_side(results: Sequence[Checked]) -> tuple[int, int]:
    """Return 1 if all of these good images are grey, else 3; and the median of their shorter sides in pixels."""
    channels = 1 if all(result.grey for result in results) else 3
    return channels, statistics.median_low(min(result.height, result.width) for result in results)


def remark_notes(names: Sequence[str], results: Sequence[Checked]) -> list[str]:
    """Return a line for each remark that there is on any image: on how many, and on which first."""
    notes = []
    for key in REMARKS:
        having = [name for name, result in zip(names, results, strict=True) if key in result.remarks]
        if having:
            notes.append(remark_line(key, len(having), having[0]))
    return notes
