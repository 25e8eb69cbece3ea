"""An image folder to classes, splits and problems: the data are checked before the work starts, not in its middle.

found = open_folder(Path("photos"))
found.class_names            # the folders' names, sorted
found.splits["train"].paths  # with targets beside; "all" where the folder has no train/
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path

import torch

from twofold.data.check import channels_and_side, check_images, remark_notes
from twofold.data.names import MULTILABEL_PREFIX
from twofold.data.parallel import ordered_map
from twofold.data.sources.found import FilePart, Found
from twofold.data.sources.layout import LAYOUT_KINDS
from twofold.data.sources.listing import ImageFile, Listing, list_folder, no_images_error, same_names, training_problems
from twofold.data.sources.problems import single_error, stop_for_problems, summary_error
from twofold.data.targets import ClassTargets, LabelSetTargets, Targets
from twofold.files import file_digest
from twofold.terminal import quoted, track

_NUM_SAMPLED = 64


def open_folder(
    root: Path,
    *,
    skip_broken: bool = False,
    check: bool = True,
    for_training: bool = True,
    several_labels: bool = False,
    show_progress: bool = True,
) -> Found[FilePart]:
    """Find the images of a folder, and decode each once (`check`) to see that it can be read.

    Without `check`, 64 images spread over the folder are decoded, to learn channels and sizes. Evaluation
    (`for_training=False`) accepts a single class, and classes that train/ does not have.

    With `several_labels`, an image that is in several class folders of a split, by links or by copies with the same
    bytes, is one image with several labels.

    Raises:
        DataError: the folder cannot be used, or something is wrong with it that `skip_broken` does not cover;
            the message lists what, and `problems` holds all of it.
    """
    listing = list_folder(root)
    files = [file for classes in listing.splits.values() for members in classes.values() for file in members]
    if not files and not listing.problems:
        raise no_images_error(listing)
    if layout := [problem for problem in listing.problems if problem.kind in LAYOUT_KINDS]:
        raise summary_error(str(root), layout)
    if for_training and "all" not in listing.splits and "train" not in listing.splits:
        (problem,) = training_problems(listing)
        raise single_error(problem.kind, str(root), f"{root}: {problem.message}")
    sample = files if check else files[:: max(1, len(files) // _NUM_SAMPLED)]
    checked = check_images(
        "checked",
        str(root.resolve()),
        keys=[f"{file.size} {file.mtime_ns} {file.relative}" for file in sample],
        encoded=lambda index: sample[index].path,
        label="checking images",
        show_progress=show_progress,
    )
    broken = {file.path: result.broken for file, result in zip(sample, checked, strict=True) if result.broken}
    for path, reason in broken.items():
        listing.report("broken image", path, reason, skippable=True)
    for classes in listing.splits.values():
        for name, members in classes.items():
            classes[name] = [file for file in members if file.path not in broken]
    class_names = _class_names(listing, for_training=for_training)
    problems = listing.problems
    stop_for_problems(str(root), problems, skip_broken=skip_broken)
    good = [result for result in checked if result.broken is None]
    if not good:
        raise no_images_error(listing)
    splits, fingerprint = _label(listing, class_names, several_labels=several_labels, show_progress=show_progress)
    channels, median_side = channels_and_side(good)
    return Found(
        source=str(root),
        name=root.resolve().name,
        class_names=class_names,
        splits=splits,
        channels=channels,
        median_side=median_side,
        fingerprint=fingerprint,
        notes=(
            *listing.notes,
            *(() if several_labels else linked_notes(listing)),
            *listing.unread_notes(),
            *(remark_notes([file.relative for file in sample], checked) if check else ()),
            *(f"skipped {problem.path}: {problem.message}" for problem in problems),
        ),
        problems=tuple(problems),
        hint=f"the classes seem to lie in {listing.inner}: give that" if listing.inner is not None else "",
    )


def _class_names(listing: Listing, *, for_training: bool) -> tuple[str, ...]:
    if not for_training:
        return tuple(sorted({n for classes in listing.splits.values() for n, members in classes.items() if members}))
    main = "train" if "train" in listing.splits else "all"
    folder = listing.folders[main]
    classes = listing.splits[main]
    for name, members in classes.items():
        if not members:
            unread = "".join(f"; {line}" for line in listing.unread_notes(folder / name))
            listing.report("empty class", folder / name, f"this class has no image to train on{unread}", skippable=True)
    names = tuple(sorted(name for name, members in classes.items() if members))
    for name, same in same_names(names):
        message = f"differs from the class {same!r} in letter case alone; rename or merge them"
        listing.report("same class twice", folder / name, message, skippable=False)
    listing.problems += training_problems(listing)
    for split in ("val", "test"):
        for name, members in listing.splits.get(split, {}).items():
            if name not in names and (members or name not in classes):
                message = "this class has no images in train/, so a network cannot learn it"
                listing.report("unknown class", listing.folders[split] / name, message, skippable=False)
    return names


def _label(
    listing: Listing, class_names: Sequence[str], *, several_labels: bool, show_progress: bool
) -> tuple[dict[str, FilePart], str]:
    """Return the splits with targets, and a digest over class names, paths, sizes and labels."""
    digest = hashlib.sha256("\n".join(class_names).encode(errors="surrogateescape"))
    splits = {}
    for split, classes in listing.splits.items():
        entries = [(file, label) for label, name in enumerate(class_names) for file in classes.get(name, [])]
        # Each image once, with its labels.
        images: dict[Hashable, tuple[ImageFile, list[int]]] = {}
        keys = same_content([file for file, _ in entries], show_progress=show_progress) if several_labels else None
        for number, (file, label) in enumerate(entries):
            images.setdefault(number if keys is None else keys[number], (file, []))[1].append(label)
        for file, labels in images.values():
            row = f"{split}\t{file.relative}\t{file.size}\t{','.join(map(str, dict.fromkeys(labels)))}\n"
            digest.update(row.encode(errors="surrogateescape"))
        targets: Targets
        if several_labels:
            has = torch.zeros(len(images), len(class_names), dtype=torch.bool)
            for index, (_, labels) in enumerate(images.values()):
                has[index, labels] = True
            targets = LabelSetTargets(has)
        else:
            targets = ClassTargets(torch.tensor([label for _, (label,) in images.values()], dtype=torch.int64))
        splits[split] = FilePart([file.path for file, _ in images.values()], targets)
    return splits, digest.hexdigest()


def same_content(files: Sequence[ImageFile], *, show_progress: bool) -> list[Hashable]:
    """Return a key for each file, the same for links to one file and for files with the same bytes.

    Only files of one size are read.
    """
    identities: dict[int, set[tuple[int, int]]] = {}
    for file in files:
        identities.setdefault(file.size, set()).add(file.identity)
    alike = {file.identity: file for file in files if len(identities[file.size]) > 1}
    digests = ordered_map(lambda file: file_digest(Path(file.path)), list(alike.values()))
    tracked = track(digests, total=len(alike), label="comparing files", enabled=show_progress and bool(alike))
    digest_of = dict(zip(alike, tracked, strict=True))
    return [digest_of.get(file.identity, file.identity) for file in files]


def linked_notes(listing: Listing) -> list[str]:
    """Return a line that says how several labels are asked for, where links put one file into several class folders."""
    count = 0
    for classes in listing.splits.values():
        owners: dict[tuple[int, int], set[str]] = {}
        for name, members in classes.items():
            for file in members:
                owners.setdefault(file.identity, set()).add(name)
        count += sum(len(names) > 1 for names in owners.values())
    if not count:
        return []
    noun = "image is" if count == 1 else "images are"
    asking = quoted(f"{MULTILABEL_PREFIX}{listing.root}")
    return [f"{count:,} {noun} linked into several classes; if an image may have several labels: --data {asking}"]
