"""Images whose classes stand in a table: `--data labels.csv --images photos`.

    found = open_table(Path("labels.csv"), Path("photos"))
    found.class_names            # the labels, sorted
    found.splits["train"].paths  # with targets beside; "all" where the table has no column with splits

A row is an image: the path or the name of its file, its label, and where there are such columns its split and its
group. All rows are checked before the work starts; what is wrong is named by row. The images stand in the order of a
folder with one folder a class, so a table of such a folder gives the same training as the folder.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from twofold.data.check import channels_and_side, check_images, remark_notes
from twofold.data.names import MULTILABEL_PREFIX, table_stem
from twofold.data.sources.found import FilePart, Found
from twofold.data.sources.listing import ImageFile, Listing, same_names, training_problems
from twofold.data.sources.problems import DataError, Problem, single_error, stop_for_problems, summary_error
from twofold.data.sources.table_columns import SPLIT_WORDS, UNUSED, Columns, find_columns
from twofold.data.sources.table_file import Table, read_table
from twofold.data.sources.table_index import ImageIndex
from twofold.data.sources.table_labels import in_words, read_labels
from twofold.data.targets import ClassTargets, LabelSetTargets, Targets
from twofold.errors import SettingError
from twofold.files import expanded
from twofold.names import name_bytes, shown, shown_short
from twofold.terminal import quoted

_SPLITS = ("all", "train", "val", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a table: the number of its row, its file, its labels, its split ("all" if there are none), its group.

    A group of "" is one of its own.
    """

    number: int
    file: ImageFile
    labels: tuple[str, ...]
    split: str
    group: str


@dataclass
class TableListing:
    """What a table says of the images in a folder: each image once.

    Attributes:
        path: the table.
        folder: where the images are.
        several_labels: whether an image may have several labels.
        rows: the images, in the order of a folder with one folder a class.
        listing: the same by split and class, with the problems and the notes.
        group_column: the column with the groups, None without one.
        hint: what to do where the classes turn out to be wrong, "" where nothing points to it.
    """

    path: Path
    folder: Path
    several_labels: bool
    rows: list[Row]
    listing: Listing
    group_column: str | None
    hint: str


def images_folder(table: Path, images: Path | str | None) -> Path:
    """Return where the images of a table are: in the folder that was given, or where the table is."""
    return table.parent if images is None else expanded(images)


def list_table(
    path: Path,
    images: Path | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    several_labels: bool = False,
) -> TableListing:
    """Return the images that a table names, without opening any of them.

    Args:
        path: the table.
        images: the folder of the images; that of the table if left out.
        columns: the columns with "image", "label", "split" and "group"; found by their names if left out.
        several_labels: an image may have several labels, and rows of the same image are put together.

    Raises:
        TwofoldError: the table cannot be read, or its columns are not clear; DataError if no row can be used.
    """
    table = read_table(path)
    index = ImageIndex(images_folder(path, images), path)
    chosen = find_columns(table, columns or {}, lambda name: _num_found(table.columns[name], index))
    listing = Listing(index.folder, table=path)
    listing.notes += table.notes
    listing.problems += table.problems
    labels = read_labels(table, chosen.label, several=several_labels)
    listing.notes += [*labels.notes, *([labels.hint] if labels.hint else [])]
    rows = _rows(table, chosen, index, listing, labels.rows)
    if not rows:
        raise _nothing_left(path, chosen, index, listing)
    rows = _each_once(rows, listing, several_labels=labels.several)
    order = {name: number for number, name in enumerate(_class_names(rows))}
    rows.sort(key=lambda row: ([order[label] for label in row.labels], row.file.relative))
    for split in _SPLITS:
        members = [row for row in rows if row.split == split]
        classes: dict[str, list[ImageFile]] = {}
        for row in members:
            for label in row.labels:
                classes.setdefault(label, []).append(row.file)
        if members:
            listing.unlabelled[split] = [row.file for row in members if not row.labels]
            listing.splits[split] = {name: classes[name] for name in order if name in classes}
            listing.folders[split] = index.folder
    _note_shared_groups(rows, listing)
    return TableListing(path, index.folder, labels.several, rows, listing, chosen.group, labels.hint)


