"""Rotation, shift, scale and shear of whole batches: every image by a matrix of its own.

An output pixel at (x, y), counted from the image's middle, shows the input at M⁻¹ (x, y, 1), where

    M = T · C · R(angle) · S(scale) · shear_y · shear_x · C⁻¹

T shifts, C moves the origin to the fixed point. That position lies between pixels: "nearest" takes the closest one,
"bilinear" weighs the four around it. What comes from outside is black. The order of the factors is torchvision's, so
that parameters can be exchanged with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from twofold.augment.operation import Augmentation, check_range, check_size, clip_boxes, draw_uniform, wide
from twofold.errors import TwofoldError, check_known
from twofold.keyed import derive_key

INTERPOLATIONS = ("nearest", "bilinear")


@dataclass(frozen=True)
class AffineParams:
    """What is done to each image.

    `angle` and the shears are in degrees, the shifts in pixels, to the right and down. A positive angle rotates
    clockwise.
    """

    angle: Float32[Tensor, " batch"]
    shift_x: Float32[Tensor, " batch"]
    shift_y: Float32[Tensor, " batch"]
    scale: Float32[Tensor, " batch"]
    shear_x: Float32[Tensor, " batch"]
    shear_y: Float32[Tensor, " batch"]


class Affine(Augmentation):
    """Rotate, shift, scale and shear each image at random, around its middle.

    Args:
        image_size: (height, width) of the images that will come.
        degrees: angles are uniform in -degrees..degrees.
        shift: shifts are uniform in -shift..shift of the width and of the height, rounded to whole pixels.
        scale: the factor is uniform between these.
        shear: both shears are uniform in -shear..shear degrees.
        interpolation: "nearest" or "bilinear".

    Raises:
        TwofoldError: a value outside its range, or an unknown interpolation.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        degrees: float = 0.0,
        shift: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
        interpolation: str = "bilinear",
    ) -> None:
        self.image_size = check_size("image_size", image_size)
        if not 0.0 <= degrees <= 180.0:
            raise TwofoldError(f"degrees must lie in 0..180, got {degrees}")
        if not 0.0 <= shift <= 1.0:
            raise TwofoldError(f"shift must lie in 0..1, a share of the image's sides, got {shift}")
        if not 0.0 <= shear < 90.0:
            raise TwofoldError(f"shear must lie in 0..90 degrees, 90 excluded, got {shear}")
        check_range("scale", scale, above=0.0)
        self.degrees, self.shift, self.scale, self.shear = degrees, shift, scale, shear
        self.interpolation = check_known("interpolation", interpolation, INTERPOLATIONS)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> AffineParams:
        """Return how each sample is rotated, shifted, scaled and sheared."""

        def value(name: str, low: float, high: float) -> Tensor:
            return draw_uniform(derive_key(seed, epoch, "affine", name), indices, low, high)

        height, width = self.image_size
        drawn = (
            value("angle", -self.degrees, self.degrees),
            value("shift-x", -self.shift * width, self.shift * width).round(),
            value("shift-y", -self.shift * height, self.shift * height).round(),
            value("scale", *self.scale),
            value("shear-x", -self.shear, self.shear),
            value("shear-y", -self.shear, self.shear),
        )
        return AffineParams(*(values.float().to(indices.device) for values in drawn))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: AffineParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, moved as drawn."""
        return warp(images, inverse_matrices(params), interpolation=self.interpolation)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: AffineParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the upright boxes around the moved ones."""
        return warp_boxes(boxes, inverse_matrices(params), image_size)

    def describe(self, params: AffineParams) -> list[list[str]]:
        """Return what was done to each sample."""
        columns = (params.angle, params.shift_x, params.shift_y, params.scale, params.shear_x, params.shear_y)
        phrases = []
        for angle, right, down, scale, shear_x, shear_y in zip(*(column.tolist() for column in columns), strict=True):
            changes = []
            if self.degrees > 0.0:
                changes.append(f"rotated {angle:+.0f}°")
            if self.shift > 0.0:
                changes.append(f"moved {right:+.0f}, {down:+.0f} px")
            if self.scale != (1.0, 1.0):
                changes.append(f"size ×{scale:.2f}")
            if self.shear > 0.0:
                changes.append(f"sheared {shear_x:+.0f}°, {shear_y:+.0f}°")
            phrases.append(changes)
        return phrases


def inverse_matrices(params: AffineParams, centre: tuple[float, float] = (0.0, 0.0)) -> Float[Tensor, "batch 2 3"]:
    """Return M⁻¹ for each image: from output to input coordinates, both counted from the image's middle.

    `centre` (x, y) is the fixed point, in pixels from the middle.
    """
    radians = math.pi / 180
    angle, shear_x, shear_y = (wide(value) * radians for value in (params.angle, params.shear_x, params.shear_y))
    # The product of rotation and shears, [[a, b], [c, d]]; its determinant is 1, so its inverse is [[d, -b], [-c, a]].
    a = (angle - shear_y).cos() / shear_y.cos()
    b = -(a * shear_x.tan() + angle.sin())
    c = (angle - shear_y).sin() / shear_y.cos()
    d = angle.cos() - c * shear_x.tan()
    inverse = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / wide(params.scale).view(-1, 1, 1)
    middle = torch.tensor(centre, dtype=inverse.dtype, device=inverse.device)
    moved = middle + torch.stack([wide(params.shift_x), wide(params.shift_y)], dim=1)
    offset = middle[:, None] - inverse @ moved[:, :, None]
    return torch.cat([inverse, offset], dim=2)


def warp(
    images: UInt8[Tensor, "batch channels height width"],
    matrices: Float[Tensor, "batch 2 3"],
    *,
    interpolation: str,
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images transformed by `matrices`, which map output to input coordinates; see `inverse_matrices`."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    # grid_sample counts from -1 at the left edge to 1 at the right one.
    halves = torch.tensor([[width / 2], [height / 2]], dtype=matrices.dtype, device=images.device)
    along_x, along_y, offset = (matrices / halves).float()[..., None, None].unbind(2)
    grid = x * along_x + y * along_y + offset
    moved = functional.grid_sample(
        images.float(),
        grid.permute(0, 2, 3, 1),
        mode=interpolation,
        padding_mode="zeros",
        align_corners=False,
    )
    return moved.round_().to(torch.uint8)


def warp_boxes(
    boxes: Float[Tensor, "batch boxes 4"], matrices: Float[Tensor, "batch 2 3"], image_size: tuple[int, int]
) -> Float[Tensor, "batch boxes 4"]:
    """Return the upright boxes around those transformed as `warp` does by `matrices`, clipped to the image."""
    height, width = image_size
    middle = torch.tensor([width / 2, height / 2], dtype=matrices.dtype, device=boxes.device)
    x1, y1, x2, y2 = boxes.to(matrices.dtype).unbind(2)
    corners = torch.stack([x1, y1, x2, y1, x1, y2, x2, y2], dim=2).unflatten(2, (4, 2)) - middle
    # The matrices map output to input coordinates; corners go the other way: output = A⁻¹ (input - offset).
    inverse, offset = matrices[:, None, None, :, :2], matrices[:, None, None, :, 2]
    moved = torch.linalg.solve(inverse, (corners - offset)[..., None])[..., 0] + middle
    low, high = moved.amin(dim=2), moved.amax(dim=2)
    # A box that has left the image is a line along its edge; rotated, it would have an area again.
    empty = (x2 <= x1) | (y2 <= y1)
    high = torch.where(empty[..., None], low, high)
    return clip_boxes(torch.cat([low, high], dim=2), image_size).to(boxes.dtype)
