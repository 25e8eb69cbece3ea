"""What is known of each image: the answers that a network is trained to give.

Images carry targets. Code that loads, batches or moves images moves their targets along (`take`, `to`) without knowing
what they are; only the code of a task reads them. `ClassTargets` is one class an image, `LabelSetTargets` any number of
labels an image, `BoxTargets` any number of boxes, each with a class. Each kind names the task that a network is trained
for on it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from twofold.errors import TwofoldError

# What labels in one cell of a table are separated by, the surest first. A comma or a space may also be part of a name.
SEPARATORS = ("|", ";", ",", " ")
_SURE_SEPARATORS = SEPARATORS[:2]


@runtime_checkable
class Targets(Protocol):
    """What is known of each of n images; `task` is the name of what a network learns from it."""

    task: ClassVar[str]

    def __len__(self) -> int: ...

    def take(self, indices: Int64[Tensor, " batch"]) -> Targets:
        """Return the targets of the images at `indices`, in their order."""
        ...

    def to(self, device: torch.device | str) -> Targets:
        """Return the same targets on `device`."""
        ...

    def digest(self) -> str:
        """Return a SHA-256 of the values, the same on every device."""
        ...

    def strata(self) -> Int64[Tensor, " n"]:
        """Return the group of each image; validation images are the same fraction of every group."""
        ...

    def classes(self) -> list[int]:
        """Return the classes that occur, ascending, as indices into the class names."""
        ...

    def renumber(self, new: Int64[Tensor, " classes"], num_classes: int) -> Targets:
        """Return the same targets with class i, where it occurs, called `new[i]` of `num_classes`."""
        ...


@dataclass(frozen=True, eq=False)
class ClassTargets:
    """One class an image: `labels` are indices into the class names."""

    labels: Int64[Tensor, " n"]
    task: ClassVar[str] = "classify"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Int64[Tensor, " batch"]) -> ClassTargets:
        """Return the labels at `indices`, which may lie on another device than the labels."""
        return ClassTargets(self.labels[indices.to(self.labels.device)])

    def to(self, device: torch.device | str) -> ClassTargets:
        """Return the same labels on `device`."""
        return ClassTargets(self.labels.to(device))

    def digest(self) -> str:
        """Return the SHA-256 of the labels as little-endian int64."""
        return hashlib.sha256(self.labels.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def strata(self) -> Int64[Tensor, " n"]:
        """Return the labels: validation images are the same fraction of every class."""
        return self.labels

    def classes(self) -> list[int]:
        """Return the classes that have images, ascending."""
        return self.labels.unique().tolist()

    def renumber(self, new: Int64[Tensor, " classes"], num_classes: int) -> ClassTargets:
        """Return the labels with class i called `new[i]`."""
        return ClassTargets(new[self.labels])


@dataclass(frozen=True, eq=False)
class LabelSetTargets:
    """Any number of labels an image, also none: `has` says of each image and each label whether the image has it."""

    has: Bool[Tensor, "n classes"]
    task: ClassVar[str] = "multilabel"

    def __len__(self) -> int:
        return len(self.has)

    def take(self, indices: Int64[Tensor, " batch"]) -> LabelSetTargets:
        """Return the labels of the images at `indices`, which may lie on another device than the labels."""
        return LabelSetTargets(self.has[indices.to(self.has.device)])

    def to(self, device: torch.device | str) -> LabelSetTargets:
        """Return the same labels on `device`."""
        return LabelSetTargets(self.has.to(device))

    def digest(self) -> str:
        """Return the SHA-256 of the number of labels and of the table, a byte an element."""
        content = str(self.has.shape[1]).encode() + b"\n" + self.has.cpu().numpy().astype("u1").tobytes()
        return hashlib.sha256(content).hexdigest()

    def strata(self) -> Int64[Tensor, " n"]:
        """Return the rarest label of each image, and the number of labels for an image without any.

        Validation images are so the same fraction of the images of each label, as far as labels that come together
        allow: a rare label counts first, since a split could easily miss it.
        """
        none = ~self.has.any(dim=1, keepdim=True)
        table = torch.cat([self.has, none], dim=1)
        by_rarity = self.has.sum(dim=0).argsort(stable=True)  # where two labels are as rare, the first
        by_rarity = torch.cat([by_rarity, by_rarity.new_tensor([self.has.shape[1]])])
        return by_rarity[table[:, by_rarity].int().argmax(dim=1)]

    def classes(self) -> list[int]:
        """Return the labels that some image has, ascending."""
        return torch.nonzero(self.has.any(dim=0)).flatten().tolist()

    def renumber(self, new: Int64[Tensor, " classes"], num_classes: int) -> LabelSetTargets:
        """Return a table of `num_classes` labels in which label i, where it occurs, is number `new[i]`."""
        has = torch.zeros(len(self), num_classes, dtype=torch.bool, device=self.has.device)
        there = self.classes()
        has[:, new[there].to(has.device)] = self.has[:, there]
        return LabelSetTargets(has)


@dataclass(frozen=True, eq=False)
class BoxTargets:
    """Any number of boxes an image, also none, each with a class.

    Attributes:
        boxes: corners (x1, y1, x2, y2) in pixels of the images as they are stored, those of the first image first.
        labels: the class of each box.
        counts: the number of boxes of each image.
        sizes: (height, width) of each image as it is stored, upright.
        crowd: whether a box stands for many objects that nobody counted (COCO's `iscrowd`). Networks are not trained
            on these, and detections in them are neither right nor wrong.
        areas: by which an object counts as small, medium or large, in pixels: COCO's are those of its outline.
    """

    boxes: Float64[Tensor, "boxes 4"]
    labels: Int64[Tensor, " boxes"]
    counts: Int64[Tensor, " n"]
    sizes: Int64[Tensor, "n 2"]
    crowd: Bool[Tensor, " boxes"]
    areas: Float64[Tensor, " boxes"]
    task: ClassVar[str] = "detect"

    def __len__(self) -> int:
        return len(self.counts)

    def images(self) -> Int64[Tensor, " boxes"]:
        """Return the image that each box is in."""
        return torch.arange(len(self), device=self.counts.device).repeat_interleave(self.counts)

    def rows(self, indices: Int64[Tensor, " batch"]) -> Int64[Tensor, " rows"]:
        """Return the rows of `boxes` that belong to the images at `indices`, image by image."""
        indices = indices.to(self.counts.device)
        counts = self.counts[indices]
        starts = self.counts.cumsum(0)[indices] - counts
        # Within each image 0, 1, 2 …: a running number less that of the image's first row.
        own = torch.arange(int(counts.sum()), device=counts.device)
        first = counts.cumsum(0) - counts
        return own + (starts - first).repeat_interleave(counts)

    def take(self, indices: Int64[Tensor, " batch"]) -> BoxTargets:
        """Return the boxes of the images at `indices`, which may lie on another device than the boxes."""
        rows, indices = self.rows(indices), indices.to(self.counts.device)
        return BoxTargets(
            self.boxes[rows],
            self.labels[rows],
            self.counts[indices],
            self.sizes[indices],
            self.crowd[rows],
            self.areas[rows],
        )

    def to(self, device: torch.device | str) -> BoxTargets:
        """Return the same boxes on `device`."""
        parts = (self.boxes, self.labels, self.counts, self.sizes, self.crowd, self.areas)
        return BoxTargets(*(part.to(device) for part in parts))

    def digest(self) -> str:
        """Return the SHA-256 of all six tensors, little-endian, in the order of the attributes."""
        kinds = ("<f8", "<i8", "<i8", "<i8", "u1", "<f8")
        parts = (self.boxes, self.labels, self.counts, self.sizes, self.crowd, self.areas)
        content = (part.cpu().numpy().astype(kind).tobytes() for part, kind in zip(parts, kinds, strict=True))
        return hashlib.sha256(b"".join(content)).hexdigest()

    def strata(self) -> Int64[Tensor, " n"]:
        """Return the rarest class of each image, and the number of classes for an image without boxes.

        As for label sets: validation images are the same fraction of the images of each class, rare ones first.
        """
        return LabelSetTargets(self.has()).strata()

    def has(self, num_classes: int | None = None) -> Bool[Tensor, "n classes"]:
        """Return whether each image has a box of each class; as many classes as occur, if left out."""
        num_classes = (int(self.labels.max()) + 1 if len(self.labels) else 0) if num_classes is None else num_classes
        table = torch.zeros(len(self), num_classes, dtype=torch.bool, device=self.labels.device)
        table[self.images(), self.labels] = True
        return table

    def classes(self) -> list[int]:
        """Return the classes that some box has, ascending."""
        return self.labels.unique().tolist()

    def renumber(self, new: Int64[Tensor, " classes"], num_classes: int) -> BoxTargets:
        """Return the same boxes with class i called `new[i]`."""
        return dataclasses.replace(self, labels=new.to(self.labels.device)[self.labels])

    @classmethod
    def joined(cls, parts: Sequence[BoxTargets]) -> BoxTargets:
        """Return the boxes of all images of several, in their order."""
        if not parts:
            return to_box_targets([], [], [])
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(cls)))


def to_box_targets(
    boxes: Sequence[Sequence[Sequence[float]]],
    labels: Sequence[Sequence[int]],
    sizes: Sequence[tuple[int, int]],
    *,
    crowd: Sequence[Sequence[bool]] | None = None,
    areas: Sequence[Sequence[float]] | None = None,
) -> BoxTargets:
    """Return the targets of images of which each has a list of boxes, a list of their classes, and a size.

    Args:
        boxes: of each image its boxes' corners in pixels.
        labels: of each image its boxes' classes.
        sizes: (height, width) of each image.
        crowd: which boxes are of crowds; none, if left out.
        areas: those by which objects count as small or large; the boxes' own, if left out.

    >>> targets = to_box_targets([[(0, 0, 2, 3)], []], [[1]  , []], [(8, 8), (8, 8)])
    >>> targets.counts.tolist(), targets.areas.tolist()
    ([1, 0], [6.0])
    """
    flat = torch.tensor([box for own in boxes for box in own], dtype=torch.float64).reshape(-1, 4)
    own_areas = (flat[:, 2] - flat[:, 0]) * (flat[:, 3] - flat[:, 1])
    return BoxTargets(
        flat,
        torch.tensor([label for own in labels for label in own], dtype=torch.int64),
        torch.tensor([len(own) for own in boxes], dtype=torch.int64),
        torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        torch.zeros(len(flat), dtype=torch.bool)
        if crowd is None
        else torch.tensor([one for own in crowd for one in own], dtype=torch.bool),
        own_areas if areas is None else torch.tensor([one for own in areas for one in own], dtype=torch.float64),
    )


def class_labels(targets: Targets) -> Int64[Tensor, " n"]:
    """Return the label of each image, for code that is about classification alone.

    Raises:
        TwofoldError: the targets are of another kind.
    """
    if not isinstance(targets, ClassTargets):
        raise TwofoldError(f"this needs one class an image; these images are for the task {targets.task!r}")
    return targets.labels


def label_sets(targets: Targets, num_classes: int) -> Bool[Tensor, "n classes"]:
    """Return which labels each image has; an image with one class has that label alone.

    Raises:
        TwofoldError: the targets are of another kind.
    """
    if isinstance(targets, ClassTargets):
        return targets.labels[:, None] == torch.arange(num_classes, device=targets.labels.device)
    if not isinstance(targets, LabelSetTargets):
        raise TwofoldError(f"this needs labels of each image; these images are for the task {targets.task!r}")
    return targets.has


def target_words(targets: Targets, index: int, class_names: Sequence[str]) -> str:
    """Return the class of an image, or its labels, or the classes of its boxes with their number.

    Raises:
        TwofoldError: the targets are of another kind.
    """
    if isinstance(targets, BoxTargets):
        counts = targets.take(torch.tensor([index])).labels.bincount(minlength=len(class_names)).tolist()
        named = (
            f"{count} {name}" if count > 1 else name for name, count in zip(class_names, counts, strict=True) if count
        )
        return ", ".join(named) or "no box"
    has = label_sets(targets.take(torch.tensor([index])), len(class_names))[0].tolist()
    return ", ".join(name for name, is_there in zip(class_names, has, strict=True) if is_there) or "no label"


def to_label_sets(sets: Sequence[Collection[str]]) -> tuple[tuple[str, ...], LabelSetTargets]:
    """Return the names of all labels, sorted, and the targets of images of which each has the labels in its set.

    >>> names, targets = to_label_sets([{"cat", "dog"}, set(), {"cat"}])
    >>> names, targets.has.int().tolist()
    (('cat', 'dog'), [[1, 1], [0, 0], [1, 0]])
    """
    names = tuple(sorted(set().union(*sets)))
    number = {name: index for index, name in enumerate(names)}
    has = torch.zeros(len(sets), len(names), dtype=torch.bool)
    for row, labels in enumerate(sets):
        has[row, [number[name] for name in labels]] = True
    return names, LabelSetTargets(has)


def label_separator(cells: Sequence[str], *, asked: bool = False) -> str | None:
    """Return what separates the labels in the cells of a column; None where each cell is one label.

    That is the first of | and ; that is in any cell. A comma or a space may be part of a name ("polar bear"), so they
    count only where several labels an image were asked for.

    >>> label_separator(["cat|polar bear", "", "dog"]), label_separator(["polar bear", "dog"])
    ('|', None)
    >>> label_separator(["cat,dog", "dog"], asked=True), label_separator(["cat dog", "dog"], asked=True)
    (',', ' ')
    """
    candidates = SEPARATORS if asked else _SURE_SEPARATORS
    return next((mark for mark in candidates if any(mark in cell.strip() for cell in cells)), None)


def split_labels(cell: str, separator: str | None) -> tuple[str, ...]:
    """Return the labels in a cell, each once, without the spaces around them; none in an empty cell.

    >>> split_labels(" cat | dog|cat", "|"), split_labels(" ", "|"), split_labels("polar bear", None)
    (('cat', 'dog'), (), ('polar bear',))
    """
    parts = [cell] if separator is None else cell.split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
