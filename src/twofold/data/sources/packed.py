"""Images packed into a few large files: any of them by index with one read, every record checked.

Thousands of small files are slow to list, to copy and to read from a network or an object store, and a photograph
of 3000 × 2000 pixels has 120 times the pixels of a network's input of 224 px. `twofold data pack` (see `pack`)
decodes and scales each image once and appends it to a shard; this module reads what it wrote.

    photos-packed/
      index.json          classes, splits, how it was packed, and for each shard its length and SHA-256
      train-00000.tar     00000017.jpg, 00000017.cls, 00000004.jpg, 00000004.cls … (.json where there are label sets)
      train-00000.json    where each record lies, its length, CRC-32, label and source

Why tar and a JSON beside it, and no library: a streaming library must give one sequential read, random access by index,
checksums, no pickle, and object storage. LitData and MosaicML Streaming have binary formats of their own, can hold
pickles, and bring a cloud vendor's SDK along. WebDataset's format is a plain tar, which `tar -tf` lists and the loaders
of a cluster know (WebDataset itself, DALI, Hugging Face datasets), but it can only be read from front to back, and its
library unpickles members by their suffix. So the shards are WebDataset's format, in an order that is mixed already, and
the index adds what it lacks. A record is one range of bytes, so a store that answers range requests gives random access
too: see `read` of `open_packed`.

Records are decoded in threads: Pillow releases the interpreter lock while it decodes and scales. Neither the batch that
an image is in nor the thread that decodes it influences its pixels.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import statistics
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from twofold.data.decode import RECORD_FORMATS, BrokenImageError, bare_pixels, open_image
from twofold.data.parallel import ordered_map
from twofold.data.pixels import image_to_pil, to_pixels, whole_pixels
from twofold.data.sources.found import EncodedPart, Found
from twofold.data.spec import PixelSpec
from twofold.data.targets import BoxTargets, ClassTargets, LabelSetTargets, Targets, to_box_targets
from twofold.errors import RunError, TwofoldError
from twofold.files import file_digest, parse_json
from twofold.names import Name
from twofold.terminal import track

INDEX_NAME = "index.json"
STATE_NAME = "packing.json"
FORMAT = "twofold-packed"

Count = Annotated[int, Field(ge=0, lt=2**62)]
Pixel = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A plain file name: an index from elsewhere must not lead out of its folder.
ShardName = Annotated[str, Field(pattern=r"^(train|val|test|all)-\d{5}$")]
SplitName = Literal["train", "val", "test", "all"]
Store = Literal["auto", "png", "raw"]
"""How scaled images are stored: see `twofold.data.sources.pack`."""
RangeReader = Callable[[str, int, int], bytes]
"""Returns a range of bytes of a file of the pack, from (name, offset, length)."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardIndex(_Strict):
    """Where the records of a shard lie, one entry a record in each list, in the order of the tar.

    `first` and `stop` say which images of the packing order it holds. `number` is the image's index in its split,
    `offset` and `length` its bytes in the tar, `height` and `width` its size in pixels, `path` where it came from.
    `label` is its class, or the list of its labels, or of its boxes' classes: `boxes` are their corners in pixels of
    the image that was packed, which had the `full_size` (height, width); `area` and `crowd` as in `BoxTargets`.
    `broken` are the files of that range that could not be read, with the reason. `group` tells which images belong
    together, where that is known, and `remarks` are the numbers of the images that there is something to say about, by
    its key in `decode.REMARKS`.
    """

    format: Literal["twofold-packed"] = FORMAT
    version: Literal[1] = 1
    bytes: Count
    sha256: Sha256
    split: SplitName
    first: Count
    stop: Count
    number: list[Count]
    offset: list[Count]
    length: list[Count]
    crc32: list[Count]
    label: Annotated[list[Count] | list[list[Count]], Field(union_mode="left_to_right")]
    height: list[Count]
    width: list[Count]
    grey: list[bool]
    path: list[str]
    broken: list[tuple[str, str]]
    group: list[Count] | None = None
    remarks: dict[str, list[Count]] | None = None
    boxes: list[list[tuple[Pixel, Pixel, Pixel, Pixel]]] | None = None
    area: list[list[Pixel]] | None = None
    crowd: list[list[bool]] | None = None
    full_size: list[tuple[Count, Count]] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ShardIndex:
        columns = [self.offset, self.length, self.crc32, self.label, self.height, self.width, self.grey, self.path]
        columns += [] if self.group is None else [self.group]
        of_boxes = [column for column in (self.boxes, self.area, self.crowd, self.full_size) if column is not None]
        if len(of_boxes) not in (0, 4):
            raise ValueError("of boxes, areas, crowds and sizes only some are there")
        columns += of_boxes
        if any(len(column) != len(self.number) for column in columns):
            raise ValueError("its columns differ in length")
        for label, *rest in zip(self.label, *of_boxes[:3], strict=True):
            if of_boxes and (isinstance(label, int) or any(len(part) != len(label) for part in rest)):
                raise ValueError("an image has more classes than boxes, or fewer")
        if any(start + length > self.bytes for start, length in zip(self.offset, self.length, strict=True)):
            raise ValueError("a record lies beyond the end of its shard")
        return self


