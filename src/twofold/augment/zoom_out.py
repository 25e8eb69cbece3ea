"""Zoom out: some images become a smaller part of a larger canvas, so that small objects are seen more often.

Liu et al., "SSD: single shot multibox detector", 2016, section 3.6: the image lies anywhere on a canvas of up to four
times its sides, of its mean colour, which is then brought back to the image's size. There it gives 2 to 3 % of mAP.

The canvas is never made: the image is shrunk, bilinear with antialiasing as in `resized_crop`, straight into its place
in the result, whose edges are whole pixels. `twofold.scratch.box_augment` spells this out for one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from twofold.augment.operation import (
    Augmentation,
    check_probability,
    check_size,
    clip_boxes,
    draw_below,
    draw_uniform,
    sums_of_levels,
)
from twofold.augment.resized_crop import (
    corners_and_sides,
    crop_matrices,
    has_kernel,
    resize_by_kernel,
    resize_by_matrices,
)
from twofold.errors import TwofoldError
from twofold.keyed import derive_key

MOST_SIDES = 8.0


@dataclass(frozen=True)
class ZoomOutParams:
    """Where each image lies in its result, in pixels; an image that stays as it is fills it."""

    top: Int64[Tensor, " batch"]
    left: Int64[Tensor, " batch"]
    height: Int64[Tensor, " batch"]
    width: Int64[Tensor, " batch"]


class ZoomOut(Augmentation):
    """Shrink some images and fill what is around them.

    Args:
        image_size: (height, width) of the images that will come.
        sides: the canvas is so many times as wide and as high as the image, uniform between these.
        probability: of an image to be changed.
        fill: the value around it in all channels, from 0 (black) to 255; the image's own mean, if left out.

    Raises:
        TwofoldError: a value outside its range.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        sides: tuple[float, float] = (1.0, 4.0),
        probability: float = 0.5,
        fill: int | None = None,
    ) -> None:
        self.image_size = check_size("image_size", image_size)
        if not 1.0 <= sides[0] <= sides[1] <= MOST_SIDES:
            raise TwofoldError(f"sides must be two numbers from 1 to {MOST_SIDES:g}, the smaller first, got {sides}")
        if fill is not None and not 0 <= fill <= 255:
            raise TwofoldError(f"fill must lie in 0..255, got {fill}")
        self.probability = check_probability("probability", probability)
        self.sides, self.fill = sides, fill

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> ZoomOutParams:
        """Return the place of each sample in its result."""
        full_height, full_width = self.image_size
        key = {name: derive_key(seed, epoch, "zoom-out", name) for name in ("chosen", "sides", "top", "left")}
        factor = draw_uniform(key["sides"], indices, *self.sides)
        factor = factor.where(
            draw_uniform(key["chosen"], indices, 0.0, 1.0) < self.probability, torch.ones_like(factor)
        )
        height = (full_height / factor).round().long().clamp_(min=1)
        width = (full_width / factor).round().long().clamp_(min=1)
        top = draw_below(key["top"], indices, full_height - height + 1)
        left = draw_below(key["left"], indices, full_width - width + 1)
        return ZoomOutParams(*(values.to(indices.device) for values in (top, left, height, width)))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: ZoomOutParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, shrunk into their places.

        Raises:
            TwofoldError: the images are not of the size that the parameters were drawn for.
        """
        height, width = images.shape[2:]
        if (height, width) != self.image_size:
            raise TwofoldError(f"images must be {self.image_size} (height, width) px, got {(height, width)}")
        result = torch.empty_like(images, memory_format=torch.contiguous_format)
        if self.fill is None:
            # In whole numbers, so that every device rounds to the same: half of the pixels is added.
            means = (sums_of_levels(images) + height * width // 2) // (height * width)
            result[:] = means[:, :, None, None].to(torch.uint8)
        else:
            result.fill_(self.fill)
        if has_kernel(images, height):
            resize_by_kernel(images, [(0, 0, height, width)] * len(images), corners_and_sides(params), result)
            return result
        none = torch.zeros_like(params.top)
        axes = ((height, params.top, params.height), (width, params.left, params.width))
        rows, cols = (
            crop_matrices(none, none + side, side, side, place=(start, length)) for side, start, length in axes
        )
        shrunk = resize_by_matrices(images, rows, cols)
        down, across = (
            (torch.arange(side, device=start.device) >= start[:, None])
            & (torch.arange(side, device=start.device) < (start + length)[:, None])
            for side, start, length in axes
        )
        return shrunk.where(down[:, None, :, None] & across[:, None, None, :], result)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: ZoomOutParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes, shrunk and shifted with their images."""
        height, width = self.image_size
        start = torch.stack([params.left, params.top] * 2, dim=1)[:, None]
        new = torch.stack([params.width, params.height] * 2, dim=1)[:, None]
        old = torch.tensor([width, height] * 2, dtype=boxes.dtype, device=boxes.device)
        return clip_boxes(boxes, image_size) * (new / old) + start

    def describe(self, params: ZoomOutParams) -> list[list[str]]:
        """Return how many times as wide the canvas is and where the image lies; nothing where it stayed."""
        full = self.image_size[1]
        return [
            [] if width == full else [f"zoomed out ×{full / width:.1f} to {left}, {top}"]
            for top, left, _, width in corners_and_sides(params)
        ]
