"""A name or a path to images that are ready to train on, or to evaluate a trained network with.

    data = load_data("fashion-mini")               # embedded: needs no network
    data = load_data("photos", image_size=96)      # a folder with one folder per class
    data = load_data("photos-packed")              # what twofold data pack made of it
    data = load_data("labels.csv", images="photos")  # a table of images and their classes
    data = load_data("hf:ylecun/mnist")            # a data set of the Hugging Face hub
    data.train.load(torch.arange(64))              # uint8 (64, channels, height, width)

One pipeline for all sources: find the data, split off test and validation images (or match classes by name), and move
the images into memory if they fit. Validation images come from the data's own val/ folder, or are split off the
training images class by class (see `splits`). The test images are never touched by training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from twofold.data.copies import copy_groups
from twofold.data.images import Images, MemoryImages, Part, StreamedImages
from twofold.data.parallel import available_memory
from twofold.data.pixels import ChannelMismatchError
from twofold.data.sources.find import find_data
from twofold.data.sources.found import Found
from twofold.data.sources.table_columns import UNUSED
from twofold.data.spec import ModelSpec, PixelSpec
from twofold.data.splits import group_indices, joined, split_indices
from twofold.data.statistics import channel_statistics
from twofold.data.targets import BoxTargets, ClassTargets, LabelSetTargets, Targets, label_sets
from twofold.errors import SettingError, TwofoldError
from twofold.names import listed, shown

_SPLITS = ("train", "val", "test")
_SHARE_OF_MEMORY = 4
_WHOLE = ({"resize": "stretch"}, {"resize": "pad"})


@dataclass(frozen=True, kw_only=True)
class Data:
    """Images to train on.

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

    def model_spec(self, **network: Any) -> ModelSpec:
        """Return what must travel with the weights of a network that is trained on these images.

        Args:
            **network: what the images do not say: `architecture`, `architecture_options`, `compute` …
        """
        mean, std = channel_statistics(self.train)
        task = self.train.targets.task
        return ModelSpec(
            **self.spec.model_dump(), task=task, class_names=self.class_names, mean=mean, std=std, **network
        )