def open_table(
    path: Path,
    images: Path | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    skip_broken: bool = False,
    check: bool = True,
    for_training: bool = True,
    several_labels: bool = False,
    show_progress: bool = True,
) -> Found[FilePart]:
    """Find the images that a table names, and decode each once (`check`) to see that it can be read.

    Without `check`, 64 of them are decoded, to learn channels and sizes. Evaluation (`for_training=False`) accepts a
    single class, and classes that the training images do not have. Several labels an image are asked for by
    `several_labels`, by a sign that separates them, | or ;, or by columns of 0 and 1, a label each.

    Raises:
        TwofoldError: the table cannot be read, or its columns are not clear.
        DataError: something is wrong with rows or images that `skip_broken` does not cover; `problems` holds all of it.
    """
    found = list_table(path, images, columns, several_labels=several_labels)
    listing, rows = found.listing, found.rows
    if for_training and not {"all", "train"} & listing.splits.keys():
        (problem,) = training_problems(listing)
        raise single_error(problem.kind, str(path), f"{path}: {problem.message}")
    sample = rows if check else rows[:: max(1, len(rows) // 64)]
    checked = check_images(
        "checked",
        f"{path.resolve()}\n{found.folder.resolve()}",
        keys=[f"{row.file.size} {row.file.mtime_ns} {row.file.relative}" for row in sample],
        encoded=lambda number: sample[number].file.path,
        label="checking images",
        show_progress=show_progress,
    )
    broken = {row.number: result.broken for row, result in zip(sample, checked, strict=True) if result.broken}
    for row in sample:
        if row.number in broken:
            _report(listing, "broken image", row.number, f"{shown(row.file.relative)}: {broken[row.number]}")
    rows = [row for row in rows if row.number not in broken]
    class_names = _class_names(rows, main_only=for_training)
    if for_training:
        _report_classes(rows, class_names, listing)
    problems = listing.problems
    stop_for_problems(str(path), problems, skip_broken=skip_broken, place="table", hint=found.hint)
    good = [result for result in checked if result.broken is None]
    if not good:
        raise single_error("no images", str(path), f"{path} names no image that can be read")
    several = found.several_labels
    splits, groups, fingerprint = _label(rows, class_names, several_labels=several)
    channels, median_side = channels_and_side(good)
    return Found(
        source=str(path),
        name=table_stem(path),
        class_names=class_names,
        splits=splits,
        groups=groups,
        group_column=found.group_column or "",
        channels=channels,
        median_side=median_side,
        fingerprint=fingerprint,
        notes=(
            *listing.notes,
            *(remark_notes([row.file.relative for row in sample], checked) if check else ()),
            *(f"skipped {problem.path}: {problem.message}" for problem in problems),
        ),
        problems=tuple(problems),
        hint=found.hint,
    )


def _num_found(cells: Sequence[str], index: ImageIndex) -> int:
    return sum(isinstance(index.find(cell), ImageFile) for cell in cells if cell)


def _report(listing: Listing, kind: str, row: int, message: str, *, skippable: bool = True) -> None:
    listing.problems.append(Problem(kind, f"row {row}", message, skippable))


def _rows(
    table: Table, chosen: Columns, index: ImageIndex, listing: Listing, labels: Sequence[tuple[str, ...] | str]
) -> list[Row]:
    """Return the rows that name an image and have labels; report what is wrong with others."""
    none = [""] * len(table.rows)
    splits = _split_names(table, chosen)
    groups = none if chosen.group is None else table.columns[chosen.group]
    rows: list[Row] = []
    cells = zip(table.rows, table.columns[chosen.image], labels, splits, groups, strict=True)
    for number, image, names, split, group in cells:
        if not image:
            _report(listing, "no image", number, f"has nothing in the column {shown(chosen.image)!r}")
        elif isinstance(file := index.find(image), str):
            _report(listing, "missing image", number, f"{shown_short(image)} {file}")
        elif split not in _SPLITS:
            column = shown(str(chosen.split))
            message = f"has {shown_short(split)!r} in the column {column!r}, which is none of train, val and test"
            _report(listing, "unknown split", number, message)
        elif isinstance(names, str):
            _report(listing, "no label", number, f"{shown(image)} {names}")
        else:
            rows.append(Row(number, file, names, split, group))
    return rows


def _split_names(table: Table, chosen: Columns) -> list[str]:
    """Return the split of each row; of a row with another word, that word.

    Raises:
        TwofoldError: no row has a word for a split, as where folds are numbered.
    """
    if chosen.split is None:
        return ["all"] * len(table.rows)
    cells = table.columns[chosen.split]
    splits = [SPLIT_WORDS.get(cell.lower(), cell) for cell in cells]
    if not set(splits) & {"train", "val", "test"}:
        values = sorted(set(cells))
        listed = ", ".join(shown_short(value) or "an empty cell" for value in values[:5]) + (
            ", …" if len(values) > 5 else ""
        )
        message = (
            f"{table.path}: the column {shown(chosen.split)!r} has {listed}, none of them a split; add a column with "
        )
        message += "the words train, val and test (of numbered folds, call one val), or leave it unused: {}"
        raise SettingError(message, {"columns": {"split": UNUSED}})
    return splits


def _nothing_left(path: Path, chosen: Columns, index: ImageIndex, listing: Listing) -> DataError:
    missing = [problem for problem in listing.problems if problem.kind == "missing image"]
    if len(missing) < max(2, len(listing.problems)):
        return summary_error(str(path), listing.problems, place="table")
    message = (
        f"none of the {len(missing):,} images in the column {shown(chosen.image)!r} of {path} is there: in row "
        f"{missing[0].path.removeprefix('row ')}, {missing[0].message}, which holds e.g. {shown(index.example)}; give "
        "the folder of the images with --images, or another column"
    )
    return DataError(message, listing.problems)


def _each_once(rows: Sequence[Row], listing: Listing, *, several_labels: bool) -> list[Row]:
    """Return each image once: rows that repeat one are dropped, those that disagree about it are reported."""
    by_file: dict[str, list[Row]] = {}
    for row in rows:
        by_file.setdefault(row.file.relative, []).append(row)
    kept = []
    num_repeated = 0
    for name, members in by_file.items():
        first = members[0]
        if len(members) == 1:
            kept.append(first)
            continue
        numbers = in_words([str(row.number) for row in members])
        sets = list(dict.fromkeys(row.labels for row in members))
        if len({row.split for row in members}) > 1:
            message = f"{shown(name)} is in {in_words([row.split for row in members])} (rows {numbers})"
            _report(listing, "image in two splits", first.number, message)
        elif len({row.group for row in members if row.group}) > 1:
            _report(listing, "image in two groups", first.number, f"{shown(name)} is in two groups (rows {numbers})")
        elif len(sets) > 1 and several_labels:
            labels = dict.fromkeys(label for row in members for label in row.labels)
            kept.append(Row(first.number, first.file, tuple(labels), first.split, first.group))
        elif len(sets) > 1:
            labels = in_words([shown_short(", ".join(labels)) or "no label" for labels in sets])
            asking = f"{MULTILABEL_PREFIX}{listing.table}"
            message = f"{shown(name)} has the labels {labels} (rows {numbers}); if an image may have several: --data "
            _report(listing, "conflicting labels", first.number, message + quoted(asking))
        else:
            num_repeated += len(members) - 1
            kept.append(first)
    if num_repeated:
        noun = "row repeats" if num_repeated == 1 else "rows repeat"
        listing.notes.append(f"{num_repeated:,} {noun} an image with the same label; each image is taken once")
    return kept


def _class_names(rows: Sequence[Row], *, main_only: bool = False) -> tuple[str, ...]:
    """Return the labels of the rows, or of those to train on, sorted; whole numbers by their value."""
    splits = {row.split for row in rows} & {"all", "train"} if main_only else set(_SPLITS)
    names = {label for row in rows if row.split in splits for label in row.labels}
    numbers = all(name.isdecimal() and name.isascii() for name in names)
    return tuple(sorted(names, key=_by_value if numbers else None))


def _by_value(name: str) -> tuple[int, str, str]:
    """Return the key that sorts whole numbers by value, however many digits they have."""
    digits = name.lstrip("0")
    return len(digits), digits, name


def _report_classes(rows: Sequence[Row], class_names: Sequence[str], listing: Listing) -> None:
    for name, same in same_names(class_names):
        row = next(row for row in rows if name in row.labels)
        message = f"has the label {shown_short(name)!r}, which differs from {shown_short(same)!r} in letter case alone"
        _report(listing, "same class twice", row.number, message, skippable=False)
    main = {"all", "train"} & listing.splits.keys()
    kept: dict[str, list[ImageFile]] = {name: [] for name in class_names}
    for row in rows:
        for label in row.labels if row.split in main else ():
            kept[label].append(row.file)
    listing.splits[next(iter(main))] = kept
    listing.problems += training_problems(listing)
    known = set(class_names)
    unknown = Counter(label for row in rows for label in row.labels if label not in known)
    for name, count in sorted(unknown.items()):
        row = next(row for row in rows if name in row.labels)
        rows_have = f"{count:,} row{'s have' if count > 1 else ' has'}"
        message = f"{rows_have} the label {shown_short(name)!r}, which no training image has"
        _report(listing, "unknown class", row.number, message, skippable=False)


def _note_shared_groups(rows: Sequence[Row], listing: Listing) -> None:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.group:
            splits.setdefault(row.group, set()).add(row.split)
    shared = [group for group, of_group in splits.items() if len(of_group) > 1]
    if shared:
        what = "1 group is" if len(shared) == 1 else f"{len(shared):,} groups are"
        listing.notes.append(f"{what} in several splits of the table, such as {shown_short(shared[0])}")


def _label(
    rows: Sequence[Row], class_names: Sequence[str], *, several_labels: bool
) -> tuple[dict[str, FilePart], dict[str, torch.Tensor], str]:
    """Return the splits with targets, the group of each image, and a digest over names, sizes, labels and groups.

    This is where cells become targets.
    """
    digest = hashlib.sha256(name_bytes("\n".join(class_names)))
    number = {name: index for index, name in enumerate(class_names)}
    # An image of no group is a group of its own.
    keys = [row.group or row.number for row in rows]
    groups = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    parts, of_group = {}, {}
    for split in _SPLITS:
        members = [row for row in rows if row.split == split]
        if not members:
            continue
        for row in members:
            labels = ",".join(str(number[label]) for label in row.labels)
            entry = f"{split}\t{row.file.relative}\t{row.file.size}\t{labels}"
            digest.update(name_bytes(f"{entry}\t{row.group}\n" if row.group else f"{entry}\n"))
        targets: Targets
        if several_labels:
            has = torch.zeros(len(members), len(class_names), dtype=torch.bool)
            for index, row in enumerate(members):
                has[index, [number[label] for label in row.labels]] = True
            targets = LabelSetTargets(has)
        else:
            targets = ClassTargets(torch.tensor([number[row.labels[0]] for row in members]))
        parts[split] = FilePart([row.file.path for row in members], targets)
        if any(row.group for row in rows):
            of_group[split] = torch.tensor([groups[row.group or row.number] for row in members])
    return parts, of_group, digest.hexdigest()
