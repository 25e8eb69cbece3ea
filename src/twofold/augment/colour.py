"""Brightness, contrast, saturation, hue and grey of whole batches, each image with a factor of its own.

`twofold.scratch.augment` explains what each of them means. The arithmetic here is in place, on float32 planes that
hold integers from 0 to 255; after each change they are truncated to integers again, as torchvision does.

Hue takes most of the time. The usual code finds for each pixel which of six sectors of the colour circle it lies in,
and divides by its chroma. This one needs neither. Let M and m be the largest and the smallest of red, green and blue,
and C = M - m, so that a sector is C levels long.

1. *The position on the circle.* From red over green to cyan, three sectors, first green rises from m to M, then red
   falls, then blue rises. So their sum with signs, less its value at red, is how far the pixel has come:

       t = G + B - R + M - 2m

   On the other half, from red over blue to cyan (B > G), it is the negative of that.
2. *The rotation* adds a constant to t, which then lies in -6C..6C.
3. *Back to colours.* As a function of t, a channel is a zigzag clipped to m..M, and a zigzag is two absolute values:

       red    ||t| - 3C| + m - C        green    M + C - ||t + C| - 3C|        blue    M + C - ||t - C| - 3C|
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from twofold.augment.operation import check_channels, per_image, sums_of_levels

# ITU-R BT.601, 1982, with torchvision's digits; in ten-thousandths, so that sums are exact in float32.
_RED, _GREEN, _BLUE = 2989, 5870, 1140
# From a share of 0..1 to a level, as torchvision does it: 256 equal parts, and 1 itself belongs to the last.
_TO_LEVELS = 255.999 / 255
# On a CPU, so many values are changed at a time: they stay in the cache of a core.
CPU_CHUNK = 160_000


def adjust_brightness(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x: 0 gives black, 1 the image, 2 twice as much light. Factors are 0 or more."""
    return apply_in_chunks(change_brightness, images, factors)


