"""Colour changes of whole batches: brightness, contrast, saturation, hue, grey, and all of them in random order.

`twofold.scratch.augment` tells what each one means. Here every image has a factor of its own, and the arithmetic is
done in place on float32 planes that hold whole numbers from 0 to 255, cut off after each change as torchvision does.
Large images go through all their changes one by one; of small ones, those that have the same change next go together.

Hue is where the time goes. The usual code looks up, a pixel at a time, which sixth of the colour circle it lies in.
Here there is nothing to look up, nor to divide. With M and m the largest and the least of red, green and blue, and
C = M - m, a sixth of the circle is C levels long. Going from red over green to cyan (0 to 3 sixths), green rises, then
red falls, then blue rises, so that the place on the circle is

    t = G + B - R + M - 2m, and on the other half, from red over blue to cyan (B > G), its negative.

Turning adds to t; it then lies in -6C..6C, a channel is a zigzag of t cut off at m and M, and a zigzag is two absolute
values:

    red    ||t| - 3C| + m - C        green    M + C - ||t + C| - 3C|        blue    M + C - ||t - C| - 3C|

`ColourJitter.compiled` does each change in one loop over memory instead of a dozen or more, made by torch.compile out
of the same lines.

Howard, "Some improvements on deep convolutional neural network based image classification", 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from twofold.augment.operation import (
    Augmentation,
    check_channels,
    check_probability,
    draw_uniform,
    in_groups,
    per_image,
)
from twofold.errors import TwofoldError
from twofold.keyed import bits, derive_key, uniform

PROPERTIES = ("brightness", "contrast", "saturation", "hue")
NO_CHANGE = (1.0, 1.0, 1.0, 0.0)
# ITU-R BT.601, 1982, cut short as in torchvision; in ten-thousandths, of which sums are exact in float32.
_RED, _GREEN, _BLUE = 2989, 5870, 1140
# 0..1 is cut into 256 equal parts; 255.999 and not 256, since 1 itself belongs to the last.
_TO_LEVELS = 255.999 / 255
# On a processor, so many numbers at a time: what is in work then stays in the cache of a core.
_CPU_CHUNK = 160_000


def adjust_brightness(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x: 0 gives black, 1 the image, 2 twice as much light. Factors are 0 or more."""
    return _changed(images, factors, _brightness)


