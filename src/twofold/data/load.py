"""A name or a path to images that are ready to train on, or to evaluate a trained network with.

    data = load_data("fashion-mini")               # embedded: needs no network
    data = load_data("photos", image_size=96)      # a folder with one folder per class
    data = load_data("photos-packed")              # what twofold data pack made of it
    data = load_data("hf:ylecun/mnist")            # a data set of the Hugging Face hub
    data.train.load(torch.arange(64))              # uint8 (64, channels, height, width)

Validation images come from the data's own val/ folder, or are split off the training images class by class. The
draw is keyed by the seed (DESIGN rule 2), so every process and every later start finds the same split. The test
images are never touched by training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from pydantic import ValidationError
from torch import Tensor

from twofold.data.names import NAMED_DATA, check_data_name, is_hub_name
from twofold.data.parallel import available_memory
from twofold.data.source import Images, MemoryImages, ResizedImages, StreamedImages
from twofold.data.sources.folder import DataError, FolderScan, Split, scan_folder
from twofold.data.sources.hub import TableImages, TableSplit, open_hub_data
from twofold.data.sources.named import load_named
from twofold.data.sources.packed import PackedImages, PackedSplit, is_packed, open_packed
from twofold.data.spec import ModelSpec, PixelSpec
from twofold.data.targets import ClassTargets, class_labels
from twofold.errors import TwofoldError
from twofold.keyed import derive_key, permutation
from twofold.terminal import track

Part = Split | PackedSplit | TableSplit
Decoded = StreamedImages | ResizedImages | PackedImages | TableImages

_SPLITS = ("train", "val", "test")
_SHARE_OF_MEMORY = 4
_FILL_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Data:
    """Labelled images to train on.

    `spec` says how their pixels were made. `val` and `test` are None where there are none or they were not asked
    for; `train` has no images where it was not asked for. `fingerprint` is a digest of the data's content and
    `notes` are lines that a person should see, such as what was skipped.
    """

    name: str
    class_names: tuple[str, ...]
    spec: PixelSpec
    train: Images
    val: Images | None
    test: Images | None
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


@dataclass(frozen=True, kw_only=True)
class EvalData:
    """Labelled images to evaluate a trained network with; labels are indices into the network's `class_names`."""

    name: str
    split: str
    class_names: tuple[str, ...]
    spec: PixelSpec
    images: Images
    fingerprint: str
    notes: tuple[str, ...]


def load_data(
    name_or_path: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str = "crop",
    val_fraction: float = 0.1,
    seed: int = 0,
    skip_broken: bool = False,
    memory_limit: int | None = None,
    splits: tuple[str, ...] = _SPLITS,
    show_progress: bool = True,
) -> Data:
    """Return the images of a named data set, a folder, a packed folder or hf:NAME, split for training.

    Without `image_size` (one side, or height and width, in pixels) a named set keeps its own and a folder gets 224,
    or for smaller images the multiple of 32 at or below the median of their shorter sides. Without `channels` they
    are 1 if every image is grey, else 3; 1 for colour images turns them to grey. `val_fraction` of each class is
    split off for validation unless the data bring their own, at least one image of each class, and never the last;
    0 leaves `val` None. Images lie in memory where all splits together need at most `memory_limit` bytes (a quarter
    of what is available, by default), else are decoded as they are asked for; the pixels are the same.

    Raises:
        TwofoldError: an unknown name, a value out of range, data that cannot be had; DataError for a folder with
            problems (those that `skip_broken` covers are left out and noted).
    """
    check_data_name(name_or_path)
    if not 0 <= val_fraction < 1:
        raise TwofoldError(f"val_fraction must be at least 0 and below 1, got {val_fraction}; 0.1 is usual")
    if unknown := [split for split in splits if split not in _SPLITS]:
        raise TwofoldError(f"unknown split {unknown[0]!r}; known are {', '.join(_SPLITS)}")
    options = {"image_size": image_size, "channels": channels, "resize": resize}
    if name_or_path in NAMED_DATA:
        info = NAMED_DATA[name_or_path]
        spec = _pixel_spec(options, channels=info.channels, image_size=info.size)
        named = load_named(name_or_path, show_progress=show_progress)
        train_at, val_at = split_indices(class_labels(named.train.targets), val_fraction, seed)
        parts = {"train": named.train.select(train_at), "test": named.test}
        if len(val_at):
            parts["val"] = named.train.select(val_at)
        chosen = {split: parts[split] for split in splits if split in parts}
        loaded, notes = _place_named(chosen, spec, memory_limit, show_progress)
        return _data(name_or_path, named.class_names, spec, loaded, named.fingerprint, notes)
    found = _find(name_or_path, skip_broken=skip_broken, for_training=True, show_progress=show_progress)
    spec = _pixel_spec(options, channels=found.channels, image_size=_folder_size(found.median_side))
    folder_parts = _split_folder(found, val_fraction, seed)
    folder_chosen = {split: folder_parts[split] for split in splits if split in folder_parts}
    loaded, notes = _place_folder(folder_chosen, spec, memory_limit, show_progress)
    return _data(found.name, found.class_names, spec, loaded, found.fingerprint, found.notes + notes)


