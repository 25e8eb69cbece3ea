"""Images with boxes, whatever the file that says them: one listing, checked in one place, to one `Found`.

A reader (`coco`, `voc`, `yolo`, `labelme`, `boxes_csv`) returns a `BoxListing`: the images with their boxes as they are
written, and where each stands. `open_boxes` decodes every image once, checks each box against its image and makes
`BoxTargets`. So all formats are checked alike, and what is wrong is named alike: by file, place in the file, and image.

A box that cannot be used is left out by `skip_broken` and its image stays; an image that cannot be read, or whose file
of boxes cannot, is left out with all its boxes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from twofold.data.check import Checked, channels_and_side, check_images, remark_notes
from twofold.data.sources.boxes_check import usable_boxes
from twofold.data.sources.boxes_listing import Box, BoxedImage, BoxListing
from twofold.data.sources.found import FilePart, Found
from twofold.data.sources.listing import same_names
from twofold.data.sources.problems import Problem, single_error, stop_for_problems, summary_error
from twofold.data.targets import BoxTargets, to_box_targets
from twofold.names import name_bytes, shown, shown_short
from twofold.terminal import command

_SPLITS = ("all", "train", "val", "test")
_ORIENTATION_TAG = 0x0112


@dataclass
class CheckedBoxes:
    """What is left of a listing after its checks.

    Attributes:
        listing: what was listed, its problems and notes complete.
        images: the images that can be used, with the boxes that can, in pixels from the image's upper left corner.
        checked: what decoding each of these showed.
        boxes: of each image its boxes' corners.
        flawed: every box that is a problem, by the file of its image, as (kind, corners in pixels).
    """

    listing: BoxListing
    images: list[BoxedImage]
    checked: list[Checked]
    boxes: list[list[tuple[float, ...]]]
    flawed: list[tuple[BoxedImage, str, tuple[float, ...]]] = field(default_factory=list)


def check_boxes(listing: BoxListing, *, show_progress: bool = True) -> CheckedBoxes:
    """Return the images and boxes of a listing that can be used; what is wrong is added to its problems.

    Raises:
        DataError: no image has a box, or all coordinates are in another unit than the format has.
    """
    images = _each_once(listing)
    if not images:
        if listing.problems:
            raise summary_error(str(listing.path), listing.problems, place=listing.place)
        raise single_error("no images", str(listing.path), f"{listing.path} names no image of {listing.folder}")
    if not any(image.boxes for image in images):
        _refuse_without_boxes(listing, images)
    results = check_images(
        "checked",
        f"{listing.path.resolve()}\n{listing.folder.resolve()}",
        keys=[f"{image.file.size} {image.file.mtime_ns} {image.file.relative}" for image in images],
        encoded=lambda index: images[index].file.path,
        label="checking images",
        show_progress=show_progress,
    )
    kept: list[BoxedImage] = []
    checked: list[Checked] = []
    for image, result in zip(images, results, strict=True):
        if result.broken is not None:
            listing.report("broken image", image.file.relative, result.broken)
        elif (message := _wrong_size(image, result)) is not None:
            listing.report("wrong size", image.where, message)
        else:
            kept.append(image)
            checked.append(result)
    usable = usable_boxes(listing, kept, [(result.height, result.width) for result in checked])
    return CheckedBoxes(listing, usable.images, checked, usable.corners, usable.flawed)


def open_boxes(
    listing: BoxListing, *, skip_broken: bool = False, for_training: bool = True, show_progress: bool = True
) -> Found[FilePart]:
    """Return the images of a listing with `BoxTargets`, after a look at each image and box.

    Evaluation (`for_training=False`) accepts data without training images.

    Raises:
        DataError: something is wrong that `skip_broken` does not cover; `problems` holds all of it.
    """
    splits = {image.split for image in listing.images}
    if for_training and listing.images and not splits & {"all", "train"}:
        have = " and ".join(split for split in _SPLITS if split in splits)
        message = f"{listing.path} has images for {have} but none for train; to evaluate a network, it is enough as it "
        message += f"is: {command('eval', 'RUN', '--data', listing.said)}"
        raise single_error("no training images", str(listing.path), message)
    found = check_boxes(listing, show_progress=show_progress)
    class_names = class_names_of(listing, found.images)
    stop_for_problems(str(listing.path), listing.problems, skip_broken=skip_broken, place=listing.place)
    if not any(image.boxes for image in found.images):
        raise single_error("no boxes", str(listing.path), f"{listing.path} has no box that can be used")
    parts, fingerprint = _parts(found, class_names)
    channels, median_side = channels_and_side(found.checked)
    return Found(
        source=str(listing.path),
        name=listing.path.resolve().stem if listing.path.is_file() else listing.path.resolve().name,
        class_names=class_names,
        splits=parts,
        channels=channels,
        median_side=median_side,
        fingerprint=fingerprint,
        notes=(
            *listing.notes,
            *remark_notes([image.file.relative for image in found.images], found.checked),
            *_notes_on_classes(parts, class_names),
            *skipped_notes(listing.problems),
        ),
        problems=tuple(listing.problems),
    )


def skipped_notes(problems: Sequence[Problem]) -> list[str]:
    """Return a line for each kind of problem: how many there are, and the first three."""
    kinds = Counter(problem.kind for problem in problems)
    notes = []
    for kind, count in kinds.items():
        places = [problem.path for problem in problems if problem.kind == kind][:3]
        more = ", …" if count > len(places) else ""
        notes.append(f"skipped {count:,} × {kind} ({', '.join(places)}{more})")
    return notes


def class_names_of(listing: BoxListing, images: Sequence[BoxedImage]) -> tuple[str, ...]:
    """Return the names of the classes: those that the format lists, in its order, or else those that occur, sorted.

    Names that differ in letter case alone are a problem where nobody listed them.
    """
    if listing.class_names is not None:
        return tuple(listing.class_names)
    first: dict[str, tuple[BoxedImage, Box]] = {}
    for image in images:
        for box in image.boxes:
            first.setdefault(box.label, (image, box))
    numbers = all(name.isdecimal() and name.isascii() for name in first)
    # Whole numbers by their value, however many digits they have.
    by_value: Callable[[str], tuple[int, str]] = lambda name: (len(name.lstrip("0")), name.lstrip("0"))  # noqa: E731
    names = tuple(sorted(first, key=by_value if numbers else None))
    for name, same in same_names(names):
        image, box = first[name]
        message = f"has the class {shown_short(name)!r}, which differs from {shown_short(same)!r} in letter case alone"
        listing.report("same class twice", box.where, message, skippable=False)
    return names


def _each_once(listing: BoxListing) -> list[BoxedImage]:
    """Return the images that are listed once; others are problems, of which the first entry stays within a split."""
    by_file: dict[str, list[BoxedImage]] = {}
    for image in listing.images:
        by_file.setdefault(image.file.path, []).append(image)
    kept = []
    for members in by_file.values():
        first, *others = members
        splits = sorted({image.split for image in members})
        if len(splits) > 1:
            message = f"{first.file.relative} is in {' and in '.join(splits)}"
            listing.report("image in two splits", first.where, message)
            continue
        if others:
            message = f"{first.file.relative} is listed {len(members)} times"
            listing.report("image listed twice", others[0].where, message)
        kept.append(first)
    return sorted(kept, key=lambda image: _SPLITS.index(image.split))


def _refuse_without_boxes(listing: BoxListing, images: Sequence[BoxedImage]) -> None:
    boxes = [problem for problem in listing.problems if not problem.skippable or problem.kind != "unread file"]
    if boxes:
        raise summary_error(str(listing.path), listing.problems, place=listing.place)
    how_many = "the only image" if len(images) == 1 else f"none of the {len(images):,} images"
    has = "has no box" if len(images) == 1 else "has a box"
    message = f"{how_many} of {listing.path} {has}: boxes were looked for in {listing.boxes_in}"
    raise single_error("no boxes", str(listing.path), message)


def _wrong_size(image: BoxedImage, checked: Checked) -> str | None:
    """Return what to say of an image that has another size than its annotation says; None if it has that size."""
    if image.size is None or image.size == (checked.height, checked.width):
        return None
    said, real = f"{image.size[1]} x {image.size[0]} px", f"{checked.width} x {checked.height} px"
    message = f"says that {shown(image.file.relative)} has {said}, but it has {real}"
    if image.size == (checked.width, checked.height) and _is_turned(image.file.path):
        message += (
            ": the boxes are those of the stored pixels, which its EXIF orientation turns; store the pixels upright, "
            "or annotate the upright image"
        )
    return message


def _is_turned(path: str) -> bool:
    """Return whether EXIF has an image turned by a quarter."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(_ORIENTATION_TAG, 1)) >= 5
    except Exception:  # noqa: BLE001 - a damaged header is no reason to fail here: the image itself was read
        return False


