"""A folder of images to shards: decoded once, scaled once, checked, and continued where it was interrupted.

How each image is stored, see `encode`. Images lie in the shards in a random order, drawn once from a fixed key, so that
a reader that goes from front to back sees the classes mixed; the index restores the order of the folder. A shard counts
once its JSON file is there, which is written after it; everything is written under a temporary name and renamed. So
packing may be interrupted at any moment: what is finished is checked and kept, the rest is done again, and the bytes at
the end are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from filelock import FileLock, Timeout

from twofold.data.decode import REMARKS, BrokenImageError, remark_line
from twofold.data.names import is_table
from twofold.data.parallel import ordered_map
from twofold.data.sources.boxes import open_boxes
from twofold.data.sources.boxes_find import list_boxes
from twofold.data.sources.encode import Encoded, encode_image
from twofold.data.sources.folder import open_folder
from twofold.data.sources.found import FilePart, Found
from twofold.data.sources.packed import (
    FORMAT,
    INDEX_NAME,
    STATE_NAME,
    PackIndex,
    ShardEntry,
    ShardIndex,
    Store,
    is_packed,
    read_index,
    read_model,
    to_json,
)
from twofold.data.sources.problems import Problem, summary_error
from twofold.data.sources.table import images_folder, open_table
from twofold.data.targets import BoxTargets, ClassTargets, Targets, label_sets
from twofold.errors import RunError, TwofoldError
from twofold.files import atomic_path, file_digest, read_json, write_text
from twofold.keyed import derive_key, permutation
from twofold.names import shown
from twofold.terminal import note, track

LARGEST_SIZE = 4096
_OWN_FILES = re.compile(r"^\.?((train|val|test|all)-\d{5}\.(tar|json)|index\.json|packing\.json)(\.[^.]*\.tmp)?$")
_LOCK_NAME = ".packing.lock"
_COLUMNS = ("number", "offset", "length", "crc32", "label", "group", "height", "width", "grey", "path", "broken")
_BOX_COLUMNS = ("boxes", "area", "crowd", "full_size")


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How to pack: see `encode`. `shard_bytes` is the most that a shard may have, unless one image has more."""

    size: int = 256
    quality: int = 95
    store: Store = "auto"
    shard_bytes: int = 256_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST_SIZE:
            raise TwofoldError(f"size must be from 1 to {LARGEST_SIZE} px, got {self.size}")
        if not 1 <= self.quality <= 100:
            raise TwofoldError(f"quality must be from 1 to 100, got {self.quality}; 95 is usual")
        if self.store not in get_args(Store):
            raise TwofoldError(f"store must be one of {', '.join(get_args(Store))}, got {self.store!r}")
        if self.shard_bytes < 1:
            raise TwofoldError(f"shard_bytes must be 1 or more, got {self.shard_bytes}")


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What was packed: how many images, shards and bytes, what was left out, and whether it was there already.

    `notes` are lines on the folder that a person should see.
    """

    out: Path
    num_images: int
    num_shards: int
    num_bytes: int
    skipped: tuple[tuple[str, str], ...]
    was_there: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A file to pack: its index in its split, where it is, and its size and time when packing began.

    `label` is its class, or the list of its labels or of its boxes' classes; `group` the number of its group, None
    where there are no groups. `objects` are the columns that say where its boxes are, None where there are none.
    """

    number: int
    path: str
    relative: str
    label: int | list[int]
    size: int
    mtime_ns: int
    group: int | None
    objects: dict[str, Any] | None

    @property
    def labels(self) -> list[int]:
        """Its class alone, or its labels."""
        return [self.label] if isinstance(self.label, int) else self.label


