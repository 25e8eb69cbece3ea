"""What is odd about images with boxes: `twofold data check` of a folder in COCO's, VOC's, YOLO's or another format.

All that `inspect_folder` finds of the images themselves, and of the boxes: what training would refuse, how many there
are of each class, how large they are (COCO counts an object below 32² px as small and from 96² px on as large), and the
ends of every order, to be looked at: the smallest, the largest, the longest, and the images with the most.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from twofold.data.duplicates import NEAR_BITS
from twofold.data.inspection import KINDS, Finding, Inspection, inspect_folder
from twofold.data.sources.boxes import CheckedBoxes, check_boxes, class_names_of
from twofold.data.sources.boxes_listing import BoxListing
from twofold.data.sources.listing import ImageFile, Listing
from twofold.names import shown

ODD_BOXES = {
    "problem boxes": "cannot be used as they are written",
    "smallest boxes": "by their shorter side",
    "largest boxes": "by their part of the image",
    "longest boxes": "by how many times one side is the other",
    "most boxes": "the images with the most",
}
"""What is drawn of the boxes, and how it is chosen."""

_SMALL, _LARGE = 32.0**2, 96.0**2
_MOST_DRAWN = 8
_PARTS = (0.0, 0.05, 0.5, 0.95, 1.0)
Corners = tuple[float, ...]


@dataclass(frozen=True)
class OddBoxes:
    """An image to look at: its path below the root, a line on it, its boxes, and which of them the line is about.

    `size` is the image's width and height in pixels.
    """

    path: str
    message: str
    boxes: tuple[Corners, ...]
    marked: tuple[int, ...]
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class BoxStatistics:
    """How many boxes there are, and how large.

    Attributes:
        num_boxes: those that can be used.
        num_crowds: those of them that are crowds.
        num_without: the images without a box.
        most: the most boxes of an image.
        shares: the part of the boxes that COCO counts as small, medium and large, by their area.
        shorter_side: least, 5 %, median, 95 % and largest shorter side in pixels.
        aspect_ratio: the same of width by height.
        part_of_image: the same of the square root of a box's part of the image's area.
    """

    num_boxes: int
    num_crowds: int
    num_without: int
    most: int
    shares: dict[str, float]
    shorter_side: tuple[float, ...]
    aspect_ratio: tuple[float, ...]
    part_of_image: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BoxInspection(Inspection):
    """All that was found in a folder of images with boxes; `counts` are the boxes of each class in each split."""

    boxes: BoxStatistics
    odd: dict[str, tuple[OddBoxes, ...]]


def inspect_boxes(listing: BoxListing, *, near_bits: int = NEAR_BITS, show_progress: bool = True) -> BoxInspection:
    """Look through images and their boxes.

    Args:
        listing: what a reader found.
        near_bits: the most of 64 bits in which the hashes of near duplicates may differ.
        show_progress: draw progress.

    Raises:
        DataError: no image has a box, or all coordinates are in another unit than the format has.
    """
    found = check_boxes(listing, show_progress=show_progress)
    class_names = class_names_of(listing, found.images)
    images = inspect_folder(
        listing.folder,
        near_bits=near_bits,
        several_labels=True,
        listing=_by_class(listing, class_names),
        show_progress=show_progress,
    )
    # What is said of classes of images does not hold of boxes.
    kept = [finding for finding in images.findings if not finding.kind.startswith(("class", "not for"))]
    for problem in listing.problems:
        if problem.kind != "broken image":  # which the images' own findings have
            kind = "box problem" if problem.skippable else "folder problem"
            kept.append(Finding(kind, (problem.path,), f"{problem.kind}: {problem.message}"))
    numbers = Counter((image.split, box.label) for image in found.images for box in image.boxes)
    splits = dict.fromkeys(image.split for image in found.images)
    counts = {split: {name: numbers[split, name] for name in class_names} for split in splits}
    main = "train" if "train" in counts else next(iter(counts), None)
    rare = [name for name in class_names if main is not None and not counts[main][name]]
    kept += [Finding("class imbalance", (shown(name),), f"has no box in {main}") for name in rare]
    own = {field.name: getattr(images, field.name) for field in fields(Inspection)}
    order = list(KINDS)
    own |= {"findings": tuple(sorted(kept, key=lambda each: order.index(each.kind))), "counts": counts}
    own |= {"notes": (*listing.notes, *images.notes)}
    return BoxInspection(**own, boxes=_statistics(found), odd=_odd(found))


def _by_class(listing: BoxListing, class_names: Sequence[str]) -> Listing:
    """Return the images by split and by the classes of their boxes, each once."""
    images = Listing(listing.folder, table=listing.path)
    for image in {image.file.path: image for image in listing.images}.values():
        classes: dict[str, list[ImageFile]] = images.splits.setdefault(image.split, {name: [] for name in class_names})
        labels = dict.fromkeys(box.label for box in image.boxes if box.label in classes)
        for label in labels:
            classes[label].append(image.file)
        if not labels:
            images.unlabelled.setdefault(image.split, []).append(image.file)
    return images


def _statistics(found: CheckedBoxes) -> BoxStatistics:
    boxes = [box for image in found.images for box in image.boxes]
    corners, sizes = _flat(found)
    sides = corners[:, 2:] - corners[:, :2]
    own = sides.prod(axis=1)
    areas = np.array([own[row] if box.area is None else box.area for row, box in enumerate(boxes)], dtype=np.float64)
    counts = [len(image.boxes) for image in found.images]
    small, large = areas < _SMALL, areas >= _LARGE
    shares = {"small": small, "medium": ~small & ~large, "large": large}
    return BoxStatistics(
        num_boxes=len(boxes),
        num_crowds=sum(box.crowd for box in boxes),
        num_without=counts.count(0),
        most=max(counts, default=0),
        shares={name: float(which.mean()) if boxes else 0.0 for name, which in shares.items()},
        shorter_side=_parts(sides.min(axis=1)),
        aspect_ratio=_parts(sides[:, 0] / sides[:, 1]),
        part_of_image=_parts(np.sqrt(own / sizes.prod(axis=1))),
    )


def _flat(found: CheckedBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of all boxes, and the (height, width) of the image of each."""
    corners = [own for of_image in found.boxes for own in of_image]
    sizes = [
        (checked.height, checked.width) for checked, own in zip(found.checked, found.boxes, strict=True) for _ in own
    ]
    flat = np.array(corners, dtype=np.float64).reshape(-1, 4)
    return flat, np.array(sizes, dtype=np.float64).reshape(-1, 2)