class ShardEntry(_Strict):
    """A shard in the index of the pack: its name without suffix, its length, and digests of itself and its index."""

    name: ShardName
    bytes: Count
    sha256: Sha256
    index_sha256: Sha256
    records: Count


class PackIndex(_Strict):
    """What a pack holds.

    `size` is the shorter side in pixels that larger images were scaled to; `source` a digest of the files that were
    packed and of the options; `fingerprint` one of the content. `skipped` are the images left out, with the reason.
    `task` is what can be learnt from it, and `remarks` are lines on how its images were read, if there are any.
    """

    format: Literal["twofold-packed"] = FORMAT
    version: Literal[1] = 1
    name: Name
    class_names: tuple[Name, ...] = Field(min_length=1)
    splits: dict[SplitName, tuple[ShardEntry, ...]]
    size: Count
    quality: Count
    store: Store
    source: Sha256
    fingerprint: Sha256
    skipped: tuple[tuple[str, str], ...]
    task: Literal["classify", "multilabel", "detect"] = "classify"
    remarks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _trainable(self) -> PackIndex:
        if ("train" in self.splits) == ("all" in self.splits):
            raise ValueError("it needs one of the splits train and all")
        return self


_Model = TypeVar("_Model", bound=_Strict)


@dataclass(frozen=True, eq=False)
class PackedPart(EncodedPart):
    """The records of one split of a pack, in the order of the folder that was packed: a column entry for each.

    `shard` and `row` are the record's shard (an index into `names`) and its row in that; `offset`, `length` and `crc32`
    where its bytes lie and what they must sum to; `side` the shorter side of the image in pixels. 40 bytes an image is
    all that is held in memory.
    """

    root: Path
    names: tuple[str, ...]
    read: RangeReader
    targets: Targets
    shard: np.ndarray
    row: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    crc32: np.ndarray
    side: np.ndarray

    # The checksum was right, so the shard was written like this.
    remedy = "pack the folder again"
    formats = RECORD_FORMATS

    def select(self, indices: Int64[Tensor, " m"]) -> PackedPart:
        """Return the records at `indices`."""
        names = ("shard", "row", "offset", "length", "crc32", "side")
        columns = {name: getattr(self, name)[indices.numpy()] for name in names}
        return replace(self, targets=self.targets.take(indices), **columns)

    def describe(self, index: int) -> str:
        """Return where the image came from, and its shard."""
        name = self.names[int(self.shard[index])]
        row = int(self.row[index])
        try:
            path = self.root / f"{name}.json"
            # Read when a person asks, for they are most of the index.
            source = _read_shard(path, path.stat().st_mtime_ns).path[row]
        except (TwofoldError, OSError, IndexError):
            source = f"record {row}"  # the names are a help, not worth a failure
        return f"{source} (in {self.root.name}/{name}.tar)"

    def describe_all(self) -> list[str]:
        """Return the description of every record; each index is read once."""
        described = [""] * len(self)
        for number, name in enumerate(self.names):
            at = np.flatnonzero(self.shard == number).tolist()
            if not at:
                continue
            paths = read_model(self.root / f"{name}.json", ShardIndex).path
            for index in at:
                described[index] = f"{paths[int(self.row[index])]} (in {self.root.name}/{name}.tar)"
        return described

    def record(self, index: int) -> bytes:
        """Return the encoded bytes of one image, checked.

        Raises:
            RunError: the shard is missing, cut off or damaged; the message names it and the record.
        """
        name = self.names[int(self.shard[index])]
        offset, length = int(self.offset[index]), int(self.length[index])
        try:
            content = self.read(f"{name}.tar", offset, length)
        except OSError as error:
            raise RunError(
                f"cannot read {self.describe(index)}: {error.strerror or error}; copy the shard again, or pack again"
            ) from error
        if len(content) != length:
            raise RunError(
                f"{self.root / name}.tar is cut off: of {self.describe(index)} only {len(content):,} of "
                f"{length:,} bytes are there; copy the shard again, or pack again"
            )
        if zlib.crc32(content) != int(self.crc32[index]):
            raise RunError(
                f"{self.root / name}.tar is damaged: the bytes of {self.describe(index)} do not have the checksum "
                "that was written; copy the shard again, or pack again"
            )
        return content

    def content_keys(self) -> list[str]:
        """Return where each record lies, and its checksum."""
        places = zip(self.shard.tolist(), self.offset.tolist(), self.length.tolist(), self.crc32.tolist(), strict=True)
        return [f"{self.names[shard]} {offset} {length} {crc32}" for shard, offset, length, crc32 in places]

    def pixels(self, index: int, spec: PixelSpec) -> UInt8[np.ndarray, "channels height width"]:
        """Return one image at the size and channels of `spec`; bare pixels are not decoded."""
        content = self.record(index)
        bare = bare_pixels(content)
        if bare is None:
            return to_pixels(open_image(content, formats=self.formats), spec)
        whole = whole_pixels(bare, spec)
        return to_pixels(image_to_pil(bare), spec) if whole is None else whole

    def needs_no_decoding(self, index: int, spec: PixelSpec) -> bool:
        """Return, without reading it, whether an image seems to be stored as the pixels of `spec`."""
        # What is compressed has fewer bytes than pixels; and what has another size is to be scaled.
        height, width = spec.image_size
        return bool(self.length[index] >= spec.channels * height * width and self.side[index] == min(height, width))