def adjust_contrast(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x + (1 - f) μ, μ the mean of the image in grey. Factors are 0 or more."""
    return _changed(images, factors, _contrast)


def adjust_saturation(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x + (1 - f) grey(x); images of one channel stay. Factors are 0 or more."""
    return _changed(images, factors, _saturation)


def adjust_hue(
    images: UInt8[Tensor, "batch channels height width"], turns: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with all hues turned by that part of a circle, -½..½; images of one channel stay."""
    return _changed(images, turns, _hue)


def to_grey(
    images: UInt8[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images in grey, 0.2989 R + 0.587 G + 0.114 B, in as many equal channels as they have."""
    grey = _to_bytes(_grey(check_channels(images).float()))
    return grey.expand_as(images).contiguous()


@dataclass(frozen=True)
class ColourJitterParams:
    """For each image the changes in their order, as places in `PROPERTIES`, and the factors."""

    order: Int64[Tensor, "batch 4"]
    brightness: Float[Tensor, " batch"]
    contrast: Float[Tensor, " batch"]
    saturation: Float[Tensor, " batch"]
    hue: Float[Tensor, " batch"]


class ColourJitter(Augmentation):
    """Change brightness, contrast, saturation and hue of each image by random factors, in random order.

    Args:
        brightness: its factors are uniform in max(0, 1 - a)..1 + a; 0 leaves it as it is.
        contrast: the same for the contrast.
        saturation: the same for the saturation.
        hue: turns are uniform in -a..a, parts of the colour circle, at most ½.

    Raises:
        TwofoldError: a negative amount, or a hue above 0.5.
    """

    def __init__(
        self, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ) -> None:
        self.amounts = (brightness, contrast, saturation, hue)
        for name, amount in zip(PROPERTIES, self.amounts, strict=True):
            if not amount >= 0.0:
                raise TwofoldError(f"{name} must be 0 or more, got {amount}")
        if hue > 0.5:
            raise TwofoldError(f"hue must lie in 0..0.5, parts of the colour circle, got {hue}")
        self._compiled = False

    def compiled(self) -> ColourJitter:
        """Return the same jitter, of which torch.compile makes a kernel for each change: the same pixels, sooner.

        On a processor four times as fast; making the kernels takes 10 s at the first batch and needs a C++ compiler.
        """
        result = copy(self)
        result._compiled = True
        return result

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> ColourJitterParams:
        """Return the factors and the order for each sample."""
        factors = []
        for name, amount, middle in zip(PROPERTIES, self.amounts, NO_CHANGE, strict=True):
            low = middle - amount if name == "hue" else max(0.0, middle - amount)
            key = derive_key(seed, epoch, "jitter", name)
            factors.append(draw_uniform(key, indices, low, middle + amount).float().to(indices.device))
        # The order in which four random numbers would be sorted: each of the 24 is as likely.
        numbers = torch.stack([bits(derive_key(seed, epoch, "jitter-order", name), indices) for name in PROPERTIES], 1)
        return ColourJitterParams(numbers.argsort(dim=1), *factors)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: ColourJitterParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images with their colours changed."""
        check_channels(images)
        # On grey images saturation and hue, the last two, do nothing.
        possible = self.amounts[:2] if images.shape[1] == 1 else self.amounts
        active = [which for which, amount in enumerate(possible) if amount > 0.0]
        orders = [[which for which in order if which in active] for order in params.order.tolist()]
        factors = [getattr(params, name) for name in PROPERTIES]
        if self._compiled and active and orders:
            return _by_kernels(images, orders, factors)
        if images.device.type == "cpu" and 2 * images[:1].numel() > _CPU_CHUNK:
            return _one_by_one(images, orders, factors)
        for place in range(len(active)):

            def change(which: int, chosen: Tensor | slice, part: Tensor) -> Tensor:
                return _changed(part, factors[which][chosen], _CHANGES[which])

            images = in_groups(images, [order[place] for order in orders], change)
        return images

    def describe(self, params: ColourJitterParams) -> list[list[str]]:
        """Return the changes of each sample, in their order."""
        factors = [getattr(params, name).tolist() for name in PROPERTIES]
        phrases = []
        for sample, order in enumerate(params.order.tolist()):
            changes = [which for which in order if self.amounts[which] > 0.0]
            phrases.append([describe_change(PROPERTIES[which], factors[which][sample]) for which in changes])
        return phrases


@dataclass(frozen=True)
class GreyParams:
    """Whether each image loses its colour."""

    applied: Bool[Tensor, " batch"]


class Grey(Augmentation):
    """Take the colour from some images, keeping their channels.

    Raises:
        TwofoldError: a probability outside 0..1.
    """

    def __init__(self, *, probability: float = 0.1) -> None:
        self.probability = check_probability("probability", probability)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> GreyParams:
        """Return for each sample whether it loses its colour."""
        return GreyParams(uniform(derive_key(seed, epoch, "grey"), indices) < self.probability)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: GreyParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, those drawn in grey."""
        check_channels(images)
        if images.shape[1] == 1:
            return images
        return in_groups(images, params.applied.tolist(), lambda kind, _, part: to_grey(part) if kind else part)

    def describe(self, params: GreyParams) -> list[list[str]]:
        """Return "grey" where it was done."""
        return [["grey"] if applied else [] for applied in params.applied.tolist()]


def describe_change(name: str, amount: float) -> str:
    """Return a change of colour in short.

    >>> describe_change("contrast", 1.204), describe_change("hue", 0.1)
    ('contrast ×1.20', 'hue +36°')
    """
    return f"hue {360 * amount:+.0f}°" if name == "hue" else f"{name} ×{amount:.2f}"


def _changed(images: Tensor, factors: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return bytes after one change, some images at a time."""
    check_channels(images)
    result = torch.empty_like(images)
    for part in _chunks(images):
        result[part] = _to_bytes(change(images[part].float(), factors[part].float()))
    return result


def _chunks(images: Tensor) -> list[slice]:
    """Return the parts of a batch to work on, one after the other."""
    whole = len(images)
    numbers = max(1, images[:1].numel())
    size = max(1, _CPU_CHUNK // numbers) if images.device.type == "cpu" else max(1, whole)
    return [slice(start, min(start + size, whole)) for start in range(0, whole, size)]


def _to_bytes(x: Tensor) -> Tensor:
    """Return numbers from 0 to below 256 as bytes, cut off to whole ones."""
    # Operation by operation, the way over 16 bits takes a third of the time on a processor; compiled, far longer.
    return x.to(torch.uint8) if torch.compiler.is_compiling() else x.to(torch.int16).to(torch.uint8)


def _one_by_one(images: Tensor, orders: list[list[int]], factors: list[Tensor]) -> Tensor:
    """Return the images after the changes of each: bytes are read once and written once, however many changes."""
    result = torch.empty_like(images)
    for i, order in enumerate(orders):
        x = images[i : i + 1].float()
        for which in order:
            x = _CHANGES[which](x, factors[which][i : i + 1])
        result[i : i + 1] = _to_bytes(x)
    return result


def _by_kernels(images: Tensor, orders: list[list[int]], factors: list[Tensor]) -> Tensor:
    """Return the images after the changes of each in its order, place by place, those with the same change together.

    A kernel reads the images that it is for from wherever they lie and writes them side by side, so nothing is copied
    until the end.
    """
    batch = len(images)
    source, rows = images, list(range(batch))
    # One more, since a kernel works on two images at least: for one alone torch.compile would make another.
    targets = [images.new_empty((batch + 1, *images.shape[1:])) for _ in range(2)]
    for place in range(len(orders[0])):
        target = targets[place % 2]
        start = 0
        for which in range(len(PROPERTIES)):
            samples = [i for i, order in enumerate(orders) if order[place] == which]
            if not samples:
                continue
            used = samples if len(samples) > 1 else samples * 2
            chosen = torch.tensor([rows[i] for i in used], device=images.device)
            amounts = factors[which][torch.tensor(used, device=images.device)]
            _kernel(which)(source, chosen, amounts, target[start : start + len(used)])
            for i in samples:
                rows[i] = start
                start += 1
        source = target
    return source.index_select(0, torch.tensor(rows, device=images.device))


@cache
def _kernel(which: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], None]:
    """Return the change at a place of `PROPERTIES`, compiled: of the images `chosen`, into `out`."""

    def kernel(images: Tensor, chosen: Tensor, factors: Tensor, out: Tensor) -> None:
        x = images.index_select(0, chosen).float()
        if _CHANGES[which] is _hue:
            # Bytes first, then one image: the other way round would be a loop without vectors.
            out.copy_(torch.cat([_to_bytes(plane * _TO_LEVELS) for plane in _turned(x, factors)], dim=1))
        else:
            out.copy_(_to_bytes(_CHANGES[which](x, factors)))

    # torch.compile makes eight kernels of one code at most: each change has a code of its own.
    kernel.__code__ = kernel.__code__.replace(co_name=f"{kernel.__name__}_{PROPERTIES[which]}")
    return torch.compile(kernel, dynamic=True)


# Each of these changes float32 planes of whole numbers in place, and returns them.


def _brightness(x: Tensor, factors: Tensor) -> Tensor:
    return x.mul_(_spread(factors)).clamp_(max=255).floor_()


def _contrast(x: Tensor, factors: Tensor) -> Tensor:
    pixels = x.shape[2] * x.shape[3]
    # Sums of whole numbers up to 2**24 are exact in float32, so the mean does not depend on how they are added up.
    dtype = torch.float32 if 255 * pixels <= 1 << 24 or x.device.type == "mps" else torch.float64
    mean = _grey(x).sum(dim=(1, 2, 3), keepdim=True, dtype=dtype).div_(pixels).float()
    return _blend(x, mean, factors)


def _saturation(x: Tensor, factors: Tensor) -> Tensor:
    return x if x.shape[1] == 1 else _blend(x, _grey(x), factors)


def _blend(x: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    spread = _spread(factors)
    # Products first, then the sum: fused, the last digit would depend on which of torch's loops does it.
    rest = other * (1 - spread)
    return x.mul_(spread).add_(rest).clamp_(0, 255).floor_()


def _spread(factors: Tensor) -> Tensor | float:
    """Return factors in a shape that broadcasts over images; one alone on a processor as a number, which is faster."""
    alone = not torch.compiler.is_compiling() and len(factors) == 1 and factors.device.type == "cpu"
    return factors.item() if alone else per_image(factors)


def _grey(x: Tensor) -> Tensor:
    """Return the images in grey, in one channel: whole numbers as float32."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, dim=1)
    sums = (red * _RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE)
    # In fractions, a sum that should be whole would fall short or not by which of torch's loops does it.
    return sums.add_(0.5).mul_(1e-4).floor_()


def _hue(x: Tensor, turns: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    for channel, plane in enumerate(_turned(x, turns)):
        torch.mul(plane, _TO_LEVELS, out=x[:, channel : channel + 1])
    return x.floor_()


def _turned(x: Tensor, turns: Tensor) -> Iterator[Tensor]:
    """Yield red, green and blue of colour images after turning; `x` is read before the first of them."""
    red, green, blue = x.split(1, dim=1)
    most = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    colour = most - least
    t = (green + blue).sub_(red).add_(most).sub_(least, alpha=2).copysign_(green - blue)
    t = t.add_(colour * (_spread(turns) * 6))
    yield torch.clamp(t.abs().sub_(colour, alpha=3).abs_().add_(least - colour), least, most)
    above = most + colour
    for sign in (1, -1):
        distance = torch.add(t, colour, alpha=sign).abs_().sub_(colour, alpha=3).abs_()
        yield torch.clamp(torch.sub(above, distance, out=distance), least, most)


_CHANGES = (_brightness, _contrast, _saturation, _hue)