def adjust_contrast(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x + (1 - f) μ, μ the mean of the image in grey. Factors are 0 or more."""
    return apply_in_chunks(change_contrast, images, factors)


def adjust_saturation(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x + (1 - f) grey(x); images of one channel stay unchanged. Factors are 0 or more."""
    return apply_in_chunks(change_saturation, images, factors)


def adjust_hue(
    images: UInt8[Tensor, "batch channels height width"], turns: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with all hues rotated by a share of the circle, -½..½; images of one channel stay unchanged."""
    return apply_in_chunks(change_hue, images, turns)


def to_grey(
    images: UInt8[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images in grey, 0.2989 R + 0.587 G + 0.114 B, in as many equal channels as they have."""
    grey = to_bytes(_grey(check_channels(images).float()))
    return grey.expand_as(images).contiguous()


def apply_in_chunks(change: Callable[[Tensor, Tensor], Tensor], images: Tensor, factors: Tensor) -> Tensor:
    """Return uint8 images after one of the changes below, on a CPU as many at a time as fit into its cache.

    Raises:
        TwofoldError: the images have neither 1 nor 3 channels.
    """
    check_channels(images)
    batch = max(1, len(images))
    at_once = max(1, CPU_CHUNK // max(1, images[:1].numel())) if images.device.type == "cpu" else batch
    result = torch.empty_like(images)
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        result[part] = to_bytes(change(images[part].float(), factors[part].float()))
    return result


def to_bytes(x: Tensor) -> Tensor:
    """Return values in [0, 256) as uint8, truncated."""
    # By way of int16 it takes a third of the time on a CPU; in compiled code, it would take far longer.
    return x.to(torch.uint8) if torch.compiler.is_compiling() else x.to(torch.int16).to(torch.uint8)


# Each change takes float32 images that hold integers, modifies them in place, and returns them.


def change_brightness(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply by the factors."""
    return x.mul_(_broadcast(factors)).clamp_(max=255).floor_()


def change_contrast(x: Tensor, factors: Tensor) -> Tensor:
    """Blend with the mean of the image in grey."""
    pixels = x.shape[2] * x.shape[3]
    sums = _grey(x).sum(dim=(1, 2, 3), keepdim=True, dtype=_dtype_of_sums(x.device, pixels))
    return _blend(x, sums.div_(pixels).float(), factors)


def _dtype_of_sums(device: torch.device, pixels: int) -> torch.dtype:
    # Sums of integers up to 2**24 are exact in float32, so the mean does not depend on the order of the additions.
    return torch.float32 if 255 * pixels <= 1 << 24 or device.type == "mps" else torch.float64


def change_grey_by_tables(
    images: UInt8[Tensor, "batch 1 height width"], orders: Sequence[Sequence[int]], factors: Sequence[Tensor]
) -> UInt8[Tensor, "batch 1 height width"]:
    """Return grey images on the CPU after changes of brightness and contrast, by a table of 256 values for each image.

    What becomes of a grey pixel depends on its value alone, and on the mean of its image. The results are those of
    `change_brightness` and `change_contrast`, in less time from 80 px on.

    Args:
        images: on the CPU.
        orders: for each image what is changed, in this order: 0 for brightness, 1 for contrast; equally many for each.
        factors: of the brightness and of the contrast, for each image.
    """
    batch, pixels = len(images), images.shape[2] * images.shape[3]
    tables = torch.arange(256, dtype=torch.float32).repeat(batch, 1, 1, 1)
    for position in range(len(orders[0])):
        at = [[i for i in range(batch) if orders[i][position] == which] for which in (0, 1)]
        if at[0]:
            tables[at[0]] = change_brightness(tables[at[0]], factors[0][at[0]])
        if at[1]:
            changed = images[at[1]] if position == 0 else _through_tables(images[at[1]], tables[at[1]])
            sums = sums_of_levels(changed)[:, 0].to(_dtype_of_sums(images.device, pixels))
            tables[at[1]] = _blend(tables[at[1]], per_image(sums.div_(pixels).float()), factors[1][at[1]])
    return _through_tables(images, tables)


def _through_tables(images: Tensor, tables: Tensor) -> Tensor:
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    each = zip(result.view(len(images), -1).numpy(), images.numpy(), to_bytes(tables).flatten(1).numpy(), strict=True)
    for changed, image, table in each:
        # Of all ways to look bytes up, numpy's and torch's own among them, this is by far the fastest.
        changed[:] = np.frombuffer(image.tobytes().translate(table.tobytes()), dtype=np.uint8)
    return result


def change_saturation(x: Tensor, factors: Tensor) -> Tensor:
    """Blend with the image in grey."""
    return x if x.shape[1] == 1 else _blend(x, _grey(x), factors)


def change_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hues by a share of the circle."""
    if x.shape[1] == 1:
        return x
    for channel, plane in enumerate(rotated_hue(x, turns)):
        torch.mul(plane, _TO_LEVELS, out=x[:, channel : channel + 1])
    return x.floor_()


def rotated_hue(x: Tensor, turns: Tensor) -> Iterator[Tensor]:
    """Yield red, green and blue after the rotation (see the module); `x` is not read after the first of them."""
    red, green, blue = x.split(1, dim=1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - smallest
    t = (green + blue).sub_(red).add_(largest).sub_(smallest, alpha=2).copysign_(green - blue)
    t = t.add_(chroma * (_broadcast(turns) * 6))
    yield torch.clamp(t.abs().sub_(chroma, alpha=3).abs_().add_(smallest - chroma), smallest, largest)
    above = largest + chroma
    for sign in (1, -1):
        distance = torch.add(t, chroma, alpha=sign).abs_().sub_(chroma, alpha=3).abs_()
        yield torch.clamp(torch.sub(above, distance, out=distance), smallest, largest)


def levels_of_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Return `change_hue` of colour images as uint8, for compiled code, which converts single planes faster."""
    return torch.cat([to_bytes(plane * _TO_LEVELS) for plane in rotated_hue(x, turns)], dim=1)


def _blend(x: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    factor = _broadcast(factors)
    # Both products first, then the sum: fused multiply-adds, which only some of torch's loops use, round differently.
    rest = other * (1 - factor)
    return x.mul_(factor).add_(rest).clamp_(0, 255).floor_()


def _broadcast(factors: Tensor) -> Tensor | float:
    """Return factors that broadcast over images; on a CPU, a single one becomes a Python float, which is faster."""
    single = not torch.compiler.is_compiling() and len(factors) == 1 and factors.device.type == "cpu"
    return factors.item() if single else per_image(factors)


def _grey(x: Tensor) -> Tensor:
    """Return the images in grey, in one channel of integers as float32."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, dim=1)
    sums = (red * _RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE)
    # Truncated with half a ten-thousandth to spare: a grey of exactly 17 must not become 16 by a rounding error.
    return sums.add_(0.5).mul_(1e-4).floor_()