def is_packed(root: Path) -> bool:
    """Return whether a folder holds a pack.

    Raises:
        TwofoldError: it holds one that is not finished.
    """
    for name in (INDEX_NAME, STATE_NAME):
        # A folder may have an index.json of another kind; ours says so at its start.
        with contextlib.suppress(OSError), (root / name).open("rb") as file:
            if FORMAT.encode() in file.read(200):
                if name == INDEX_NAME:
                    return True
                raise TwofoldError(f"{root} is only partly packed; run the same twofold data pack again to go on")
    return False


def read_index(root: Path) -> PackIndex:
    """Return what the pack in the folder `root` holds.

    Raises:
        TwofoldError: its index is missing or not what was written.
    """
    return read_model(root / INDEX_NAME, PackIndex)


def open_packed(root: Path, *, read: RangeReader | None = None) -> Found[PackedPart]:
    """Return the pack in the folder `root`.

    `read` returns a range of bytes of a shard, from (name, offset, length); without it they are read from the files in
    `root`. With a function that asks an object store for a range, only the JSON files need to be here.

    Raises:
        TwofoldError: the index is missing or not what was written.
        RunError: a shard is missing or has another length than was written.
    """

    def read_file(name: str, offset: int, length: int) -> bytes:
        # Opened for each record: that costs 1 % of decoding it, and no number of shards can run out of open files.
        with open(root / name, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)

    index = read_index(root)
    splits: dict[str, PackedPart] = {}
    groups: dict[str, torch.Tensor] = {}
    all_grey = True
    for split, entries in index.splits.items():
        shards = [_open_shard(root, entry, check_file=read is None) for entry in entries]
        all_grey &= all(all(shard.grey) for shard in shards)

        def column(name: str, kind: type[np.generic], shards: list[ShardIndex] = shards) -> np.ndarray:
            return np.array([value for shard in shards for value in getattr(shard, name) or ()], dtype=kind)

        order = np.argsort(column("number", np.int64), kind="stable")
        if any(shard.group is not None for shard in shards):
            groups[split] = torch.from_numpy(column("group", np.int64)[order])
        counts = [len(shard.number) for shard in shards]
        splits[split] = PackedPart(
            root,
            tuple(entry.name for entry in entries),
            read or read_file,
            _targets(root, index, shards, order),
            shard=np.repeat(np.arange(len(shards), dtype=np.int32), counts)[order],
            row=np.concatenate([np.arange(count, dtype=np.int32) for count in [*counts, 0]])[order],
            offset=column("offset", np.int64)[order],
            length=column("length", np.int64)[order],
            crc32=column("crc32", np.uint32)[order],
            side=np.minimum(column("height", np.int32), column("width", np.int32))[order],
        )
    sides = np.concatenate([part.side for part in splits.values()]).tolist()
    if not sides:
        raise TwofoldError(f"{root / INDEX_NAME} lists no images; pack the folder again")
    return Found(
        source=str(root),
        name=root.resolve().name,
        class_names=index.class_names,
        splits=splits,
        channels=1 if all_grey else 3,
        median_side=statistics.median_low(sides),
        fingerprint=index.fingerprint,
        notes=(*index.remarks, *(f"left out when packing: {path}: {reason}" for path, reason in index.skipped)),
        groups=groups,
    )