def _parts(found: CheckedBoxes, class_names: Sequence[str]) -> tuple[dict[str, FilePart], str]:
    """Return the splits with targets, and a digest over class names, paths, sizes of files and targets."""
    digest = hashlib.sha256(name_bytes("\n".join(class_names)))
    number = {name: index for index, name in enumerate(class_names)}
    parts = {}
    for split in _SPLITS:
        rows = [row for row, image in enumerate(found.images) if image.split == split]
        if not rows:
            continue
        images = [found.images[row] for row in rows]
        corners = [found.boxes[row] for row in rows]
        targets = to_box_targets(
            corners,
            [[number[box.label] for box in image.boxes] for image in images],
            [(found.checked[row].height, found.checked[row].width) for row in rows],
            crowd=[[box.crowd for box in image.boxes] for image in images],
            areas=[
                [
                    (x2 - x1) * (y2 - y1) if box.area is None else box.area
                    for box, (x1, y1, x2, y2) in zip(image.boxes, own, strict=True)
                ]
                for image, own in zip(images, corners, strict=True)
            ],
        )
        for image in images:
            name = os.path.relpath(image.file.path, found.listing.folder)
            digest.update(name_bytes(f"{split}\t{name}\t{image.file.size}\n"))
        digest.update(targets.digest().encode())
        parts[split] = FilePart([image.file.path for image in images], targets)
    return parts, digest.hexdigest()


def _notes_on_classes(parts: dict[str, FilePart], class_names: Sequence[str]) -> list[str]:
    """Return lines on images without boxes, and on classes that no training image has."""
    notes = []
    targets = {split: part.targets for split, part in parts.items() if isinstance(part.targets, BoxTargets)}
    num_images = sum(map(len, targets.values()))
    if num_empty := sum(int((each.counts == 0).sum()) for each in targets.values()):
        notes.append(f"{num_empty:,} of {num_images:,} images {'has' if num_empty == 1 else 'have'} no box")
    if (main := targets.get("train", targets.get("all"))) is not None:
        there = set(main.classes())
        missing = [shown_short(name) for index, name in enumerate(class_names) if index not in there]
        if missing:
            more = ", …" if len(missing) > 5 else ""
            notes.append(f"no training image has a box of {', '.join(missing[:5])}{more}")
    return notes
