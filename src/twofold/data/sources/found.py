"""What every source answers with: the images of each split, not opened yet, and what is known of them all.

A source is one file with one function that returns a `Found`. Its parts are `FilePart`s where each image is a file, or
a further `EncodedPart` where it is a record of something larger. `load.load_data` does the rest, the same for all.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from twofold.data.decode import open_image
from twofold.data.formats import FORMATS
from twofold.data.images import MemoryImages, Part
from twofold.data.pixels import to_pixels
from twofold.data.sources.problems import Problem
from twofold.data.spec import PixelSpec
from twofold.data.targets import Targets

PartT_co = TypeVar("PartT_co", bound=Part, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Found(Generic[PartT_co]):
    """What a source holds.

    Attributes:
        source: how errors name it: a path, or the text that the user wrote.
        name: what a run records.
        class_names: what the classes in the targets are called.
        splits: "train" and, where present, "val" and "test"; or "all" alone, where there are no splits.
        channels: 1 if every image is grey, else 3.
        median_side: the median of the images' shorter sides in pixels.
        own_size: height and width, where all images have the same.
        fingerprint: a digest of the content.
        notes: lines that a person should see, such as what was left out.
        problems: what was wrong with the images that were left out.
        groups: the group of each image of a split, where they are known; no group is split.
        group_column: the column of a table that the groups are from, "" where they are not from one.
        hint: what to do where the classes turn out to be wrong; "" where nothing points to it.
    """

    source: str
    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, PartT_co]
    channels: int
    median_side: int
    own_size: tuple[int, int] | None = None
    fingerprint: str
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    groups: Mapping[str, Int64[Tensor, " n"]] = field(default_factory=dict)
    group_column: str = ""
    hint: str = ""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels to use unless the user says otherwise.

        The images' own, or 224, or for smaller images the multiple of 32 at or below the median of their shorter sides.
        """
        side = 224 if self.median_side >= 224 else max(32, self.median_side // 32 * 32)
        return self.own_size or (side, side)


class EncodedPart(Part):
    """Images that are stored encoded; a subclass is a frozen dataclass. `formats` are what the bytes may be."""

    formats: tuple[str, ...] = FORMATS

    @abc.abstractmethod
    def record(self, index: int) -> str | bytes:
        """Return an image's path, or its encoded bytes."""

    def pixels(self, index: int, spec: PixelSpec) -> UInt8[np.ndarray, "channels height width"]:
        """Return one image, decoded, at the size and channels of `spec`."""
        return to_pixels(open_image(self.record(index), formats=self.formats), spec)

    def decoded(self, index: int) -> Image.Image:
        """Return one image, decoded, at its own size."""
        return open_image(self.record(index), formats=self.formats)

    def describe_all(self) -> list[str]:
        """Return the description of every image."""
        return [self.describe(index) for index in range(len(self))]

    def with_targets(self, targets: Targets) -> EncodedPart:
        """Return the same images with other targets."""
        part: Any = self
        return replace(part, targets=targets)

    def with_pixels(self, pixels: UInt8[Tensor, "n channels height width"]) -> MemoryImages:
        """Return the same images with `pixels` in memory."""
        return MemoryImages(pixels, self.targets, self.describe_all())


@dataclass(frozen=True, eq=False)
class FilePart(EncodedPart):
    """A file an image."""

    paths: list[str]
    targets: Targets

    def select(self, indices: Int64[Tensor, " m"]) -> FilePart:
        """Return the files at `indices`."""
        return FilePart([self.paths[index] for index in indices.tolist()], self.targets.take(indices))

    def describe(self, index: int) -> str:
        """Return the path of an image."""
        return self.paths[index]

    def record(self, index: int) -> str:
        """Return the path of an image."""
        return self.paths[index]

    def content_keys(self) -> list[str] | None:
        """Return path, size and time of change of each file."""
        try:
            found = [(path, os.stat(path)) for path in self.paths]
        except OSError:
            return None  # whoever opens it will say so
        return [f"{info.st_size} {info.st_mtime_ns} {os.path.abspath(path)}" for path, info in found]