def _targets(root: Path, index: PackIndex, shards: Sequence[ShardIndex], order: np.ndarray) -> Targets:
    """Return the targets of records in an `order`, from what their shards have."""
    labels = [label for shard in shards for label in shard.label]
    sets = [[label] if isinstance(label, int) else label for label in labels]
    if (largest := max(itertools.chain([-1], *sets))) >= len(index.class_names):
        raise TwofoldError(
            f"{root / INDEX_NAME} names {len(index.class_names)} classes, but a record has the label {largest}"
        )
    several = index.task != ClassTargets.task
    has_boxes = index.task == BoxTargets.task
    wrong = any(shard.number and (shard.boxes is not None) != has_boxes for shard in shards)
    if wrong or any(isinstance(label, int) == several for label in labels):
        raise TwofoldError(f"{root / INDEX_NAME} is of the task {index.task!r}, but the labels of its shards are not")
    if not several:
        return ClassTargets(torch.from_numpy(np.array(labels, dtype=np.int64)[order]))
    if has_boxes:

        def column(name: str) -> list[Any]:
            values = [value for shard in shards for value in getattr(shard, name) or ()]
            return [values[at] for at in order.tolist()]

        ordered = [sets[at] for at in order.tolist()]
        crowd, areas = column("crowd"), column("area")
        return to_box_targets(column("boxes"), ordered, column("full_size"), crowd=crowd, areas=areas)
    has = torch.zeros(len(sets), len(index.class_names), dtype=torch.bool)
    for row, at in enumerate(order.tolist()):
        has[row, sets[at]] = True
    return LabelSetTargets(has)


def _open_shard(root: Path, entry: ShardEntry, *, check_file: bool) -> ShardIndex:
    """Return the index of a shard after a check of what costs nothing: digests of the index, length of the tar."""
    shard = read_model(root / f"{entry.name}.json", ShardIndex, sha256=entry.index_sha256)
    path = root / f"{entry.name}.tar"
    if check_file:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}; copy it again, or pack again") from error
        if size != entry.bytes:
            raise RunError(
                f"{path} has {size:,} bytes, written were {entry.bytes:,}: it is cut off or not the same file; "
                "copy it again, or pack again"
            )
    return shard


def find_damage(root: Path, *, show_progress: bool = True) -> list[str]:
    """Return what is damaged in the pack in `root`, a sentence each: every byte of it is read and compared.

    Raises:
        TwofoldError: the index is missing or not what was written.
        RunError: a shard is missing or cut off.
    """
    damaged: list[str] = []
    for part in open_packed(root).splits.values():

        def damage(index: int, part: PackedPart = part) -> str | None:
            try:
                open_image(part.record(index), formats=RECORD_FORMATS)
            except BrokenImageError as error:
                return f"{part.describe(index)}: {error.reason}"
            except RunError as error:
                return str(error)
            return None

        found = ordered_map(damage, range(len(part)))
        lines = track(found, total=len(part), label="reading records", enabled=show_progress)
        damaged += [line for line in lines if line is not None]
    if damaged:
        return damaged
    # What lies between the records: headers and labels, which other readers go by.
    for entries in read_index(root).splits.values():
        for entry in entries:
            path = root / f"{entry.name}.tar"
            if file_digest(path) != entry.sha256:
                damaged.append(f"{path} is damaged outside of its images; copy it again, or pack again")
    return damaged


def read_model(path: Path, form: type[_Model], *, sha256: str | None = None) -> _Model:
    """Return the JSON file at `path` as a `form`, after a check of its digest where one is given.

    Raises:
        TwofoldError: it cannot be read, is not what was written, or does not fit the form.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TwofoldError(f"cannot read {path}: {error.strerror or error}; copy it again, or pack again") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise TwofoldError(f"{path} is not what was written: its SHA-256 differs; copy it again, or pack again")
    try:
        # A shard holds the most, and names only as they are shown: pydantic's own reader, which is fast, takes them.
        if form is ShardIndex:
            return form.model_validate_json(content)
        return form.model_validate(parse_json(content, source=str(path)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise TwofoldError(f"{path} is not the index of a pack: {field}: {first['msg'].lower()}") from error


@functools.lru_cache(maxsize=4)
def _read_shard(path: Path, mtime_ns: int) -> ShardIndex:
    """Return the index of a shard; a folder may be packed again, so the time of change is part of the key."""
    return read_model(path, ShardIndex)


def to_json(value: _Strict) -> str:
    """Return a model as JSON of one line, the same for the same content; without what is left at its default."""
    given = value.model_dump(exclude_defaults=True).keys() | {"format", "version"}
    content = {name: each for name, each in value.model_dump().items() if name in given}
    return json.dumps(content, separators=(",", ":")) + "\n"
