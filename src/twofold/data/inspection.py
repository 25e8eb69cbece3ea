"""What is odd about a folder of images, before anything is learned from it: `twofold data check`.

`open_folder` asks whether training can start. This asks what a careful person would want to know first: which files
are broken or not what their names say, which images are there twice (in the test set too), which classes are small,
which images are unlike the rest. Each file is decoded once, in threads, however many labels a table gives it; findings
are in the order of the folder, so inspecting the same folder again gives the same.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twofold.data.decode import REMARKS, BrokenImageError, identify, open_image, remarks_of
from twofold.data.duplicates import NEAR_BITS, Fingerprint, fingerprint, near_groups
from twofold.data.formats import FORMAT_OF_SUFFIX, suffix_of, unread_notes
from twofold.data.parallel import ordered_map
from twofold.data.pixels import is_grey
from twofold.data.sources.listing import (
    ImageFile,
    Listing,
    list_folder,
    no_images_error,
    same_names,
    training_problems,
)
from twofold.files import file_digest
from twofold.names import shown
from twofold.terminal import track

KINDS = {
    "broken file": "cannot be read; training refuses the folder, or leaves them out with --skip-broken",
    "folder problem": "the layout of the folder is not clear",
    "box problem": "boxes that cannot be used; training refuses the data, or leaves them out with --skip-broken",
    "not for training": "evaluation takes the folder as it is; training does not",
    "format not read": "images that are left out, because they are of other formats",
    "wrong extension": "the content is of another format than the name says; read all the same",
    "exact duplicate": "files with the same bytes",
    "near duplicate": "the same image saved, scaled or brightened anew",
    "class imbalance": "classes with few images, or none",
    "class name": "names that another system or a terminal may stumble over",
    "odd size": "much smaller or larger than the others",
    "odd shape": "long and thin: a centre crop shows little of it",
    "odd colours": "grey among colour, or colour among grey",
    "unusual pixels": "16 bits, palettes, CMYK, transparency, frames: turned to one 8-bit grey or RGB image",
    "flat image": "one even surface",
    "link outside": "links to files outside of the folder",
}
"""What can be found, the gravest first, and what it means."""

BROKEN = ("broken file", "folder problem", "box problem")

_IMBALANCE = 10
_SIZE_FACTOR = 4
_LONGEST_SHAPE = 3.0
_MODES = {
    "1": "one bit a pixel",
    "P": "a palette of colours",
    "PA": "a palette of colours and transparency",
    "CMYK": "CMYK, as for print",
    "YCbCr": "YCbCr",
    "LAB": "LAB",
    "F": "float values",
    **dict.fromkeys(("RGBA", "RGBa", "LA", "La"), "transparency, laid on white"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What one file shows: `broken` says why it cannot be read; else format, pixels (height, width) and content.

    `pixels` is what is unusual about them, such as a palette. `digest` is the SHA-256 of the file, where another
    file of the folder has the same size.
    """

    file: ImageFile
    split: str
    class_names: tuple[str, ...]
    broken: str | None = None
    format: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False
    pixels: str | None = None
    fingerprint: Fingerprint | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something odd: its kind (see `KINDS`), the paths that it is about, relative to the folder, and a sentence."""

    kind: str
    paths: tuple[str, ...]
    message: str


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that was found in a folder; `counts` are the readable images of each class in each split.

    `num_images` are the readable images: of several labels an image, one may be several files. `num_unlabelled` of them
    have no label, and count all the same.
    """

    root: Path
    num_files: int
    num_readable: int
    num_images: int
    num_unlabelled: int
    num_bytes: int
    median_side: int
    counts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def of(self, kind: str) -> list[Finding]:
        """Return the findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    @property
    def has_broken(self) -> bool:
        """Whether something cannot be read."""
        return any(finding.kind in BROKEN for finding in self.findings)


def inspect_folder(
    root: Path,
    *,
    near_bits: int = NEAR_BITS,
    several_labels: bool = False,
    listing: Listing | None = None,
    show_progress: bool = True,
) -> Inspection:
    """Look through a folder of images, or through those of it that a table names: its `listing`.

    `near_bits` is the most of 64 bits in which the hashes of near duplicates may differ. With `several_labels`, an
    image in several class folders of a split is one with several labels, and no duplicate.

    Raises:
        DataError: the folder is missing, cannot be opened, or holds no class folders and images.
    """
    listing = list_folder(root) if listing is None else listing
    names: dict[tuple[ImageFile, str], list[str]] = {}
    for split, classes in listing.splits.items():
        for name, files in classes.items():
            for file in files:
                names.setdefault((file, split), []).append(name)
    names |= {(file, split): [] for split, files in listing.unlabelled.items() for file in files}
    entries = [(file, split, tuple(labels)) for (file, split), labels in names.items()]
    if not entries and not listing.problems:
        raise no_images_error(listing)
    sizes = Counter(file.size for file, _, _ in entries)
    decoded = ordered_map(lambda entry: _look(*entry, needs_digest=sizes[entry[0].size] > 1), entries)
    looks = list(track(decoded, total=len(entries), label="inspecting images", enabled=show_progress))
    good = [look for look in looks if look.broken is None]
    # Zeros as well: an empty folder is a class that someone meant to fill.
    numbers = Counter((look.split, name) for look in good for name in look.class_names)
    counts = {split: {name: numbers[split, name] for name in classes} for split, classes in listing.splits.items()}
    by_copies = several_labels and listing.table is None
    # As training does, which takes links and copies in several folders for one image.
    num_images = len({(look.split, look.digest or look.file) for look in good}) if by_copies else len(good)
    found = [
        *(
            Finding("broken file" if each.skippable else "folder problem", (each.path,), each.message)
            for each in listing.problems
        ),
        *(Finding("not for training", (each.path,), each.message) for each in training_problems(listing)),
        *(
            Finding("format not read", tuple(paths), unread_notes({suffix: len(paths)})[0])
            for suffix, paths in listing.unread.items()
        ),
        *(Finding("broken file", (look.file.relative,), look.broken) for look in looks if look.broken is not None),
        *_single(root, good),
        *_class_names(listing),
        *_imbalance(counts),
        *_duplicates(good, near_bits, by_copies=by_copies),
    ]
    order = list(KINDS)
    return Inspection(
        root=root,
        num_files=len(looks),
        num_readable=len(good),
        num_images=num_images,
        num_unlabelled=sum(not look.class_names for look in good),
        num_bytes=sum(look.file.size for look in looks),
        median_side=statistics.median_low(min(look.height, look.width) for look in good) if good else 0,
        counts=counts,
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.kind))),
        notes=tuple(listing.notes),
    )


def _look(file: ImageFile, split: str, class_names: tuple[str, ...], *, needs_digest: bool) -> Look:
    try:
        image = open_image(file.path)
        # What the header says is read after that: by now it is known to be sound.
        with open(file.path, "rb") as stream, identify(stream, file.path) as header:
            kind = "JPEG" if header.format == "MPO" else str(header.format)
            has_alpha = header.mode in ("L", "RGB") and "transparency" in header.info
            unusual = [REMARKS[key] for key in remarks_of(image)]
            if (mode := _MODES.get("LA" if has_alpha else header.mode)) is not None:
                unusual.append(mode)
            pixels = "; ".join(unusual) or None
        digest = file_digest(Path(file.path)) if needs_digest else None
    except BrokenImageError as error:
        return Look(file, split, class_names, broken=error.reason)
    except OSError as error:
        return Look(file, split, class_names, broken=f"changed while it was read: {error.strerror or error}")
    seen = (kind, image.height, image.width, is_grey(image), pixels, fingerprint(image), digest)
    return Look(file, split, class_names, None, *seen)


def _single(root: Path, good: Sequence[Look]) -> Iterator[Finding]:
    """Yield what is odd about single images, compared with the rest."""
    if not good:
        return
    median = statistics.median_low(min(look.height, look.width) for look in good)
    inside = os.path.realpath(root) + os.sep
    num_grey = sum(look.grey for look in good)
    odd_grey = num_grey * 2 <= len(good)
    for look in good:
        path = (look.file.relative,)
        size = f"{look.width} x {look.height} px"
        expected = FORMAT_OF_SUFFIX[suffix_of(look.file.path)]
        if look.format != expected:
            yield Finding("wrong extension", path, f"the name says {expected}, the content is {look.format}")
        shorter, longer = sorted((look.height, look.width))
        if shorter * _SIZE_FACTOR < median or shorter > median * _SIZE_FACTOR:
            yield Finding("odd size", path, f"{size}; the median of the shorter sides is {median} px")
        if longer > shorter * _LONGEST_SHAPE:
            yield Finding("odd shape", path, f"{size}; its sides are {longer / shorter:.1f} to 1")
        if look.grey == odd_grey and 0 < num_grey < len(good):
            yield Finding("odd colours", path, "grey among colour" if odd_grey else "colour among grey")
        if look.pixels is not None:
            yield Finding("unusual pixels", path, look.pixels)
        if look.fingerprint is not None and look.fingerprint.is_flat:
            yield Finding("flat image", path, "one even surface, so nothing to learn from")
        target = os.path.realpath(look.file.path)
        if not target.startswith(inside):
            yield Finding("link outside", path, f"leads to {shown(target)}")


def _class_names(listing: Listing) -> Iterator[Finding]:
    names = sorted({name for classes in listing.splits.values() for name in classes})
    same = dict(same_names(names))
    for name in names:
        if name in same:
            yield Finding("class name", (name,), f"differs from {shown(same[name])!r} in letter case alone")
        if reason := name_trouble(name):
            yield Finding("class name", (name,), reason)


def name_trouble(name: str) -> str | None:
    """Return what is wrong with the name of a class, None if nothing is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8; rename the folder"
    if not name.isprintable():
        return "has characters that cannot be printed; rename the folder"
    if name != name.strip() or name.endswith("."):
        return "starts or ends with a space or dot, which Windows drops"
    if name.startswith(("-", "~")):
        return "starts with a sign that a shell takes for something else"
    if set(name) & set('\\:*?"<>|'):
        return "has a sign that Windows does not allow in names"
    return None