@dataclass(frozen=True, kw_only=True)
class EvalData:
    """Images to evaluate a trained network with; classes are indices into the network's `class_names`."""

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
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.0,
    seed: int = 0,
    skip_broken: bool = False,
    memory_limit: int | None = None,
    splits: tuple[str, ...] = _SPLITS,
    for_detector: bool = False,
    show_progress: bool = True,
) -> Data:
    """Return the images of a named data set, a folder, a packed folder, a table or hf:NAME, split for training.

    Of a table, `images` is the folder of the images (that of the table, by default) and `columns` the names of the
    columns with "image", "label", "split" and "group" (found by their names). Without `image_size` (one side, or height
    and width, in pixels) a named set keeps its own and a folder gets 224, or for smaller images the multiple of 32 at
    or below the median of their shorter sides. Without `channels` they are 1 if every image is grey, else 3; 1 for
    colour images turns them to grey. Without `resize` an image of another shape is cropped, and one with boxes
    stretched, so that no object is cut off. `val_fraction` of each class is split off for validation unless the data
    bring their own, at least one image of each class, and never the last; 0 leaves `val` None. `test_fraction` of each
    class is held out for testing before that, where the data bring no test images; copies of an image, and images of
    one group of a table, are never on two sides. Images lie in memory where all splits together need at most
    `memory_limit` bytes (a quarter of what is available, by default), else are decoded as they are asked for; the
    pixels are the same. `for_detector` says what to ask for where a folder cannot be used: boxes or classes.

    Raises:
        TwofoldError: an unknown name, a value out of range, data that cannot be had; DataError for a folder with
            problems (those that `skip_broken` covers are left out and noted).
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise TwofoldError(f"{name} must be at least 0 and below 1, got {fraction}; 0.1 is usual")
    if unknown := [split for split in splits if split not in _SPLITS]:
        raise TwofoldError(f"unknown split {unknown[0]!r}; known are {', '.join(_SPLITS)}")
    options = {"image_size": image_size, "channels": channels, "resize": resize}
    # A mistake is found before all images are checked.
    _pixel_spec(options | {"resize": resize or "crop"}, channels=3, image_size=(224, 224))
    found = find_data(
        name_or_path,
        images=images,
        columns=columns,
        skip_broken=skip_broken,
        for_detector=for_detector,
        show_progress=show_progress,
    )
    has_boxes = any(part.targets.task == BoxTargets.task for part in found.splits.values())
    if has_boxes and resize == "crop":
        raise SettingError("{} would cut objects off; choose {} or {}", {"resize": "crop"}, *_WHOLE)
    options["resize"] = resize or ("stretch" if has_boxes else "crop")
    spec = _pixel_spec(options, channels=found.channels, image_size=found.image_size)
    parts, fingerprint, split_notes = _split(found, val_fraction, test_fraction, seed, show_progress)
    chosen = {split: parts[split] for split in splits if split in parts}
    opened, notes = _open(chosen, spec, memory_limit, show_progress)
    if "train" not in opened:
        no_pixels = torch.empty(0, spec.channels, *spec.image_size, dtype=torch.uint8)
        no_targets = parts["train"].targets.take(torch.empty(0, dtype=torch.int64))
        opened["train"] = MemoryImages(no_pixels, no_targets, found.name)
    return Data(
        name=found.name,
        class_names=found.class_names,
        spec=spec,
        train=opened["train"],
        val=opened.get("val"),
        test=opened.get("test"),
        fingerprint=fingerprint,
        notes=found.notes + split_notes + notes,
    )


def load_eval_images(
    name_or_path: str,
    spec: ModelSpec,
    *,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
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
    pixels = PixelSpec.model_validate(spec.model_dump(include=set(PixelSpec.model_fields)))
    found = find_data(
        name_or_path,
        images=images,
        columns=columns,
        skip_broken=skip_broken,
        for_training=False,
        several_labels=spec.task == LabelSetTargets.task,
        for_detector=spec.task == BoxTargets.task,
        show_progress=show_progress,
    )
    split = _eval_split(found, split)
    has_boxes = found.splits[split].targets.task == BoxTargets.task
    if has_boxes != (spec.task == BoxTargets.task):
        what = "boxes, and the network classifies" if has_boxes else "no boxes, and the network looks for objects"
        raise TwofoldError(f"the images of {found.source} have {what}")
    if found.channels == 3 and pixels.channels == 1 and not pixels.convert_colour:
        raise ChannelMismatchError(found.source, several=True)
    part = found.splits[split]
    present = {found.class_names[index] for index in part.targets.classes()}
    if unknown := sorted(present - set(spec.class_names)):
        raise TwofoldError(
            f"{found.source} has classes that the network was not trained on: {listed(unknown)}; "
            f"it knows {listed(spec.class_names)}{found.hint and '; '}{found.hint}"
        )
    new = {name: index for index, name in enumerate(spec.class_names)}
    numbers = torch.tensor([new.get(name, -1) for name in found.class_names])
    targets = part.targets.renumber(numbers, len(spec.class_names))
    if spec.task == LabelSetTargets.task:
        targets = LabelSetTargets(label_sets(targets, len(spec.class_names)))  # a folder gives each image one label
    elif targets.task == LabelSetTargets.task:
        raise TwofoldError(f"{found.source} has several labels an image, and the network was trained for one")
    part = part.with_targets(targets)
    opened, notes = _open({split: part}, pixels, memory_limit, show_progress)
    return EvalData(
        name=found.name,
        split=split,
        class_names=spec.class_names,
        spec=pixels,
        images=opened[split],
        fingerprint=found.fingerprint,
        notes=found.notes + notes,
    )


def _pixel_spec(options: dict[str, Any], *, channels: int, image_size: tuple[int, int]) -> PixelSpec:
    """Return the spec that the user's options and the data's own `channels` and `image_size` give together."""
    wanted = image_size if options["image_size"] is None else options["image_size"]
    chosen = channels if options["channels"] is None else options["channels"]
    size = (wanted, wanted) if isinstance(wanted, int) else wanted
    convert = chosen == 1 and channels == 3
    try:
        return PixelSpec.model_validate(
            {"channels": chosen, "image_size": size, "resize": options["resize"], "convert_colour": convert}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise TwofoldError(f"{name} is {options[name]!r}: {first['msg'].lower()}") from error


def _split(
    found: Found, val_fraction: float, test_fraction: float, seed: int, show_progress: bool
) -> tuple[dict[str, Part], str, tuple[str, ...]]:
    """Return the data's own splits and those that are drawn, a digest of the images and the draw, and notes.

    Images are drawn one by one, or group by group where the groups are known; for a test, copies are groups too.
    """
    # A split of which no image can be read is none.
    parts: dict[str, Part] = {
        name: part for name, part in found.splits.items() if name in ("all", "train") or len(part)
    }
    main = "all" if "all" in parts else "train"
    whole = parts.pop(main)
    groups = found.groups.get(main)
    fingerprint, notes = found.fingerprint, []
    if test_fraction > 0:
        if "test" in parts:
            raise SettingError(
                f"{found.source} has test images of its own; leave {{}} out", {"test_fraction": test_fraction}
            )
        _check_singles(found, whole.targets, "training and test", "test_fraction")
        others = [part for name, part in parts.items() if len(part)]
        name = str(Path(found.source).resolve())
        copies = copy_groups([whole, *others], name, show_progress=show_progress)
        copies, elsewhere = copies[: len(whole)], copies[len(whole) :]
        groups = copies if groups is None else joined(copies, groups)
        # Copies of the data's own validation images are no test either.
        free = ~torch.isin(groups, groups[torch.isin(copies, elsewhere)])
        kept, drawn = group_indices(whole.targets.strata()[free], groups[free], test_fraction, seed, "test split")
        at = torch.nonzero(free).flatten()
        test_at = at[drawn]
        train_at = torch.cat([at[kept], torch.nonzero(~free).flatten()]).sort().values
        parts["test"] = whole.select(test_at)
        _check_drawn(found, parts["test"], "testing", "test_fraction", by_copies=True)
        notes += _without(found, whole.targets, parts["test"].targets, "test images")
        fingerprint = hashlib.sha256(f"{fingerprint} {test_at.tolist()}".encode()).hexdigest()
        whole, groups = whole.select(train_at), groups[train_at]
    if "val" not in parts and val_fraction > 0:
        _check_singles(found, whole.targets, "training and validation", "val_fraction")
        strata = whole.targets.strata()
        if groups is None:
            train_at, val_at = split_indices(strata, val_fraction, seed)
        else:
            train_at, val_at = group_indices(strata, groups, val_fraction, seed, "split")
        parts["val"] = whole.select(val_at)
        _check_drawn(found, parts["val"], "validation", "val_fraction", by_copies=test_fraction > 0)
        if groups is not None:
            notes += _without(found, whole.targets, parts["val"].targets, "validation images")
        whole = whole.select(train_at)
    return {**parts, "train": whole}, fingerprint, tuple(notes)


def _check_singles(found: Found, targets: Targets, ways: str, setting: str) -> None:
    """Refuse classes of one image, which cannot be on both sides of a split.

    Of several labels an image, a rare one is no reason to refuse: its one image stays in training.
    """
    counts = torch.bincount(targets.strata()).tolist()
    single = [group for group, count in enumerate(counts) if count == 1]
    if single and isinstance(targets, ClassTargets):
        names = listed(found.class_names[group] for group in single)
        raise SettingError(
            f"{found.source}: {'classes' if len(single) > 1 else 'class'} {names} with one image "
            f"cannot be split into {ways}; add images, or set {{}}{found.hint and '; '}{found.hint}",
            {setting: 0},
        )


def _check_drawn(found: Found, drawn: Part, purpose: str, setting: str, *, by_copies: bool) -> None:
    """Refuse a draw that took no image, because none is independent of those that must stay in training."""
    if len(drawn):
        return
    message = f"{found.source}: no image can be split off for {purpose}, because "
    reasons = []
    if found.groups:
        reasons.append(f"of one group{f' (column {shown(found.group_column)})' if found.group_column else ''}")
    if by_copies:
        reasons.append("copies of one another")
    if not reasons:
        raise SettingError(f"{message}no two images have a label in common; add images, or set {{}}", {setting: 0})
    message += f"all images of each class are {' or '.join(reasons)}; add other images, or set {{}}"
    unused = [{"columns": {"group": UNUSED}}] if found.group_column else []
    raise SettingError(f"{message}{' or {}' * len(unused)}", {setting: 0}, *unused)


def _without(found: Found, before: Targets, drawn: Targets, what: str) -> list[str]:
    """Return a line on classes of which nothing could be drawn, because their images are of one group."""
    missing = [found.class_names[index] for index in sorted(set(before.classes()) - set(drawn.classes()))]
    if not missing:
        return []
    return [f"no {what} of {listed(missing, most=5)}: too few of their images are independent of one another"]


def _eval_split(found: Found, split: str | None) -> str:
    there = [name for name, part in found.splits.items() if len(part)]
    if split is None:
        return next(name for name in ("all", "test", "val", "train") if name in there)
    if split in there:
        return split
    if "all" in there:
        raise TwofoldError(f"{found.source} has no splits, so split={split!r} cannot be chosen; leave it out")
    # Training splits validation images off; here are meant those that the data bring along.
    own = " of its own" if split == "val" else ""
    raise TwofoldError(f"{found.source} has no split {split!r}{own}; it has {', '.join(there)}")


def _open(
    parts: Mapping[str, Part], spec: PixelSpec, memory_limit: int | None, show_progress: bool
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Return the images of the parts, in memory if all of them fit into the limit, else with a note that says so."""
    images = {split: part.open(spec) for split, part in parts.items()}
    streamed = {split: each for split, each in images.items() if isinstance(each, StreamedImages)}
    num_bytes = sum(map(len, streamed.values())) * spec.channels * spec.image_size[0] * spec.image_size[1]
    limit = available_memory() // _SHARE_OF_MEMORY if memory_limit is None else memory_limit
    if num_bytes > limit:
        needed = num_bytes / 1e6
        size = f"{f'{needed:,.0f}' if needed >= 10 else f'{needed:.2g}'} MB, over the limit of {limit / 1e6:,.0f} MB"
        return images, (f"images are prepared as they are needed, because in memory they would take {size}",)
    for split, each in streamed.items():
        images[split] = each.to_memory(label=f"preparing {split} images", show_progress=show_progress)
    return images, ()