def pack_folder(
    root: Path,
    out: Path,
    options: PackOptions,
    *,
    images: Path | None = None,
    columns: Mapping[str, str] | None = None,
    several_labels: bool = False,
    boxes: str | None = None,
    skip_broken: bool = False,
    show_progress: bool = True,
) -> PackResult:
    """Pack the images of a folder or a table into shards in the folder `out`, or continue where it was interrupted.

    Of a table, `images` is the folder of the images and `columns` what its columns are (see `open_table`). With
    `several_labels`, an image may have several labels (see `open_folder`). `boxes` is the format of boxes, such as
    "coco", where `root` is to be read as that; else it is found by looking. A pack trains as what it was made of does:
    it holds the labels, which images belong together, and the boxes, in pixels of the images as they were.

    `out` is a folder of its own, not inside of `root`; it is made if it is not there. Without `skip_broken`, what
    cannot be read ends the command after all else was packed, so that nothing is packed twice when it is run again.

    Raises:
        DataError: the folder cannot be used, or holds broken files; the message lists them.
        TwofoldError: `out` cannot be used.
        RunError: the folder changed meanwhile, or the disk is full; what is finished stays.
    """
    if root.is_dir() and is_packed(root):
        raise TwofoldError(f"{root} is packed already; use it as it is: --data {root}")
    from_table = is_table(str(root))
    said = str(root) if boxes is None else f"{boxes}:{root}"
    listing = None if several_labels else list_boxes(said, images, columns)
    folder = listing.folder if listing else images_folder(root, images) if from_table else root
    _check_folders(folder, out)

    def find() -> Found[FilePart]:
        if listing is not None and (again := list_boxes(said, images, columns)) is not None:
            # Boxes need the sizes of all images; each is decoded once, and remembered.
            return open_boxes(again, skip_broken=True, show_progress=show_progress)
        options = {"skip_broken": True, "check": False, "several_labels": several_labels, "show_progress": False}
        return open_table(root, images, columns, **options) if from_table else open_folder(root, **options)

    found = find()
    plan = _plan(found, folder)
    state = _state(plan, options)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / _LOCK_NAME, timeout=0):
            try:
                index, was_there = _pack(found, plan, folder, out, options, state, skip_broken, show_progress, find)
            finally:
                (out / _LOCK_NAME).unlink(missing_ok=True)
    except Timeout as error:
        raise TwofoldError(f"{out} is being packed by another process; wait for it, or give another --out") from error
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
    entries = [entry for of_split in index.splits.values() for entry in of_split]
    return PackResult(
        out=out,
        num_images=sum(entry.records for entry in entries),
        num_shards=len(entries),
        num_bytes=sum(entry.bytes for entry in entries),
        skipped=index.skipped,
        was_there=was_there,
        notes=(*(line for line in found.notes if not line.startswith("skipped ")), *index.remarks),
    )


def _check_folders(root: Path, out: Path) -> None:
    if out.resolve() == root.resolve() or root.resolve() in out.resolve().parents:
        raise TwofoldError(f"--out {out} lies inside of {root}, where it would be taken for a class; put it elsewhere")
    if out.exists() and not out.is_dir():
        raise TwofoldError(f"--out {out} is a file; give a folder")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if strangers := [name for name in names if name != _LOCK_NAME and not _OWN_FILES.match(name)]:
        raise TwofoldError(f"--out {out} holds other files, such as {shown(strangers[0])}; give a folder of its own")


def _plan(found: Found[FilePart], folder: Path) -> dict[str, list[_File]]:
    """Return the files of each split in the order in which they are packed, named by their paths in `folder`."""
    plan = {}
    for split, part in found.splits.items():
        labels, objects = _labels(part.targets, len(found.class_names)), _objects(part.targets)
        groups = found.groups[split].tolist() if split in found.groups else [None] * len(labels)
        files = []
        for number in permutation(derive_key("pack", split), len(labels)).tolist():
            path = part.paths[number]
            relative = Path(os.path.relpath(path, folder)).as_posix()
            try:
                info = os.stat(path)
            except OSError as error:
                raise _changed(relative, f"is gone ({error.strerror})") from error
            at = (info.st_size, info.st_mtime_ns)
            files.append(_File(number, path, relative, labels[number], *at, groups[number], objects[number]))
        plan[split] = files
    return plan


