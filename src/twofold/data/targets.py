"""What is known of each image: the answers that a network is trained to give.

Images carry targets. Code that loads, batches or moves images moves their targets along (`take`, `to`) without knowing
what they are; only the code of a task reads them. `ClassTargets` is one class an image; a further kind (boxes with a
class each) is one more class here with the same methods.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor


@runtime_checkable
class Targets(Protocol):
    """What is known of each of n images."""

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

    def renumber(self, new: Int64[Tensor, " classes"]) -> Targets:
        """Return the same targets with class i called `new[i]`."""
        ...


@dataclass(frozen=True, eq=False)
class ClassTargets:
    """One class an image: `labels` are indices into the class names."""

    labels: Int64[Tensor, " n"]

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

    def renumber(self, new: Int64[Tensor, " classes"]) -> ClassTargets:
        """Return the labels with class i called `new[i]`."""
        return ClassTargets(new[self.labels])


def class_labels(targets: Targets) -> Int64[Tensor, " n"]:
    """Return the label of each image, for code that is about classification alone.

    Raises:
        TypeError: the targets are of another kind.
    """
    if not isinstance(targets, ClassTargets):
        raise TypeError(f"one class an image is needed, got {type(targets).__name__}")
    return targets.labels
