"""Random resized crop of a whole batch: a part of each image, of random size, shape and position, resized to one size.

Szegedy et al., "Going deeper with convolutions", 2015. Resizing is bilinear with antialiasing: when shrinking, the
weights reach as far as an output pixel is wide. `twofold.scratch.augment` spells out the weights, as one matrix for
each axis.

Two algorithms give the same pixels, and the faster one is taken:

- On a CPU, images of 32 px and more go one by one through torch's kernel for uint8, which uses vector instructions on
  16-bit integers. It uses one thread only, so large images are distributed over threads here.
- Small images, where a call takes longer than its work, and all images on a GPU, become two products of batched
  matrices: first x A_wᵀ, then A_h x, each rounded to integers. That crops and resizes in one step, since the weights
  outside of the crop are 0.

The weights are integers times a power of 2, the same as in the kernel, so that sums of their products with pixels are
exact: both algorithms agree, and an image does not depend on its batch. On a GPU, sums are in float32, which holds 16
bits of a weight beside the 8 of a pixel: where an image is shrunk many times, a few values in ten thousand differ by
one level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from twofold.augment.operation import (
    Augmentation,
    check_range,
    check_size,
    clip_boxes,
    draw_below,
    wide,
)
from twofold.errors import TwofoldError
from twofold.keyed import bits_of_several, derive_key, to_uniform

_TRIES = 10
# Images with a shorter side are resized by matrices. The kernel also fails where a colour image becomes one pixel wide
# (torch 2.15).
_KERNEL_FROM = 32
# Results with fewer pixels are made by one thread: several would mostly wait for the interpreter's lock.
_THREADS_FROM = 200 * 200
# The most bits of a weight's fraction: those of the kernel, and those with which sums in float32 are nearly exact.
_BITS, _FLOAT32_BITS = 22, 16


@dataclass(frozen=True)
class ResizedCropParams:
    """The part of each image that is kept, in pixels."""

    top: Int64[Tensor, " batch"]
    left: Int64[Tensor, " batch"]
    height: Int64[Tensor, " batch"]
    width: Int64[Tensor, " batch"]


class ResizedCrop(Augmentation):
    """Keep a random part of each image and resize it to `size`.

    Args:
        image_size: (height, width) of the images that will come.
        size: (height, width) of the results; `image_size` if left out.
        scale: the part's area, as a share of the image's, is uniform between these.
        ratio: its width / height lies between these, uniform in its logarithm, so that 1 : 2 is as likely as 2 : 1.

    Raises:
        TwofoldError: a size below 1 px, a scale outside 0..1, a ratio of 0 or less, or either in the wrong order.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        size: tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        check_range("scale", scale, above=0.0, most=1.0)
        check_range("ratio", ratio, above=0.0)
        self.image_size = check_size("image_size", image_size)
        self.size = check_size("size", image_size if size is None else size)
        self.scale = scale
        self.ratio = ratio

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> ResizedCropParams:
        """Return the part of each sample that is kept.

        A part that is too wide or too high for the image is drawn again; after 10 tries, the largest part in the
        image's middle whose ratio is allowed is taken.
        """
        image_height, image_width = self.image_size
        samples = indices.cpu()
        # All tries in one call, (tries, batch): for few samples, most of the time goes into calls.
        area = self._drawn("crop-area", seed, epoch, samples, *self.scale) * (image_height * image_width)
        ratio = self._drawn("crop-ratio", seed, epoch, samples, *(math.log(side) for side in self.ratio)).exp()
        widths, heights = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        fits = (widths > 0) & (widths <= image_width) & (heights > 0) & (heights <= image_height)
        found = fits.any(dim=0)
        first = fits.long().argmax(dim=0, keepdim=True)
        allowed = min(max(image_width / image_height, self.ratio[0]), self.ratio[1])
        height = heights.gather(0, first)[0].where(found, max(1, min(image_height, round(image_width / allowed))))
        width = widths.gather(0, first)[0].where(found, max(1, min(image_width, round(image_height * allowed))))
        # The part taken after 10 tries stays in the middle; the others may lie anywhere.
        random_top = draw_below(derive_key(seed, epoch, "crop-top"), samples, image_height - height + 1)
        random_left = draw_below(derive_key(seed, epoch, "crop-left"), samples, image_width - width + 1)
        top = torch.where(found, random_top, (image_height - height) // 2)
        left = torch.where(found, random_left, (image_width - width) // 2)
        return ResizedCropParams(*(values.to(indices.device) for values in (top, left, height, width)))

    def _drawn(self, purpose: str, seed: int, epoch: int, samples: Tensor, low: float, high: float) -> Tensor:
        keys = [derive_key(seed, epoch, purpose, attempt) for attempt in range(_TRIES)]
        return low + (high - low) * to_uniform(bits_of_several(keys, samples)).double()

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: ResizedCropParams
    ) -> UInt8[Tensor, "batch channels out_h out_w"]:
        """Return the part of each image, at `size`.

        Raises:
            TwofoldError: the images are not of the size that the parameters were drawn for.
        """
        if tuple(images.shape[2:]) != self.image_size:
            raise TwofoldError(f"images must be {self.image_size} (height, width) px, got {tuple(images.shape[2:])}")
        return resized_crop(images, params, self.size)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: ResizedCropParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes, clipped to the part that is kept and resized with it."""
        height, width = self.size
        start = torch.stack([params.left, params.top] * 2, dim=1)[:, None]
        new = torch.tensor([width, height] * 2, dtype=boxes.dtype, device=boxes.device)
        old = torch.stack([params.width, params.height] * 2, dim=1)[:, None]
        return clip_boxes((boxes - start) * (new / old), self.size)

    def out_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return `size`."""
        return self.size

    def describe(self, params: ResizedCropParams) -> list[list[str]]:
        """Return the part's width and height, and its left and top edge."""
        each = zip(*(getattr(params, name).tolist() for name in ("width", "height", "left", "top")), strict=True)
        return [[f"crop {width}×{height} at {left}, {top}"] for width, height, left, top in each]


def resized_crop(
    images: UInt8[Tensor, "batch channels height width"], params: ResizedCropParams, size: tuple[int, int]
) -> UInt8[Tensor, "batch channels out_h out_w"]:
    """Return a part of each image at `size` (height, width); the parts must lie inside the images."""
    if has_kernel(images, min(size)):
        result = images.new_empty((*images.shape[:2], *size))
        resize_by_kernel(images, corners_and_sides(params), [(0, 0, *size)] * len(images), result)
        return result
    rows = crop_matrices(params.top, params.height, images.shape[2], size[0])
    cols = crop_matrices(params.left, params.width, images.shape[3], size[1])
    return resize_by_matrices(images, rows, cols)


def has_kernel(images: Tensor, out_side: int) -> bool:
    """Return whether these images, whose shorter side becomes `out_side`, are resized by torch's kernel."""
    return images.device.type == "cpu" and images.shape[1] <= 4 and min(out_side, *images.shape[2:]) >= _KERNEL_FROM


Matrices = tuple[Tensor, Tensor]
"""The weights of input pixels in output pixels along an axis, (batch, out_size, size), and their unit (batch, 1, 1)."""


def crop_matrices(
    start: Int64[Tensor, " batch"],
    length: Int64[Tensor, " batch"],
    size: int,
    out_size: int,
    place: tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]] | None = None,
) -> tuple[Float[Tensor, "batch out_size size"], Float[Tensor, "batch 1 1"]]:
    """Return for each image the weights of its `size` input pixels in each of `out_size` output pixels, and their unit.

    Divided by the unit, they are `scratch.augment.resize_matrix` for the `length` pixels from `start`, rounded, and 0
    outside. The unit is the power of 2 that the kernel takes: the largest for which all weights fit into 16 bits.

    Args:
        start: the first input pixel of each image that is taken.
        length: how many are taken.
        size: of the images.
        out_size: of the results.
        place: the first output pixel that they become, and how many; all of them, if left out.
    """
    out_start, out_length = (torch.zeros_like(start), torch.full_like(start, out_size)) if place is None else place
    scale = (wide(length) / wide(out_length))[:, None, None]
    out = torch.arange(out_size, device=start.device) - out_start[:, None]
    new = (out + 0.5).to(scale.dtype)[:, :, None] * scale
    old = torch.arange(size, device=start.device)
    inside = (old >= start[:, None]) & (old < (start + length)[:, None])
    middles = (old - start[:, None]).to(scale.dtype)[:, None] + 0.5
    weights = (1 - (middles - new).abs() / scale.clamp(min=1)).clamp_(min=0) * inside[:, None]
    weights = weights / weights.sum(dim=2, keepdim=True)
    if place is not None:
        placed = (out >= 0) & (out < out_length[:, None])
        weights = weights.where(placed[:, :, None], torch.zeros_like(weights))
    on_cpu = start.device.type == "cpu"
    steps = torch.arange(1, (_BITS if on_cpu else _FLOAT32_BITS) + 1, device=start.device)
    fits = (weights.amax(dim=(1, 2))[:, None] * 2.0**steps + 0.5).floor() < 2**15
    unit = 2.0 ** fits.sum(dim=1).to(scale.dtype)[:, None, None]
    dtype = scale.dtype if on_cpu else torch.float32
    return (weights * unit).round().to(dtype), unit.to(dtype)


