"""Images that are there twice: the same bytes, or the same image saved, scaled or brightened anew.

Copies of a training image among the test images make a network look better than it is, so they are worth finding.
Comparing every image with every other grows with the square of their number. Instead each image gets a difference
hash: scaled to 9 × 8 grey pixels, one bit for each pair of neighbours in a row, set where the right one is lighter
(Krawetz, "Kind of like that", 2013). Two copies differ in few of the 64 bits. Cut into k + 1 bands, two hashes that
differ in at most k bits agree in at least one whole band, so a table by band finds all candidates.

64 bits are few: two shirts on black can share them. A candidate is therefore believed only if its 16 × 16 grey
thumbnail is the same as well, up to brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

NEAR_BITS = 4
"""Most of the 64 bits in which the hashes of two copies differ, unless said otherwise."""

_THUMB = 16
# A neighbour counts as lighter only from this many grey levels on: on an even background the noise of a JPEG would
# otherwise set its bits at random.
_STEP = 2
# Below this spread of the thumbnail's grey levels there is nothing to recognise an image by.
_FLAT = 12
# Correlation of two thumbnails. Of 10,000 images of clothes on black, all much alike, 0.98 takes 743 for copies of
# another one, 0.993 takes 54.
_ALIKE = 0.993


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image is recognised by: its difference `bits`, and its 16 × 16 grey `thumb` as 256 bytes."""

    bits: int
    thumb: bytes

    @property
    def is_flat(self) -> bool:
        """Whether the image is one even surface, which looks like every other one."""
        return max(self.thumb) - min(self.thumb) < _FLAT


def fingerprint(image: Image.Image) -> Fingerprint:
    """Return the fingerprint of an "L" or "RGB" image of any size."""
    grey = image.convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    lighter = (small[:, 1:] - small[:, :-1]) > _STEP
    bits = int.from_bytes(np.packbits(lighter).tobytes(), "big")
    return Fingerprint(bits, grey.resize((_THUMB, _THUMB), Image.Resampling.BOX).tobytes())


def distance(first: Fingerprint, second: Fingerprint) -> int:
    """Return in how many of their 64 bits two fingerprints differ."""
    return (first.bits ^ second.bits).bit_count()


def near_groups(prints: Iterable[Fingerprint | None], *, max_bits: int) -> list[list[int]]:
    """Return the groups of two and more near duplicates, as indices into `prints`, each ascending.

    Every image is compared with the first one of each group, so a chain of small changes does not join images
    that differ much. None and flat images belong to no group. `max_bits` is the most bits in which the hashes may
    differ.
    """
    edges = [64 * band // (max_bits + 1) for band in range(max_bits + 2)]
    bands = [(start, (1 << (stop - start)) - 1) for start, stop in pairwise(edges)]
    table: dict[tuple[int, int], list[int]] = {}
    leaders: dict[int, Fingerprint] = {}
    groups: dict[int, list[int]] = {}
    for index, own in enumerate(prints):
        if own is None or own.is_flat:
            continue
        keys = [(start, own.bits >> start & mask) for start, mask in bands]
        candidates = sorted({leader for key in keys for leader in table.get(key, ())})
        candidates = [leader for leader in candidates if distance(own, leaders[leader]) <= max_bits]
        if candidates:
            # The first candidate whose thumbnail is the same, up to brightness and contrast.
            others = _standardised(b"".join(leaders[leader].thumb for leader in candidates))
            alike = others @ _standardised(own.thumb)[0] >= _ALIKE
            if alike.any():
                groups[candidates[int(alike.argmax())]].append(index)
                continue
        leaders[index] = own
        groups[index] = [index]
        for key in keys:
            table.setdefault(key, []).append(index)
    return [members for members in groups.values() if len(members) > 1]


def _standardised(thumbs: bytes) -> np.ndarray:
    """Return thumbnails as rows of mean 0 and length 1, so that a product of two rows is their correlation."""
    rows = np.frombuffer(thumbs, dtype=np.uint8).reshape(-1, _THUMB * _THUMB).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