def load_eval_images(
    name_or_path: str,
    spec: ModelSpec,
    *,
    split: str | None = None,
    skip_broken: bool = False,
    memory_limit: int | None = None,
    show_progress: bool = True,
) -> EvalData:
    """Return the images of what `load_data` takes, prepared as a trained network's `spec` says, each once.

    Without `split`, the test images; a folder without them gives val, then train; a folder of classes without
    splits gives all. Classes are matched with the network's by name; the data may lack some of them.

    Raises:
        TwofoldError: the data cannot be had, lack the split, or have classes that the network does not know.
    """
    check_data_name(name_or_path)
    pixels = PixelSpec.model_validate(spec.model_dump(include=set(PixelSpec.model_fields)))
    if name_or_path in NAMED_DATA:
        split = split or "test"
        if split not in ("train", "test"):
            raise TwofoldError(f"{name_or_path} has no split {split!r} of its own; it has train and test")
        _check_channels(name_or_path, NAMED_DATA[name_or_path].channels, pixels)
        named = load_named(name_or_path, show_progress=show_progress)
        base = {"train": named.train, "test": named.test}[split]
        labels = _match_classes(name_or_path, class_labels(base.targets), named.class_names, spec.class_names)
        part = MemoryImages(base.images, ClassTargets(labels), base.origin, base.numbers)
        loaded, notes = _place_named({split: part}, pixels, memory_limit, show_progress)
        name, fingerprint = name_or_path, named.fingerprint
    else:
        found = _find(name_or_path, skip_broken=skip_broken, for_training=False, show_progress=show_progress)
        split = _eval_split(found, split)
        _check_channels(name_or_path, found.channels, pixels)
        part_found = found.splits[split]
        labels = _match_classes(name_or_path, part_found.labels, found.class_names, spec.class_names)
        folder_part = {split: _relabel(part_found, labels)}
        loaded, notes = _place_folder(folder_part, pixels, memory_limit, show_progress)
        name, fingerprint, notes = found.name, found.fingerprint, found.notes + notes
    return EvalData(
        name=name,
        split=split,
        class_names=spec.class_names,
        spec=pixels,
        images=loaded[split],
        fingerprint=fingerprint,
        notes=notes,
    )


@dataclass(frozen=True)
class _Found:
    """What a folder or a table holds: the same for image files, packed ones and tables, apart from the parts.

    `source` is how errors name it, `name` what a run records.
    """

    source: str
    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Part]
    channels: int
    median_side: int
    fingerprint: str
    notes: tuple[str, ...]


def _find(name_or_path: str, *, skip_broken: bool, for_training: bool, show_progress: bool) -> _Found:
    if is_hub_name(name_or_path):
        hub = open_hub_data(name_or_path, skip_broken=skip_broken, show_progress=show_progress)
        return _Found(
            name_or_path,
            hub.title,
            hub.class_names,
            dict(hub.splits),
            hub.channels,
            hub.median_side,
            hub.fingerprint,
            hub.notes,
        )
    root = Path(name_or_path).expanduser()
    name = root.resolve().name
    if is_packed(root):
        packed = open_packed(root)
        index = packed.index
        splits: dict[str, Part] = dict(packed.splits)
        return _Found(
            str(root),
            name,
            index.class_names,
            splits,
            packed.channels,
            packed.median_side,
            index.fingerprint,
            packed.notes,
        )
    scan = scan_folder(root, skip_broken=skip_broken, for_training=for_training, show_progress=show_progress)
    return _Found(
        str(root),
        name,
        scan.class_names,
        dict(scan.splits),
        scan.channels,
        scan.median_side,
        scan.fingerprint,
        _scan_notes(scan),
    )


