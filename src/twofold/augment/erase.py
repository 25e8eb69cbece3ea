"""Rectangles of images filled, so that a network cannot rely on one detail alone.

- Random erasing: a rectangle of random size, shape and position (Zhong et al., "Random erasing data augmentation",
  2020).
- Cutout: a square of one size, whose middle lies anywhere, so that it may extend over the edge (DeVries and Taylor,
  "Improved regularization of convolutional neural networks with cutout", 2017).

Both are one `torch.where` between the image and the fill, on uint8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from twofold.augment.operation import (
    Augmentation,
    check_probability,
    check_range,
    check_size,
    draw_below,
    draw_uniform,
    per_image,
)
from twofold.errors import TwofoldError
from twofold.keyed import derive_key

_TRIES = 10


@dataclass(frozen=True)
class EraseParams:
    """The rectangle of each image in pixels, which may extend over the edge; none where the height is 0."""

    top: Int64[Tensor, " batch"]
    left: Int64[Tensor, " batch"]
    height: Int64[Tensor, " batch"]
    width: Int64[Tensor, " batch"]


class _Erasing(Augmentation):
    """What both have in common: the image's size, the fill, and filling."""

    def __init__(self, image_size: tuple[int, int], *, probability: float, fill: int) -> None:
        self.image_size = check_size("image_size", image_size)
        self.probability = check_probability("probability", probability)
        if not 0 <= fill <= 255:
            raise TwofoldError(f"fill must lie in 0..255, got {fill}")
        self.fill = fill

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: EraseParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images with their rectangles filled."""
        return erase(images, params, fill=self.fill)

    def describe(self, params: EraseParams) -> list[list[str]]:
        """Return the size and the position of each rectangle."""
        each = zip(*(getattr(params, name).tolist() for name in ("width", "height", "left", "top")), strict=True)
        return [[f"erased {w}×{h} px at {x}, {y}"] if h > 0 else [] for w, h, x, y in each]


class RandomErasing(_Erasing):
    """Fill a random rectangle inside some images.

    Args:
        image_size: (height, width) of the images that will come.
        probability: of an image to be changed.
        scale: the rectangle's area, as a share of the image's, is uniform between these.
        ratio: its height / width lies between these, uniform in its logarithm.
        fill: the value of its pixels in all channels, from 0 (black) to 255.

    Raises:
        TwofoldError: a value outside its range.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        probability: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        fill: int = 0,
    ) -> None:
        super().__init__(image_size, probability=probability, fill=fill)
        check_range("scale", scale, above=0.0, most=1.0)
        check_range("ratio", ratio, above=0.0)
        self.scale, self.ratio = scale, ratio
        height, width = self.image_size
        least = scale[0] * height * width
        # The least area in the shape that fits best: sides that round to less than those of the image.
        if max(ratio[0], least / (width - 0.5) ** 2) > min(ratio[1], (height - 0.5) ** 2 / least):
            raise TwofoldError(
                f"scale={scale} asks for rectangles that no image of {height}x{width} px holds, so nothing would be "
                "erased; lower it, or use cutout"
            )

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> EraseParams:
        """Return each sample's rectangle. One as long as a side is drawn again; after 10 tries there is none."""
        image_height, image_width = self.image_size
        height = torch.zeros(len(indices), dtype=torch.int64)
        width = torch.zeros_like(height)
        found = torch.zeros(len(indices), dtype=torch.bool)
        for attempt in range(_TRIES):
            area = draw_uniform(derive_key(seed, epoch, "erase-area", attempt), indices, *self.scale)
            area = area * (image_height * image_width)
            ratio = draw_uniform(
                derive_key(seed, epoch, "erase-ratio", attempt), indices, *(math.log(side) for side in self.ratio)
            ).exp()
            h, w = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
            fits = (h < image_height) & (w < image_width) & ~found
            height, width = torch.where(fits, h, height), torch.where(fits, w, width)
            found |= fits
            if bool(found.all()):
                break
        top = draw_below(derive_key(seed, epoch, "erase-top"), indices, image_height - height + 1)
        left = draw_below(derive_key(seed, epoch, "erase-left"), indices, image_width - width + 1)
        chosen = draw_uniform(derive_key(seed, epoch, "erase"), indices, 0.0, 1.0) < self.probability
        height = height * chosen
        return EraseParams(*(values.to(indices.device) for values in (top, left, height, width)))


class Cutout(_Erasing):
    """Fill a square in some images, its middle anywhere in the image.

    Args:
        image_size: (height, width) of the images that will come.
        side: of the square, in pixels.
        probability: of an image to be changed.
        fill: the value of its pixels in all channels, from 0 (black) to 255.

    Raises:
        TwofoldError: a value outside its range.
    """

    def __init__(self, image_size: tuple[int, int], *, side: int, probability: float = 1.0, fill: int = 0) -> None:
        super().__init__(image_size, probability=probability, fill=fill)
        if side < 1:
            raise TwofoldError(f"side must be 1 px or more, got {side}")
        self.side = side

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> EraseParams:
        """Return each sample's square."""
        corner = []
        for name, length in zip(("top", "left"), self.image_size, strict=True):
            middle = draw_below(derive_key(seed, epoch, f"cutout-{name}"), indices, torch.full((len(indices),), length))
            corner.append(middle - self.side // 2)
        chosen = draw_uniform(derive_key(seed, epoch, "cutout"), indices, 0.0, 1.0) < self.probability
        height = self.side * chosen
        width = torch.full_like(height, self.side)
        return EraseParams(*(values.to(indices.device) for values in (*corner, height, width)))


def erase(
    images: UInt8[Tensor, "batch channels height width"], params: EraseParams, *, fill: int = 0
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images, all channels of their rectangles filled with `fill`."""
    return torch.where(rectangles(params, images), torch.full_like(images[:1, :1, :1, :1], fill), images)


def rectangles(params: EraseParams, images: Tensor) -> Tensor:
    """Return which pixels lie in the rectangle of their image: bool (batch, 1, height, width)."""
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device)[:, None]
    col = torch.arange(width, device=images.device)
    top, left = per_image(params.top), per_image(params.left)
    inside_rows = (row >= top) & (row < top + per_image(params.height))
    inside_cols = (col >= left) & (col < left + per_image(params.width))
    return inside_rows & inside_cols