def _imbalance(counts: dict[str, dict[str, int]]) -> Iterator[Finding]:
    main = "train" if "train" in counts else next(iter(counts))
    largest = max(counts[main].values(), default=0)
    for split, classes in counts.items():
        for name, count in classes.items():
            path = (name if split == "all" else f"{split}/{name}",)
            if count == 0:
                yield Finding("class imbalance", path, "has no image that can be read")
            elif count == 1 and split == main and "val" not in counts:
                message = "has one image, which cannot be in training and validation: add some, or --val-fraction 0"
                yield Finding("class imbalance", path, message)
            elif split == main and count * _IMBALANCE <= largest:
                message = f"has {count:,} image{'s' if count > 1 else ''}, the largest class {largest:,}"
                yield Finding("class imbalance", path, message)
        for name in sorted(set(counts[main]) - set(classes)):
            yield Finding("class imbalance", (f"{split}/{name}",), f"this class of {main}/ is not in {split}/")
        for name in sorted(set(classes) - set(counts[main])):
            message = f"is not in {main}/, so a network cannot learn it"
            yield Finding("class imbalance", (f"{split}/{name}",), message)


def _duplicates(good: Sequence[Look], near_bits: int, *, by_copies: bool) -> Iterator[Finding]:
    """Yield groups of copies; `by_copies` says that an image has several labels by a copy in the folder of each."""
    same: dict[str, list[Look]] = {}
    for look in good:
        if look.digest is not None:
            same.setdefault(look.digest, []).append(look)
    copies: set[str] = set()
    for members in same.values():
        if len(members) > 1:
            copies |= {look.file.path for look in members[1:]}
            places = {(look.split, look.class_names) for look in members}
            if by_copies and len(places) == len(members) and len({split for split, _ in places}) == 1:
                continue
            yield Finding("exact duplicate", tuple(look.file.relative for look in members), _spread(members))
    # Of files with the same bytes one stands for all.
    prints = (None if look.file.path in copies else look.fingerprint for look in good)
    for group in near_groups(prints, max_bits=near_bits):
        members = [good[index] for index in group]
        yield Finding("near duplicate", tuple(look.file.relative for look in members), _spread(members))


def _spread(members: Sequence[Look]) -> str:
    """Return where copies lie: what matters is whether they cross splits or classes."""
    splits = list(dict.fromkeys(look.split for look in members))
    classes = list(dict.fromkeys("|".join(look.class_names) or "none" for look in members))
    words = [f"{len(members)} files"]
    if len(splits) > 1:
        words.append(f"across {' and '.join(splits)}")
    if len(classes) > 1:
        words.append(f"in different classes ({', '.join(map(shown, classes))})")
    return ", ".join(words)