def _labels(targets: Targets, num_classes: int) -> list[int] | list[list[int]]:
    """Return the class of each image, or the list of its labels."""
    if isinstance(targets, ClassTargets):
        return targets.labels.tolist()
    if isinstance(targets, BoxTargets):
        return [each.tolist() for each in targets.labels.split(targets.counts.tolist())]
    return [torch.nonzero(row).flatten().tolist() for row in label_sets(targets, num_classes)]


def _objects(targets: Targets) -> list[dict[str, Any] | None]:
    """Return where the boxes of each image are, and its size, by column; None where images have no boxes."""
    if not isinstance(targets, BoxTargets):
        return [None] * len(targets)
    counts = targets.counts.tolist()
    parts = (part.split(counts) for part in (targets.boxes, targets.areas, targets.crowd))
    rows = zip(*parts, targets.sizes, strict=True)
    return [dict(zip(_BOX_COLUMNS, (part.tolist() for part in row), strict=True)) for row in rows]


def _state(plan: dict[str, list[_File]], options: PackOptions) -> dict[str, Any]:
    """Return what decides the bytes of a pack, as JSON has it."""
    rows = [
        [split, file.relative, file.size, file.mtime_ns, file.label]
        + [extra for extra in (file.group, file.objects) if extra is not None]
        for split, files in plan.items()
        for file in files
    ]
    return {"format": FORMAT, "version": 1, "options": asdict(options), "files": rows}


def _pack(
    found: Found[FilePart],
    plan: dict[str, list[_File]],
    folder: Path,
    out: Path,
    options: PackOptions,
    state: dict[str, Any],
    skip_broken: bool,
    show_progress: bool,
    find: Callable[[], Found[FilePart]],
) -> tuple[PackIndex, bool]:
    """Return the index of the pack, and whether it was there already; `find` finds the images anew."""
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    if (out / INDEX_NAME).exists():
        index = read_index(out)
        if index.source != digest:
            raise TwofoldError(
                f"{out} holds a pack of other images, or with other options; remove it or give another --out"
            )
        return index, True
    _prepare_out(found.source, out, state)
    entries: dict[str, list[ShardEntry]] = {}
    broken = []
    remarked: list[tuple[str, str]] = []
    for split, files in plan.items():
        shards = _pack_split(out, split, files, options, show_progress)
        entries[split] = [entry for entry, _ in shards]
        broken += [pair for _, shard in shards for pair in shard.broken]
        remarked += _remarked([shard for _, shard in shards])
        kept = {number for _, shard in shards for number in shard.number}
        missing = {label for file in files for label in file.labels}
        missing -= {label for file in files if file.number in kept for label in file.labels}
        if split in ("train", "all") and missing:
            raise RunError(
                f"the class {shown(found.class_names[min(missing)])} of {found.source} has no image that can be read; "
                "remove its folder, or repair it"
            )
    # The folder must hold what it held when packing began.
    again = _plan(find(), folder)
    before, now = (
        {(split, file.relative): file for split, files in part.items() for file in files} for part in (plan, again)
    )
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            what = "is new: it came" if key not in before else "was changed" if key in now else "is gone: it went"
            raise _changed(key[1], what)
    problems = [*found.problems, *(Problem("broken image", shown(path), why, True) for path, why in sorted(broken))]
    if problems and not skip_broken:
        raise summary_error(found.source, problems, place="table" if found.source != str(folder) else "folder")
    left_out = [(problem.path, problem.message) for problem in found.problems]
    content = hashlib.sha256(json.dumps(found.class_names).encode())
    for split, shards_of_split in entries.items():
        content.update("".join([split, *(entry.sha256 for entry in shards_of_split)]).encode())
        if split in found.groups:
            content.update(json.dumps([file.group for file in plan[split]]).encode())
        if isinstance(targets := found.splits[split].targets, BoxTargets):
            content.update(targets.digest().encode())
    index = PackIndex(
        name=found.name,
        class_names=found.class_names,
        splits={split: tuple(of_split) for split, of_split in entries.items()},  # type: ignore[misc]
        size=options.size,
        quality=options.quality,
        store=options.store,
        source=digest,
        fingerprint=content.hexdigest(),
        skipped=tuple((shown(path), shown(reason)) for path, reason in [*left_out, *sorted(broken)]),
        task=next(iter(found.splits.values())).targets.task,  # type: ignore[arg-type]
        remarks=tuple(
            remark_line(key, len(paths), paths[0])
            for key in REMARKS
            if (paths := [path for each, path in remarked if each == key])
        ),
    )
    write_text(out / INDEX_NAME, to_json(index))
    (out / STATE_NAME).unlink(missing_ok=True)
    return index, False


