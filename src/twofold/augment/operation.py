"""What every augmentation has in common: draw the parameters of each sample, apply them to the batch, describe them.

    augmentation = Compose([Flip(horizontal=0.5), ColourJitter(brightness=0.5)])
    params = augmentation.draw(seed=0, epoch=3, indices=indices)     # of the samples in the data set
    images = augmentation.apply(images, params)                      # uint8 in, uint8 out

Images with boxes take two more calls: what depends on the boxes is decided by them, and they move along.

    params = augmentation.choose(params, boxes, (height, width))
    boxes = augmentation.move_boxes(boxes, params, (height, width))

Parameters are frozen dataclasses whose tensors have the batch as their first dimension, so they can be kept, shown,
indexed (`take`) and applied again. A draw is a pure function of (seed, epoch, sample index): the same sample gets the
same parameters in any batch, process or order. Parameters are computed on the CPU, in float64 where they are rounded
later, so that every device gets the same, and then moved to the device of `indices`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Num, UInt8
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.keyed import derive_key, uniform

LARGE_IMAGE = 1 << 14
"""From so many values (channels * height * width) on, copying an image takes longer than a call: each gets its own."""


class Augmentation(ABC):
    """A random change of images that leaves their class what it is."""

    @abstractmethod
    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> Any:
        """Return the parameters of the samples `indices` in `epoch`: the same whatever batch they are drawn in."""

    def choose(self, params: Any, boxes: Float[Tensor, "batch boxes 4"], image_size: tuple[int, int]) -> Any:
        """Return the parameters, decided by the boxes in the images where an augmentation depends on them.

        Where there are boxes, this stands between `draw` and `apply`. Without it, what was drawn is applied as it is.

        Args:
            params: as drawn for these images.
            boxes: corners, as in `move_boxes`; those without area, such as rows of zeros, stand for no box.
            image_size: (height, width) of the images before `apply`.
        """
        return params

    @abstractmethod
    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: Any
    ) -> UInt8[Tensor, "batch channels out_h out_w"]:
        """Return the images, each changed by its parameters; `images` itself is not modified."""

    def compiled(self) -> Augmentation:
        """Return the same augmentation, run through torch.compile where that is faster."""
        return self

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: Any, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes of each image after `apply` with the same parameters.

        A rotated box becomes the upright one around it. Boxes are clipped to the image; one that has left it has an
        area of 0. An augmentation that moves no pixels returns them unchanged.

        Args:
            boxes: corners (x1, y1, x2, y2) in pixels, x to the right and y down, 0 at the left and upper edge.
            params: as drawn for these images.
            image_size: (height, width) of the images before `apply`.
        """
        return boxes

    def out_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that images of `image_size` have after `apply`."""
        return image_size

    @abstractmethod
    def describe(self, params: Any) -> list[list[str]]:
        """Return for each sample the changes made to it, as short phrases; an empty list where there were none."""


@dataclass(frozen=True)
class ComposeParams:
    """The parameters of each part, in the order of the parts."""

    parts: tuple[Any, ...]


class Compose(Augmentation):
    """Augmentations one after the other, each with draws of its own.

    Args:
        parts: in the order in which they are applied. The same kind may occur twice: the index is part of the key.
    """

    def __init__(self, parts: Sequence[Augmentation]) -> None:
        self.parts = tuple(parts)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> ComposeParams:
        """Return the parameters of all parts."""
        return ComposeParams(
            tuple(
                part.draw(seed=derive_key(seed, "part", i), epoch=epoch, indices=indices)
                for i, part in enumerate(self.parts)
            )
        )

    def choose(
        self, params: ComposeParams, boxes: Float[Tensor, "batch boxes 4"], image_size: tuple[int, int]
    ) -> ComposeParams:
        """Return the parameters of all parts, each decided by the boxes as the parts before it leave them."""
        chosen = []
        for part, drawn in zip(self.parts, params.parts, strict=True):
            chosen.append(part.choose(drawn, boxes, image_size))
            boxes = part.move_boxes(boxes, chosen[-1], image_size)
            image_size = part.out_size(image_size)
        return ComposeParams(tuple(chosen))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: ComposeParams
    ) -> UInt8[Tensor, "batch channels out_h out_w"]:
        """Return the images after all parts."""
        for part, drawn in zip(self.parts, params.parts, strict=True):
            images = part.apply(images, drawn)
        return images

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: ComposeParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes after all parts."""
        for part, drawn in zip(self.parts, params.parts, strict=True):
            boxes = part.move_boxes(boxes, drawn, image_size)
            image_size = part.out_size(image_size)
        return boxes

    def compiled(self) -> Compose:
        """Return the same parts, compiled where that is faster."""
        return Compose([part.compiled() for part in self.parts])

    def out_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) after all parts."""
        for part in self.parts:
            image_size = part.out_size(image_size)
        return image_size

    def describe(self, params: ComposeParams) -> list[list[str]]:
        """Return the phrases of all parts, in order."""
        each = [part.describe(drawn) for part, drawn in zip(self.parts, params.parts, strict=True)]
        return [[phrase for phrases in sample for phrase in phrases] for sample in zip(*each, strict=True)]


@dataclass(frozen=True)
class SometimesParams:
    """Which samples are changed, and parameters for all of them, changed or not."""

    applied: Bool[Tensor, " batch"]
    drawn: Any


class Sometimes(Augmentation):
    """Apply another augmentation to each sample with a probability. It must keep the size of the images.

    Raises:
        TwofoldError: a probability outside 0..1.
    """

    def __init__(self, augmentation: Augmentation, *, probability: float) -> None:
        self.augmentation = augmentation
        self.probability = check_probability("probability", probability)

    def compiled(self) -> Sometimes:
        """Return the same, compiled where that is faster."""
        return Sometimes(self.augmentation.compiled(), probability=self.probability)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> SometimesParams:
        """Return for each sample whether it is changed, and how."""
        return SometimesParams(
            applied=uniform(derive_key(seed, epoch, "sometimes"), indices) < self.probability,
            drawn=self.augmentation.draw(seed=seed, epoch=epoch, indices=indices),
        )

    def choose(
        self, params: SometimesParams, boxes: Float[Tensor, "batch boxes 4"], image_size: tuple[int, int]
    ) -> SometimesParams:
        """Return the parameters, decided by the boxes for all images, changed or not."""
        return SometimesParams(params.applied, self.augmentation.choose(params.drawn, boxes, image_size))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: SometimesParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, changed where that was drawn."""

        def change(applied: int, which: Tensor | slice, part: Tensor) -> Tensor:
            return self.augmentation.apply(part, take(params.drawn, which)) if applied else part

        return in_groups(images, params.applied.tolist(), change)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: SometimesParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes, those of changed images moved."""
        moved = self.augmentation.move_boxes(boxes, params.drawn, image_size)
        return torch.where(params.applied.view(-1, 1, 1), moved, boxes)

    def describe(self, params: SometimesParams) -> list[list[str]]:
        """Return the phrases of the samples that were changed."""
        each = zip(params.applied.tolist(), self.augmentation.describe(params.drawn), strict=True)
        return [phrases if applied else [] for applied, phrases in each]


def take(params: Any, which: Tensor | slice) -> Any:
    """Return the parameters of some samples of a batch, chosen by indices, a mask or a slice.

    >>> take(SometimesParams(torch.tensor([True, False, True]), None), slice(1, 3)).applied
    tensor([False,  True])
    """
    if isinstance(params, Tensor):
        return params[which]
    if isinstance(params, tuple):
        return type(params)(take(part, which) for part in params)
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        changed = {field.name: take(getattr(params, field.name), which) for field in dataclasses.fields(params)}
        return dataclasses.replace(params, **changed)
    return params


def in_groups(
    images: Num[Tensor, "batch channels height width"],
    kinds: Sequence[int],
    change: Callable[[int, Tensor | slice, Tensor], Tensor],
) -> Num[Tensor, "batch channels out_h out_w"]:
    """Return the images after a change that depends on their kind; images of one kind are changed in one call.

    The groups are put back in order by one gather, several times faster than an `index_copy` for each.

    Args:
        images: a batch.
        kinds: the kind of each image.
        change: takes a kind, what indexes its images in the batch, and these images; returns as many.
    """
    found = sorted(set(kinds))
    if len(found) == 1:
        return change(found[0], slice(None), images)
    indices, parts = [], []
    for kind in found:
        which = torch.tensor([i for i, other in enumerate(kinds) if other == kind], device=images.device)
        indices.append(which)
        parts.append(change(kind, which, images.index_select(0, which)))
    return torch.cat(parts).index_select(0, torch.cat(indices).argsort()) if parts else images


def clip_boxes(boxes: Float[Tensor, "batch boxes 4"], image_size: tuple[int, int]) -> Float[Tensor, "batch boxes 4"]:
    """Return the boxes, clipped to images of (height, width).

    >>> clip_boxes(torch.tensor([[[-2.0, 3.0, 5.0, 30.0]]]), (28, 28))
    tensor([[[ 0.,  3.,  5., 28.]]])
    """
    height, width = image_size
    most = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
    return boxes.clamp(min=0).minimum(most)


def mirror_boxes(boxes: Float[Tensor, "batch boxes 4"], length: int, *, axis: int) -> Float[Tensor, "batch boxes 4"]:
    """Return the boxes in images of side `length` that are mirrored along x (axis 0) or y (axis 1)."""
    result = boxes.clone()
    result[..., axis] = length - boxes[..., axis + 2]
    result[..., axis + 2] = length - boxes[..., axis]
    return result


def draw_uniform(key: int, indices: Int64[Tensor, " batch"], low: float, high: float) -> Float64[Tensor, " batch"]:
    """Return for each sample a value uniform in [low, high), on the CPU."""
    return low + (high - low) * uniform(key, indices.cpu()).double()


def draw_below(key: int, indices: Int64[Tensor, " batch"], count: Int64[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
    """Return for each sample an integer in [0, its own `count`), on the CPU (bias below count / 2**24)."""
    return (uniform(key, indices.cpu()).double() * count).long()


def sums_of_levels(images: UInt8[Tensor, "batch channels height width"]) -> Int64[Tensor, "batch channels"]:
    """Return the sum of the pixels of each image and channel; by numpy on a CPU, in a fifth of torch's time."""
    if images.device.type != "cpu":
        return images.flatten(2).sum(dim=2, dtype=torch.int64)
    dtype = np.uint32 if images.shape[2] * images.shape[3] <= 1 << 24 else np.uint64
    return torch.from_numpy(images.flatten(2).numpy().sum(axis=2, dtype=dtype).astype(np.int64))