def split_indices(
    labels: Int64[Tensor, " n"], val_fraction: float, seed: int
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " val"]]:
    """Return the indices of training and validation images, each ascending: the same fraction of every class.

    All images are put in one keyed random order, and the first of each class in that order are for validation. A
    class of one image stays in training.
    """
    n = len(labels)
    is_val = torch.zeros(n, dtype=torch.bool)
    if val_fraction > 0:
        order = permutation(derive_key(seed, "split"), n)
        # A stable sort by class keeps the random order inside each class.
        by_class = order[torch.argsort(labels[order], stable=True)]
        for members in by_class.split(torch.bincount(labels).tolist()):
            wanted = max(1, round(len(members) * val_fraction))
            is_val[members[: min(wanted, len(members) - 1)]] = True
    return torch.nonzero(~is_val).flatten(), torch.nonzero(is_val).flatten()


def _data(
    name: str,
    class_names: tuple[str, ...],
    spec: PixelSpec,
    loaded: dict[str, Images],
    fingerprint: str,
    notes: tuple[str, ...],
) -> Data:
    none = MemoryImages(
        torch.empty(0, spec.channels, *spec.image_size, dtype=torch.uint8),
        ClassTargets(torch.empty(0, dtype=torch.int64)),
        name,
    )
    return Data(
        name=name,
        class_names=class_names,
        spec=spec,
        train=loaded.get("train", none),
        val=loaded.get("val"),
        test=loaded.get("test"),
        fingerprint=fingerprint,
        notes=notes,
    )