def _remarked(shards: Sequence[ShardIndex]) -> list[tuple[str, str]]:
    """Return the key of each remark on an image of a split and the image's path, in the order of the folder."""
    found = []
    for shard in shards:
        path_of = dict(zip(shard.number, shard.path, strict=True))
        for key, numbers in (shard.remarks or {}).items():
            found += [(number, key, path_of[number]) for number in numbers]
    return [(key, path) for _, key, path in sorted(found)]


def _prepare_out(root: str, out: Path, state: dict[str, Any]) -> None:
    """Remove what a killed process left under temporary names; start again where the folder or options changed."""
    for path in out.glob(".*.tmp"):
        if _OWN_FILES.match(path.name):
            path.unlink(missing_ok=True)
    if (out / STATE_NAME).exists():
        try:
            before = read_json(out / STATE_NAME)
        except TwofoldError:
            before = {}
        if before == state:
            return
        if before.get("options") != state["options"]:
            note("starting again: the options are not those that packing began with")
        else:
            old, new = ({row[1]: row for row in part.get("files", [])} for part in (before, state))
            changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            first = shown(changed[0]) if changed else "its order"
            note(f"starting again: {root} has changed since packing began ({first}{more})")
    # Without the state nobody knows what the shards were made from.
    for path in out.iterdir():
        if _OWN_FILES.match(path.name):
            path.unlink(missing_ok=True)
    write_text(out / STATE_NAME, json.dumps(state) + "\n")


def _pack_split(
    out: Path, split: str, files: list[_File], options: PackOptions, show_progress: bool
) -> list[tuple[ShardEntry, ShardIndex]]:
    """Return the shards of a split, those that were finished before first."""
    shards = _finished_shards(out, split)
    position = shards[-1][1].stop if shards else 0
    if position:
        note(f"{split}: {position:,} of {len(files):,} images were packed before; going on")
    encoded = ordered_map(lambda file: _encode(file, options), files[position:])
    tracked = track(encoded, total=len(files) - position, label=f"packing {split} images", enabled=show_progress)
    with contextlib.closing(encoded), contextlib.closing(tracked):  # type: ignore[type-var]
        items = zip(files[position:], tracked, strict=True)
        pending = next(items, None)
        while pending is not None:
            name = f"{split}-{len(shards):05d}"
            entry, shard, pending = _write_shard(out, name, split, position, pending, items, options)
            shards.append((entry, shard))
            position = shard.stop
    return shards


def _finished_shards(out: Path, split: str) -> list[tuple[ShardEntry, ShardIndex]]:
    """Return the shards that are whole, from the first one on without a gap; what follows is written again."""
    shards: list[tuple[ShardEntry, ShardIndex]] = []
    position = 0
    while (path := out / f"{split}-{len(shards):05d}.json").exists():
        try:
            shard = read_model(path, ShardIndex)
            entry = _entry(path, shard)
            whole = shard.first == position and file_digest(path.with_suffix(".tar")) == shard.sha256
        except (TwofoldError, OSError):
            break
        if not whole:
            break
        shards.append((entry, shard))
        position = shard.stop
    return shards


