"""Each box against its image: what cannot be a box there is a problem, what sticks out is cut off.

What is wrong with annotations is seldom one box: fractions taken for pixels, percent for fractions, a tool that swaps
corners. So a wrong unit is told once, of the whole set, where most boxes have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from twofold.data.sources.boxes_listing import Box, BoxedImage, BoxListing
from twofold.data.sources.problems import single_error
from twofold.names import shown

# Fractions of an image are at most 1; a box that sticks out by half of its width has 1.5.
_LARGEST_FRACTION = 1.5
_LEAST_SIDE = 1e-3
# By how many pixels a box may stick out without a word: roundings of tools, and VOC's that counts from 0.
_TOLERANCE = 1.0
_FEWEST_FOR_PERCENT, _SMALLEST_FOR_PERCENT = 10, 250


class Usable(NamedTuple):
    """The images with the boxes that can be used, their corners in pixels, and the boxes that cannot."""

    images: list[BoxedImage]
    corners: list[list[tuple[float, ...]]]
    flawed: list[tuple[BoxedImage, str, tuple[float, ...]]]


@dataclass
class _Rows:
    """All boxes as rows: `at` is the image of each, `sizes` the (height, width) of that."""

    boxes: list[Box]
    at: list[int]
    written: np.ndarray
    sizes: np.ndarray
    good: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.good = np.ones(len(self.boxes), dtype=bool)


def usable_boxes(listing: BoxListing, images: Sequence[BoxedImage], sizes: Sequence[tuple[int, int]]) -> Usable:
    """Return the images with the boxes that can be used, cut off at the edges; report the others.

    Args:
        listing: where problems and notes go; its unit is that of the coordinates.
        images: the images.
        sizes: height and width of each in pixels.

    Raises:
        DataError: most coordinates are in another unit.
    """
    boxes = [box for image in images for box in image.boxes]
    at = [index for index, image in enumerate(images) for _ in image.boxes]
    written = np.array([box.corners for box in boxes], dtype=np.float64).reshape(-1, 4)
    rows = _Rows(boxes, at, written, np.array(sizes, dtype=np.float64).reshape(-1, 2)[at])
    flawed: list[tuple[BoxedImage, str, tuple[float, ...]]] = []
    high, wide = rows.sizes[:, :1], rows.sizes[:, 1:]
    limits = np.concatenate([wide, high, wide, high], axis=1)
    corners = written.copy()
    if listing.unit == "fractions":
        corners *= limits
    elif listing.unit == "pixels from 1":
        corners[:, :2] -= 1

    def refuse(kind: str, which: np.ndarray, message: str) -> None:
        for row in np.flatnonzero(which & rows.good):
            image, box = images[at[row]], boxes[row]
            text = message.format(width=int(wide[row, 0]), height=int(high[row, 0]))
            listing.report(kind, box.where, f"{_words(image, box)} {text}")
            flawed.append((image, kind, tuple(corners[row].tolist())))
        rows.good &= ~which

    _check_unit(listing, images, rows, refuse)
    x1, y1, x2, y2 = corners.T
    refuse("swapped corners", (x2 < x1) | (y2 < y1), "has its second corner left of the first, or above it")
    clipped = np.clip(corners, 0, limits)
    outside = (x1 >= wide[:, 0]) | (y1 >= high[:, 0]) | (x2 <= 0) | (y2 <= 0)
    thin = np.minimum(x2 - x1, y2 - y1) < _LEAST_SIDE
    refuse("box without area", thin, "has no area")
    refuse("box outside the image", outside, "lies outside the image of {width} x {height} px")
    sliver = np.minimum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1]) < _LEAST_SIDE
    refuse("box outside the image", sliver, "lies outside the image of {width} x {height} px")
    refuse("duplicate box", _repeated(rows, clipped), "is there twice")
    excess = np.abs(clipped - corners).max(axis=1, initial=0)
    if num_clipped := int(((excess > _TOLERANCE) & rows.good).sum()):
        first = int(np.flatnonzero((excess > _TOLERANCE) & rows.good)[0])
        words = "box sticks out of the image and is" if num_clipped == 1 else "boxes stick out of the image and are"
        where = shown(boxes[first].where)
        listing.notes.append(f"{num_clipped:,} {words} cut off at its edges ({where})")
    return _collect(images, rows, clipped, flawed)


def _collect(
    images: Sequence[BoxedImage],
    rows: _Rows,
    clipped: np.ndarray,
    flawed: list[tuple[BoxedImage, str, tuple[float, ...]]],
) -> Usable:
    kept: list[list[Box]] = [[] for _ in images]
    corners: list[list[tuple[float, ...]]] = [[] for _ in images]
    for row, own in enumerate(clipped.tolist()):
        if rows.good[row]:
            kept[rows.at[row]].append(rows.boxes[row])
            corners[rows.at[row]].append(tuple(own))
    usable = [
        BoxedImage(image.file, image.split, image.where, boxes, image.size)
        for image, boxes in zip(images, kept, strict=True)
    ]
    return Usable(usable, corners, flawed)


def _words(image: BoxedImage, box: Box) -> str:
    x1, y1, x2, y2 = (f"{value:g}" for value in box.corners)
    return f"the box ({x1}, {y1}) to ({x2}, {y2}) of {shown(image.file.relative)}"


def _check_unit(
    listing: BoxListing,
    images: Sequence[BoxedImage],
    rows: _Rows,
    refuse: Callable[[str, np.ndarray, str], None],
) -> None:
    if not rows.boxes:
        return
    largest = np.abs(rows.written).max(axis=1)
    first = rows.boxes[0].where
    if listing.unit == "fractions":
        wrong = largest > _LARGEST_FRACTION
        remedy = "they must be fractions of the image's width and height, from 0 to 1"
        if wrong.mean() > 0.5:
            unit = "percent or pixels" if largest.max() <= 100 * _LARGEST_FRACTION else "pixels"
            _refuse_all(listing, f"most coordinates are more than 1, as {unit} are ({shown(first)}): {remedy}")
        refuse("wrong unit", wrong, f"has coordinates of more than 1; {remedy}")
        return
    fractions = largest <= _LARGEST_FRACTION
    # A box of a pixel in the corner is whole numbers; fractions have decimals.
    fractions &= (rows.written % 1 != 0).any(axis=1)
    remedy = f"multiply x by the width and y by the height, since they must be {listing.unit.split()[0]}"
    if fractions.mean() > 0.5:
        _refuse_all(listing, f"the coordinates are at most 1, as fractions are ({shown(first)}): {remedy}")
    refuse("wrong unit", fractions, f"has fractions for coordinates; {remedy}")
    smallest = rows.sizes.min()
    if len(rows.boxes) >= _FEWEST_FOR_PERCENT and 50 < largest.max() <= 100 and smallest >= _SMALLEST_FOR_PERCENT:
        listing.notes.append(
            f"no coordinate is more than 100, though each side of an image has {smallest:.0f} px or more: if they are "
            "percent, they must be turned into pixels"
        )


def _refuse_all(listing: BoxListing, message: str) -> None:
    raise single_error("wrong unit", str(listing.path), f"{listing.path}: {message}")


def _repeated(rows: _Rows, corners: np.ndarray) -> np.ndarray:
    """Return which boxes have the corners and the class of an earlier one of their image."""
    repeated = np.zeros(len(rows.boxes), dtype=bool)
    seen: set[tuple[int, str, bool, tuple[float, ...]]] = set()
    for row, own in enumerate(corners.tolist()):
        if rows.good[row]:
            key = (rows.at[row], rows.boxes[row].label, rows.boxes[row].crowd, tuple(own))
            repeated[row] = key in seen
            seen.add(key)
    return repeated