def resize_by_matrices(
    images: UInt8[Tensor, "batch channels height width"], rows: Matrices, cols: Matrices
) -> UInt8[Tensor, "batch channels out_h out_w"]:
    """Return the images, resized along x and then along y by these weights."""
    batch, channels, height, width = images.shape
    x = images.to(rows[0].dtype).reshape(batch, channels * height, width)
    x = _round_to_levels(x.bmm(cols[0].mT), cols[1]).view(batch, channels, height, cols[0].shape[1])
    return _round_to_levels(rows[0][:, None] @ x, rows[1][:, None]).to(torch.uint8)


def _round_to_levels(sums: Tensor, unit: Tensor) -> Tensor:
    """Divide sums of pixels times weights by the unit, in place, and round them to integers from 0 to 255."""
    return sums.add_(unit / 2).div_(unit).floor_().clamp_(max=255)


Rectangle = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


def corners_and_sides(params: Any) -> list[Rectangle]:
    """Return the rectangle of each image from parameters with `top`, `left`, `height` and `width`."""
    return list(zip(*(getattr(params, name).tolist() for name in ("top", "left", "height", "width")), strict=True))


def resize_by_kernel(
    images: UInt8[Tensor, "batch channels height width"],
    parts: Sequence[Rectangle],
    places: Sequence[Rectangle],
    result: UInt8[Tensor, "batch channels out_h out_w"],
) -> None:
    """Write a part of each image, resized, to its place in `result`; one image after the other, large ones in threads.

    Args:
        images: on the CPU.
        parts: which part of each image is taken.
        places: where in its result it is written.
        result: what is written to; pixels outside the places stay as they are.
    """
    channels = images.shape[1]
    is_large = result.shape[2] * result.shape[3] >= _THREADS_FROM
    threads = max(1, min(torch.get_num_threads(), len(parts))) if is_large else 1
    # Copied by numpy: each of these threads would start torch's own threads.
    rows, planes = result.numpy(), images.numpy()

    # One task for each thread: a task for each image would add a quarter to the time.
    def resize_share(first: int) -> None:
        for index in range(first, len(parts), threads):
            (top, left, height, width), (to_top, to_left, *size) = parts[index], places[index]
            source = planes[index, :, top : top + height, left : left + width]
            place = rows[index, :, to_top : to_top + size[0], to_left : to_left + size[1]]
            if (height, width) == tuple(size):
                place[...] = source
                continue
            # The kernel needs channels-last; copying plane by plane is the fastest way there.
            part = np.empty((1, height, width, channels), dtype=np.uint8)
            for channel in range(channels):
                part[0, :, :, channel] = source[channel]
            crop = torch.from_numpy(part).permute(0, 3, 1, 2)
            place[...] = functional.interpolate(crop, size=size, mode="bilinear", antialias=True)[0].numpy()

    if threads == 1:
        resize_share(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(resize_share, range(threads)))