def _pixel_spec(options: dict[str, Any], *, channels: int, image_size: tuple[int, int]) -> PixelSpec:
    """Return the spec that the user's options and the data's own `channels` and `image_size` give together."""
    wanted = image_size if options["image_size"] is None else options["image_size"]
    chosen = channels if options["channels"] is None else options["channels"]
    try:
        return PixelSpec.model_validate(
            {
                "channels": chosen,
                "image_size": (wanted, wanted) if isinstance(wanted, int) else wanted,
                "resize": options["resize"],
                "convert_colour": chosen == 1 and channels == 3,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise TwofoldError(f"{name} is {options[name]!r}: {first['msg'].lower()}") from error


def _folder_size(median_side: int) -> tuple[int, int]:
    side = 224 if median_side >= 224 else max(32, median_side // 32 * 32)
    return (side, side)


def _scan_notes(scan: FolderScan) -> tuple[str, ...]:
    skipped = tuple(f"skipped {problem.path}: {problem.message}" for problem in scan.problems)
    return scan.notes + skipped


def _split_folder(found: _Found, val_fraction: float, seed: int) -> dict[str, Part]:
    """Return the folder's own splits, with validation images split off where it has none."""
    parts = dict(found.splits)
    whole = parts.pop("all", None) or parts["train"]
    if "val" not in parts and val_fraction > 0:
        counts = torch.bincount(whole.labels, minlength=len(found.class_names))
        single = [name for name, count in zip(found.class_names, counts.tolist(), strict=True) if count == 1]
        if single:
            raise DataError(
                f"{found.source}: {'classes' if len(single) > 1 else 'class'} {', '.join(single[:20])} with one image "
                "cannot be split into training and validation; add images, or set val_fraction to 0"
            )
        train_at, val_at = split_indices(whole.labels, val_fraction, seed)
        parts["val"] = _select(whole, val_at)
        whole = _select(whole, train_at)
    return {**parts, "train": whole}


def _select(split: Part, indices: Int64[Tensor, " m"]) -> Part:
    if not isinstance(split, Split):
        return split.select(indices)
    return Split([split.paths[index] for index in indices.tolist()], split.labels[indices])


def _relabel(split: Part, labels: Int64[Tensor, " n"]) -> Part:
    return Split(split.paths, labels) if isinstance(split, Split) else split.relabelled(labels)


def _eval_split(found: _Found, split: str | None) -> str:
    if split is None:
        return next(name for name in ("all", "test", "val", "train") if name in found.splits)
    if split in found.splits:
        return split
    if "all" in found.splits:
        raise TwofoldError(f"{found.source} has no splits, so split={split!r} cannot be chosen; leave it out")
    raise TwofoldError(f"{found.source} has no split {split!r}; it has {', '.join(found.splits)}")


def _check_channels(name: str, channels: int, spec: PixelSpec) -> None:
    if channels == 3 and spec.channels == 1 and not spec.convert_colour:
        raise TwofoldError(
            f"{name} has colour images but the network was trained on grey ones; "
            "train with 3 channels, or with 1 channel set explicitly so that colour is turned to grey"
        )


def _match_classes(
    name: str, labels: Int64[Tensor, " n"], from_names: tuple[str, ...], to_names: tuple[str, ...]
) -> Int64[Tensor, " n"]:
    """Return `labels` (indices into `from_names`) as indices into `to_names`."""
    present = {from_names[label] for label in labels.unique().tolist()}
    if unknown := sorted(present - set(to_names)):
        raise TwofoldError(
            f"{name} has classes that the network was not trained on: {', '.join(unknown[:20])}"
            f"{f' and {len(unknown) - 20} more' if len(unknown) > 20 else ''}; it knows {', '.join(to_names[:20])}"
        )
    places = {class_name: place for place, class_name in enumerate(to_names)}
    return torch.tensor([places.get(class_name, -1) for class_name in from_names])[labels]


def _place_named(
    parts: dict[str, MemoryImages], spec: PixelSpec, memory_limit: int | None, show_progress: bool
) -> tuple[dict[str, Images], tuple[str, ...]]:
    native = {tuple(part.images.shape[1:]) for part in parts.values()}
    if native <= {(spec.channels, *spec.image_size)}:
        return dict(parts), ()
    resized: dict[str, Decoded] = {split: ResizedImages(part, spec) for split, part in parts.items()}
    return _place(resized, memory_limit, show_progress)


def _place_folder(
    parts: dict[str, Part], spec: PixelSpec, memory_limit: int | None, show_progress: bool
) -> tuple[dict[str, Images], tuple[str, ...]]:
    decoded: dict[str, Decoded] = {}
    for split, part in parts.items():
        if isinstance(part, Split):
            decoded[split] = StreamedImages(part.paths, ClassTargets(part.labels), spec)
        else:
            decoded[split] = PackedImages(part, spec) if isinstance(part, PackedSplit) else TableImages(part, spec)
    return _place(decoded, memory_limit, show_progress)


def _place(
    parts: dict[str, Decoded], memory_limit: int | None, show_progress: bool
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Return the parts in memory if all of them fit into the limit, else as they are, with a note that says so."""
    num_bytes = sum(
        len(part) * part.spec.channels * part.spec.image_size[0] * part.spec.image_size[1] for part in parts.values()
    )
    limit = available_memory() // _SHARE_OF_MEMORY if memory_limit is None else memory_limit
    if num_bytes > limit:
        size = f"{num_bytes / 2**30:.1f} GiB over the limit of {limit / 2**30:.1f} GiB"
        return dict(parts), (f"images are prepared as they are needed, because in memory they would take {size}",)
    return {split: _fill(part, split, show_progress) for split, part in parts.items()}, ()


def _fill(images: Decoded, split: str, show_progress: bool) -> MemoryImages:
    n = len(images)
    pixels = torch.empty(n, images.spec.channels, *images.spec.image_size, dtype=torch.uint8)
    chunks = torch.arange(n).split(_FILL_BATCH)
    for chunk in track(chunks, total=len(chunks), label=f"preparing {split} images", enabled=show_progress):
        pixels[chunk] = images.load(chunk)
    if isinstance(images, ResizedImages):
        return MemoryImages(pixels, images.targets, images.base.origin, images.base.numbers)
    if isinstance(images, PackedImages | TableImages):
        return MemoryImages(pixels, images.targets, images.records.describe_all())
    return MemoryImages(pixels, images.targets, images.paths)