def _parts(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, _PARTS)) if len(values) else ()


def _odd(found: CheckedBoxes) -> dict[str, tuple[OddBoxes, ...]]:
    """Return the images to look at, by the reasons of `ODD_BOXES`; each image once for each."""
    place = {id(image): row for row, image in enumerate(found.images)}
    by_file = {image.file.path: row for row, image in enumerate(found.images)}
    corners, sizes = _flat(found)
    sides = corners[:, 2:] - corners[:, :2]
    at = np.array([place[id(image)] for image in found.images for _ in image.boxes], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum([len(own) for own in found.boxes])])

    def odd(row: int, message: str, marked: Sequence[int], more: Sequence[Corners] = ()) -> OddBoxes:
        image, checked = found.images[row], found.checked[row]
        boxes = (*found.boxes[row], *more)
        path = os.path.relpath(image.file.path, found.listing.folder)
        return OddBoxes(path, message, boxes, tuple(marked), (checked.width, checked.height))

    def by(values: np.ndarray, words: str) -> tuple[OddBoxes, ...]:
        chosen: dict[int, int] = {}
        for box in np.argsort(values, kind="stable").tolist():
            chosen.setdefault(int(at[box]), box)
            if len(chosen) == _MOST_DRAWN:
                break
        return tuple(
            odd(row, words.format(wide=sides[box, 0], high=sides[box, 1]), [box - int(first[row])])
            for row, box in chosen.items()
        )

    flawed: dict[int, list[tuple[str, Corners]]] = {}
    for image, kind, own in found.flawed:
        flawed.setdefault(by_file[image.file.path], []).append((kind, own))
    counts = np.array([len(own) for own in found.boxes])
    most = [row for row in np.argsort(-counts, kind="stable")[:_MOST_DRAWN].tolist() if counts[row] > 1]
    wide, high = sides.T
    return {
        "problem boxes": tuple(
            odd(
                row,
                ", ".join(dict.fromkeys(kind for kind, _ in own)),
                range(len(found.boxes[row]), len(found.boxes[row]) + len(own)),
                [box for _, box in own],
            )
            for row, own in list(flawed.items())[:_MOST_DRAWN]
        ),
        "smallest boxes": by(sides.min(axis=1), "{wide:.3g} x {high:.3g} px"),
        "largest boxes": by(-sides.prod(axis=1) / sizes.prod(axis=1), "{wide:.4g} x {high:.4g} px"),
        "longest boxes": by(-np.maximum(wide / high, high / wide), "{wide:.3g} x {high:.3g} px"),
        "most boxes": tuple(odd(row, f"{counts[row]} boxes", range(int(counts[row]))) for row in most),
    }
