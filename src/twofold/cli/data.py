"""`twofold data check PATH`, `pack PATH` and `convert DATA OUT`: images before anything is trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from twofold.cli.boxed_data import ConvertArguments, convert, print_boxes
from twofold.cli.help import render
from twofold.cli.parse import check_least, parse, write_figure
from twofold.cli.settings import column_names
from twofold.data.names import (
    asks_for_labels,
    box_format,
    check_data_name,
    is_named,
    is_table,
    plain_name,
    table_stem,
)
from twofold.data.sources.table_columns import check_table_settings
from twofold.errors import TwofoldError, check_known
from twofold.files import expanded
from twofold.names import shown
from twofold.terminal import loading, note, output, print_json, print_table, quoted, say

if TYPE_CHECKING:
    from twofold.data.inspection import Inspection

_MOST_CLASSES = 20
_MOST_LINES = 10
_MOST_NEAR_BITS = 15


@dataclasses.dataclass(kw_only=True)
class CheckArguments:
    """Look through a folder of images: broken files, copies, wrong extensions, imbalance, odd sizes and colours.

    Leaves with 0 if every file can be read, with 1 if some cannot.
    """

    path: tyro.conf.Positional[Path]
    """A folder with one folder a class, or with train/, val/ and test/ that have; a table; or data with boxes."""
    images: Path | None = None
    columns: tuple[str, ...] = ()
    near_bits: int = 4
    """Most of 64 bits in which the hashes of near duplicates may differ; 0 finds only what looks the same."""
    figure: Path | None = None
    """Draw the odd images into this file: .png, .svg or .pdf."""
    json: bool = False
    """Print JSON, one object a line: a summary, then each finding with all its files."""


@dataclasses.dataclass(kw_only=True)
class PackArguments:
    """Pack a folder of images into a few large files that train faster; an interrupted run goes on."""

    path: tyro.conf.Positional[Path]
    """A folder with one folder a class, or with train/, val/ and test/ that have; a table; or data with boxes."""
    images: Path | None = None
    columns: tuple[str, ...] = ()
    out: Path | None = None
    """The folder to write, of its own; PATH-packed if left out."""
    size: int = 256
    """Shorter side in px that larger images are scaled to; smaller ones stay as they are."""
    quality: int = 95
    """JPEG quality of scaled images, 1 to 100, where --store auto takes JPEG."""
    store: Literal["auto", "png", "raw"] = "auto"
    """How scaled images are stored: auto takes JPEG above 128 px; raw pixels are exact and fastest to read, but seven
    times as large; png is exact, four times as large and slow to read."""
    shard_mb: int = 256
    """Largest size of a shard in MB, unless one image is larger."""
    skip_broken: bool = False
    quiet: bool = False


@tyro.conf.configure(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
@dataclasses.dataclass(kw_only=True)
class DataArguments:
    """Check images, pack them into a few large files, or convert their boxes to another format."""

    action: (
        Annotated[CheckArguments, tyro.conf.subcommand("check")]
        | Annotated[PackArguments, tyro.conf.subcommand("pack")]
        | Annotated[ConvertArguments, tyro.conf.subcommand("convert")]
    )


def run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in {"-h", "--help"}:
        print("usage: twofold data check|pack PATH [OPTIONS]")
        print("       twofold data convert DATA OUT --to FORMAT [OPTIONS]\n")
        forms = {"check": CheckArguments, "pack": PackArguments, "convert": ConvertArguments}
        print(*(render(form, verb=f"data {action}") for action, form in forms.items()), sep="\n\n\n")
        raise SystemExit(0)
    if not arguments or arguments[0].startswith("-"):
        raise TwofoldError(
            "say what to do with the data: twofold data check PATH, twofold data pack PATH, or twofold data convert "
            "DATA OUT --to FORMAT"
        )
    action, *rest = arguments
    actions = {"check": _check, "pack": _pack, "convert": convert}
    return actions[check_known("data command", action, actions)](rest)


def _check(arguments: Sequence[str]) -> int:
    parsed = parse(CheckArguments, arguments, verb="data check")
    if not 0 <= parsed.near_bits <= _MOST_NEAR_BITS:
        raise TwofoldError(f"--near-bits must be from 0 to {_MOST_NEAR_BITS}, got {parsed.near_bits}; 4 is usual")
    _refuse_named(parsed.path)
    with loading("torch"):
        from twofold.data.box_inspection import inspect_boxes
        from twofold.data.inspection import inspect_folder
        from twofold.data.sources.boxes_find import list_boxes
        from twofold.data.sources.packed import is_packed
        from twofold.data.sources.table import list_table

    several_labels = asks_for_labels(str(parsed.path))
    root = expanded(plain_name(str(parsed.path)))
    check_table_settings(str(parsed.path), parsed.images, columns := column_names(parsed.columns))
    if root.is_dir() and is_packed(root):
        return _check_packed(root, parsed)
    if is_table(str(root)) or box_format(str(parsed.path)):
        check_data_name(str(parsed.path), parsed.images)
    boxes = None if several_labels else list_boxes(str(parsed.path), parsed.images, columns)
    if boxes is not None:
        return _told(inspect_boxes(boxes, near_bits=parsed.near_bits), parsed, several_labels=False)
    listing = None
    if is_table(str(root)):
        table = list_table(root, parsed.images, columns, several_labels=several_labels)
        root, listing, several_labels = table.folder, table.listing, table.several_labels
    inspection = inspect_folder(root, near_bits=parsed.near_bits, several_labels=several_labels, listing=listing)
    return _told(inspection, parsed, several_labels=several_labels)


def _told(inspection: Inspection, parsed: CheckArguments, *, several_labels: bool) -> int:
    """Print or draw what was found, as it was asked for; return the exit code."""
    from twofold.data.box_inspection import BoxInspection

    if parsed.json:
        sizes = {"files": inspection.num_files, "readable": inspection.num_readable, "bytes": inspection.num_bytes}
        sizes |= {"images": inspection.num_images, "unlabelled": inspection.num_unlabelled}
        rest = {"median_side": inspection.median_side, "counts": inspection.counts, "notes": inspection.notes}
        if isinstance(inspection, BoxInspection):
            rest["boxes"] = dataclasses.asdict(inspection.boxes)
        print_json({"kind": "summary", "folder": str(inspection.root), **sizes, **rest})
        print_json(*map(dataclasses.asdict, inspection.findings))
    else:
        _print_report(inspection, several_labels=several_labels)
    if parsed.figure is not None:
        from twofold.figures.odd_images import draw_odd_images

        write_figure(draw_odd_images(inspection), parsed.figure)
    return 1 if inspection.has_broken else 0


def _refuse_named(path: Path) -> None:
    if asks_for_labels(text := str(path)):
        check_data_name(text)
    if is_named(text) and not path.exists():
        check_data_name(text)
        raise TwofoldError(f"{text} is a named data set, which is whole as it is; give a folder or a table of images")


def _check_packed(root: Path, parsed: CheckArguments) -> int:
    # What was odd about the images was to be seen before they were packed: here, every record is read.
    from twofold.data.sources.packed import find_damage, read_index

    if parsed.figure is not None:
        raise TwofoldError(f"--figure draws the odd images of a folder, but {root} is packed; check the folder itself")
    index = read_index(root)
    damaged = find_damage(root)
    num_images = sum(entry.records for entries in index.splits.values() for entry in entries)
    if parsed.json:
        print_json({"kind": "summary", "folder": str(root), "files": num_images, "damaged": len(damaged)})
        print_json(*({"kind": "damaged record", "message": line} for line in damaged))
    else:
        for line in damaged:
            say(line)
        say(f"{root}: {num_images:,} packed images, {len(damaged):,} damaged")
    return 1 if damaged else 0


def _print_report(inspection: Inspection, *, several_labels: bool) -> None:
    from rich.text import Text

    from twofold.data.box_inspection import BoxInspection
    from twofold.data.inspection import BROKEN, KINDS

    out = output()
    head = f"{shown(str(inspection.root))}: {inspection.num_files:,} files, {inspection.num_readable:,} can be read, "
    head += f"{inspection.num_bytes / 1e6:,.1f} MB, median shorter side {inspection.median_side} px"
    out.print(Text(head), soft_wrap=True)
    has_boxes = isinstance(inspection, BoxInspection)
    _print_classes(inspection, several_labels=several_labels, counted="boxes" if has_boxes else "images")
    if has_boxes:
        print_boxes(inspection.boxes)
    for line in inspection.notes:
        out.print(Text(shown(line)))
    _print_findings(inspection)
    for kind in KINDS:
        findings = inspection.of(kind)
        if not findings:
            continue
        # What is broken is listed whole: each of these files has to be dealt with.
        most = len(findings) if kind in BROKEN else _MOST_LINES
        out.print(Text(f"\n{kind}", style="bold"))
        for finding in findings[:most]:
            names = " = ".join(map(shown, finding.paths[:4]))
            more = f" and {len(finding.paths) - 4} more" if len(finding.paths) > 4 else ""
            line = f"{names}{more}: {shown(finding.message)}".removeprefix(".: ")
            if kind == "format not read":  # the message counts them; the names only show where they are
                example = "".join(map(shown, finding.paths[:1]))
                line = f"{finding.message} ({example}{', …' if finding.paths[1:] else ''})"
            out.print(Text(f"  {line}"), soft_wrap=True)
        if len(findings) > most:
            out.print(Text(f"  and {len(findings) - most:,} more; --json lists all"))


def _print_classes(inspection: Inspection, *, several_labels: bool, counted: str) -> None:
    splits = list(inspection.counts)
    totals = {
        name: [inspection.counts[split].get(name, 0) for split in splits]
        for name in sorted({name for classes in inspection.counts.values() for name in classes})
    }
    ordered = sorted(totals, key=lambda name: (-sum(totals[name]), name))
    rows = [(shown(name), *(f"{count:,}" for count in totals[name])) for name in ordered]
    # Of many classes the ends of the list tell the most: the largest and the smallest.
    if len(rows) > _MOST_CLASSES:
        half = _MOST_CLASSES // 2
        rows[half:-half] = [(f"… {len(rows) - _MOST_CLASSES:,} more …", *([""] * len(splits)))]
    sums = [sum(counts[index] for counts in totals.values()) for index in range(len(splits))]
    noun, plural = ("label", "labels") if several_labels else ("class", "classes")
    columns = (noun, *(f">{counted}" if split == "all" else f">{split}" for split in splits))
    print_table(
        columns,
        rows,
        total=(f"{len(totals):,} {noun if len(totals) == 1 else plural}", *(f"{total:,}" for total in sums)),
    )
    if several_labels:
        without = f", {inspection.num_unlabelled:,} of them without a label" if inspection.num_unlabelled else ""
        print(f"{inspection.num_images:,} images{without}")


def _print_findings(inspection: Inspection) -> None:
    from twofold.data.inspection import KINDS

    if not inspection.findings:
        if not inspection.notes:
            print("nothing odd was found")
        return
    rows = []
    for kind, meaning in KINDS.items():
        if findings := inspection.of(kind):
            number = (
                "" if kind.startswith(("class", "not for")) else f"{sum(len(finding.paths) for finding in findings):,}"
            )
            across = sum("across" in finding.message for finding in findings)
            groups = f"; {across:,} of {len(findings):,} groups across splits" if across else ""
            rows.append((kind, number, meaning + groups))
    print_table(("found", ">files", "what it means…"), rows)


def _pack(arguments: Sequence[str]) -> int:
    parsed = parse(PackArguments, arguments, verb="data pack")
    check_least(1, shard_mb=parsed.shard_mb)
    if parsed.store != "auto" and parsed.quality != PackArguments(path=parsed.path).quality:
        raise TwofoldError(f"--quality is that of JPEG, which --store {parsed.store} does without; leave one out")
    columns = column_names(parsed.columns)
    check_table_settings(str(parsed.path), parsed.images, columns)
    _refuse_named(parsed.path)
    root = expanded(plain_name(str(parsed.path)))
    if is_table(str(root)) or box_format(str(parsed.path)):
        check_data_name(str(parsed.path), parsed.images)
    stem = table_stem(root) if is_table(str(root)) else root.resolve().stem if root.is_file() else root.resolve().name
    out = expanded(parsed.out) if parsed.out is not None else root.parent / f"{stem}-packed"
    with loading("torch"):
        from twofold.data.sources.pack import PackOptions, pack_folder

    shard_bytes = parsed.shard_mb * 1_000_000
    options = PackOptions(size=parsed.size, quality=parsed.quality, store=parsed.store, shard_bytes=shard_bytes)
    try:
        result = pack_folder(
            root,
            out,
            options,
            images=parsed.images,
            columns=columns,
            several_labels=asks_for_labels(str(parsed.path)),
            boxes=box_format(str(parsed.path)),
            skip_broken=parsed.skip_broken,
            show_progress=not parsed.quiet,
        )
    except KeyboardInterrupt as interrupt:
        message = "stopped; the finished shards are kept: run the same command again to go on"
        raise KeyboardInterrupt(message) from interrupt
    for line in result.notes:
        note(line)
    for path, reason in result.skipped:
        note(f"left out {shown(path)}: {shown(reason)}")
    size = f"{result.num_images:,} images in {result.num_shards:,} shards, {result.num_bytes / 1e6:,.1f} MB"
    note(f"{out} is packed already: {size}" if result.was_there else f"wrote {out}: {size}")
    note(f"use it in place of the folder: --data {quoted(out)}")
    return 0