def _entry(path: Path, shard: ShardIndex) -> ShardEntry:
    digests = {"sha256": shard.sha256, "index_sha256": file_digest(path)}
    return ShardEntry(name=path.stem, bytes=shard.bytes, records=len(shard.number), **digests)


def _write_shard(
    out: Path,
    name: str,
    split: str,
    position: int,
    pending: tuple[_File, Encoded] | None,
    items: Iterator[tuple[_File, Encoded]],
    options: PackOptions,
) -> tuple[ShardEntry, ShardIndex, tuple[_File, Encoded] | None]:
    """Write one shard and its index; return both, and the record that no longer fitted."""
    stop = position
    columns: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, *_BOX_COLUMNS)}
    remarks: dict[str, list[int]] = {}
    path = out / f"{name}.tar"
    with atomic_path(path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            while pending is not None:
                file, encoded = pending
                if encoded.broken is not None:
                    columns["broken"].append((shown(file.relative), shown(encoded.broken)))
                else:
                    room = options.shard_bytes - tar.offset - 4 * tarfile.BLOCKSIZE
                    if columns["number"] and len(encoded.content) > room:
                        break
                    _add_record(tar, columns, file, encoded)
                    for key in encoded.remarks:
                        remarks.setdefault(key, []).append(file.number)
                stop += 1
                pending = next(items, None)
        num_bytes, digest = temporary.stat().st_size, file_digest(temporary)
    shard = ShardIndex.model_validate(
        {"bytes": num_bytes, "sha256": digest, "split": split, "first": position, "stop": stop, **columns}
        | {name: None if None in columns[name] else columns[name] or None for name in ("group", *_BOX_COLUMNS)}
        | {"remarks": remarks or None}
    )
    # From here on the shard counts.
    write_text(path.with_suffix(".json"), to_json(shard))
    return _entry(path.with_suffix(".json"), shard), shard, pending


def _add_record(tar: tarfile.TarFile, columns: dict[str, list[Any]], file: _File, encoded: Encoded) -> None:
    """Append the image and, as WebDataset's readers expect it, its class, or its labels or boxes as JSON."""
    entry = {
        "number": file.number,
        # In this format a header is exactly one block, so the content starts a block after it.
        "offset": tar.offset + tarfile.BLOCKSIZE,
        "length": len(encoded.content),
        "crc32": zlib.crc32(encoded.content),
        "label": file.label,
        "group": file.group,
        "height": encoded.height,
        "width": encoded.width,
        "grey": encoded.grey,
        "path": shown(file.relative),
    }
    for name, value in (entry | (file.objects or dict.fromkeys(_BOX_COLUMNS))).items():
        columns[name].append(value)
    key = f"{file.number:08d}"
    suffix = "cls" if isinstance(file.label, int) else "json"
    label = file.label if file.objects is None else {"label": file.label, **file.objects}
    members = ((f"{key}.{encoded.suffix}", encoded.content), (f"{key}.{suffix}", json.dumps(label).encode()))
    for member, content in members:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(content))


def _encode(source: _File, options: PackOptions) -> Encoded:
    """Return a file as it is stored, if it is the one that was there when packing began."""
    try:
        with open(source.path, "rb") as file:
            before = os.fstat(file.fileno())
            try:
                encoded = encode_image(file, size=options.size, quality=options.quality, store=options.store)
            except BrokenImageError as error:
                encoded = Encoded(broken=error.reason)
            for info in (before, os.fstat(file.fileno())):
                if (info.st_size, info.st_mtime_ns) != (source.size, source.mtime_ns):
                    raise _changed(source.relative, "was changed")
    except FileNotFoundError as error:
        raise _changed(source.relative, "is gone") from error
    except OSError as error:
        return Encoded(broken=f"cannot be read: {error.strerror or error}")
    return encoded


def _changed(relative: str, what: str) -> RunError:
    return RunError(f"{shown(relative)} {what} while the folder was packed; run the command again when it is at rest")