def per_image(values: Tensor) -> Tensor:
    """Return values, one for each image, in a shape that broadcasts over channels, rows and columns."""
    return values.view(-1, 1, 1, 1)


def check_probability(name: str, value: float) -> float:
    """Return `value`; raise a `TwofoldError` unless it lies in 0..1."""
    if not 0.0 <= value <= 1.0:
        raise TwofoldError(f"{name} must lie in 0..1, got {value}")
    return value


def check_range(name: str, value: tuple[float, float], *, above: float, most: float = float("inf")) -> None:
    """Raise a `TwofoldError` unless these are two numbers above `above` and at most `most`, the smaller first."""
    low, high = value
    if not (above < low <= high <= most):
        limit = "" if most == float("inf") else f" and at most {most:g}"
        raise TwofoldError(f"{name} must be two numbers above {above:g}{limit}, the smaller first, got {value}")


def check_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width); raise a `TwofoldError` unless both are 1 px or more."""
    if min(size) < 1:
        raise TwofoldError(f"{name} must be (height, width) of 1 px or more, got {size}")
    return size


def check_channels(images: Tensor) -> Tensor:
    """Return the images; raise a `TwofoldError` unless they have 1 channel (grey) or 3 (red, green, blue)."""
    if images.shape[1] not in (1, 3):
        raise TwofoldError(f"images must have 1 channel (grey) or 3 (colour), got {images.shape[1]}")
    return images


def wide(values: Tensor) -> Tensor:
    """Return the values in float64, or in float32 on Apple's GPUs, which have no float64."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)
