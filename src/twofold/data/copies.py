"""Which images are copies of one another: the same pixels, or the same image saved, scaled or brightened anew.

Images are told by what they show (see `duplicates`), for which each is decoded once. What was seen is kept in the cache
by the image's `content_keys`, so the next start looks only at what is new or changed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from safetensors import SafetensorError, numpy as safetensors_numpy
from torch import Tensor

from twofold.data.decode import DECODING, BrokenImageError
from twofold.data.duplicates import NEAR_BITS, Fingerprint, fingerprint, near_groups
from twofold.data.images import Part
from twofold.data.parallel import ordered_map
from twofold.errors import RunError, TwofoldError
from twofold.files import cache_folder, write_bytes
from twofold.names import name_bytes
from twofold.terminal import track

_KEY, _DIGEST, _BITS = 16, 16, 8
_VERSION = b"1 %d " % DECODING


def copy_groups(parts: Sequence[Part], name: str, *, show_progress: bool) -> Int64[Tensor, " n"]:
    """Return the group of each image of the parts, one after the other: copies of one image have the same.

    Args:
        parts: the images.
        name: of the set, for the cache.
        show_progress: whether to show it.

    Raises:
        RunError: an image can no longer be read.
    """
    looks = _looks(parts, name, show_progress=show_progress)
    exact: dict[bytes, int] = {}
    same = [exact.setdefault(look[:_DIGEST], number) for number, look in enumerate(looks)]
    firsts = [_fingerprint(look) if same[number] == number else None for number, look in enumerate(looks)]
    for group in near_groups(firsts, max_bits=NEAR_BITS):
        for member in group:
            same[member] = group[0]
    # An exact copy of a near copy: two steps to the first of the group.
    return torch.tensor([same[number] for number in same], dtype=torch.int64)


def _looks(parts: Sequence[Part], name: str, *, show_progress: bool) -> list[bytes]:
    """Return what each image looks like: a digest of its pixels and its fingerprint, from the cache where known."""
    places = [(part, index) for part in parts for index in range(len(part))]
    of_parts = [part.content_keys() or [None] * len(part) for part in parts]
    keys = [None if key is None else _hashed(key) for keys in of_parts for key in keys]
    cache = cache_folder() / "copies" / f"{_hashed(name).hex()}.safetensors"
    known = _read(cache)
    missing = [number for number, key in enumerate(keys) if key is None or key not in known]
    looked = ordered_map(lambda number: _look(*places[number]), missing)
    tracked = track(looked, total=len(missing), label="looking for copies", enabled=show_progress and bool(missing))
    fresh = dict(zip(missing, tracked, strict=True))
    looks = [fresh[number] if number in fresh else known[key] for number, key in enumerate(keys)]  # type: ignore[index]
    rows = {key: look for key, look in zip(keys, looks, strict=True) if key is not None}
    if rows.keys() - known.keys():
        # A cache that cannot be written costs time at the next start, nothing else.
        with contextlib.suppress(OSError, TwofoldError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            _write(cache, rows)
    return looks


def _look(part: Part, index: int) -> bytes:
    try:
        image = part.decoded(index)
    except BrokenImageError as error:
        raise RunError(f"{part.describe(index)}: {error.reason}; {part.remedy}") from error
    digest = hashlib.blake2b(f"{image.mode} {image.size} ".encode() + image.tobytes(), digest_size=_DIGEST).digest()
    seen = fingerprint(image)
    return digest + seen.bits.to_bytes(_BITS, "big") + seen.thumb


def _fingerprint(look: bytes) -> Fingerprint:
    bits, thumb = look[_DIGEST : _DIGEST + _BITS], look[_DIGEST + _BITS :]
    return Fingerprint(int.from_bytes(bits, "big"), thumb)


def _hashed(text: str) -> bytes:
    return hashlib.blake2b(_VERSION + name_bytes(text), digest_size=_KEY).digest()


def _write(path: Path, rows: dict[bytes, bytes]) -> None:
    content = np.frombuffer(b"".join(key + look for key, look in rows.items()), dtype=np.uint8)
    table = content.reshape(len(rows), -1)
    write_bytes(path, safetensors_numpy.save({"rows": table}, {"sha256": hashlib.sha256(content.data).hexdigest()}))


def _read(path: Path) -> dict[bytes, bytes]:
    """Return what images look like by their keys; a cache that is missing or in any way damaged is as good as none."""
    from safetensors import safe_open

    with contextlib.suppress(OSError, SafetensorError, ValueError, KeyError, TypeError):
        with safe_open(path, framework="numpy") as file:
            table, written = file.get_tensor("rows"), (file.metadata() or {})["sha256"]
        content = table.tobytes()
        width = table.shape[1]
        if hashlib.sha256(content).hexdigest() == written:
            starts = range(0, len(content), width)
            return {content[at : at + _KEY]: content[at + _KEY : at + width] for at in starts}
    return {}
