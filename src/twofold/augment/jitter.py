"""Random changes of colour: `ColourJitter`, four changes in random order, and `Grey`.

Howard, "Some improvements on deep convolutional neural network based image classification", 2013. What each change
computes is in `colour`. There are four ways to apply them, which give the same pixels:

- Small images: in each position of the order, those with the same change go together, so that there are few calls.
- Grey images on a CPU: by a table of what each of 256 values becomes.
- Large images on a CPU: each goes through all its changes alone, so that it stays in the cache.
- `ColourJitter.compiled`: torch.compile turns each change, a dozen passes over memory and more, into one.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from twofold.augment import colour
from twofold.augment.operation import Augmentation, check_channels, check_probability, draw_uniform, in_groups
from twofold.errors import TwofoldError
from twofold.keyed import bits, derive_key, uniform

PROPERTIES = ("brightness", "contrast", "saturation", "hue")
# The factors that leave an image as it is.
NO_CHANGE = (1.0, 1.0, 1.0, 0.0)
# Grey images of so many pixels are changed by tables.
_TABLES_FROM = 80 * 80
_CHANGES = (colour.change_brightness, colour.change_contrast, colour.change_saturation, colour.change_hue)


@dataclass(frozen=True)
class ColourJitterParams:
    """For each image the order of the changes, as indices into `PROPERTIES`, and the factors."""

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
        hue: rotations are uniform in -a..a, shares of the colour circle, at most ½.

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
        """Return the same jitter with each change run through torch.compile: the same pixels, four times as fast.

        The first batch takes 10 s longer, and a C++ compiler is needed (measured on two CPU cores).
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
        # The order that sorts four random values: each of the 24 is equally likely.
        drawn = torch.stack([bits(derive_key(seed, epoch, "jitter-order", name), indices) for name in PROPERTIES], 1)
        return ColourJitterParams(drawn.argsort(dim=1), *factors)

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
            return _apply_compiled(images, orders, factors)
        on_cpu = images.device.type == "cpu"
        if on_cpu and images.shape[1] == 1 and images[:1].numel() >= _TABLES_FROM and active:
            return colour.change_grey_by_tables(images, orders, factors)
        if on_cpu and 2 * images[:1].numel() > colour.CPU_CHUNK:
            return _apply_one_by_one(images, orders, factors)
        for position in range(len(active)):

            def change(which: int, chosen: Tensor | slice, part: Tensor) -> Tensor:
                return colour.apply_in_chunks(_CHANGES[which], part, factors[which][chosen])

            images = in_groups(images, [order[position] for order in orders], change)
        return images

    def describe(self, params: ColourJitterParams) -> list[list[str]]:
        """Return the changes of each sample, in their order."""
        factors = [getattr(params, name).tolist() for name in PROPERTIES]
        phrases = []
        for sample, order in enumerate(params.order.tolist()):
            changes = [(PROPERTIES[which], factors[which][sample]) for which in order if self.amounts[which] > 0.0]
            phrases.append([f"hue {360 * x:+.0f}°" if name == "hue" else f"{name} ×{x:.2f}" for name, x in changes])
        return phrases


def _apply_one_by_one(images: Tensor, orders: list[list[int]], factors: list[Tensor]) -> Tensor:
    result = torch.empty_like(images)
    for i, order in enumerate(orders):
        x = images[i : i + 1].float()
        for which in order:
            x = _CHANGES[which](x, factors[which][i : i + 1])
        result[i : i + 1] = colour.to_bytes(x)
    return result


def _apply_compiled(images: Tensor, orders: list[list[int]], factors: list[Tensor]) -> Tensor:
    """Apply the changes position by position, all images with the same change in one call of its compiled kernel.

    A kernel gathers the images that it needs from the last position's buffer and writes them next to each other into
    the other one. `rows` holds where each image is, so only the end puts them back in order.
    """
    batch = len(images)
    source, rows = images, list(range(batch))
    # One more row, since a kernel gets two images at least: torch.compile would make a special one for a batch of one.
    buffers = [images.new_empty((batch + 1, *images.shape[1:])) for _ in range(2)]
    for position in range(len(orders[0])):
        target = buffers[position % 2]
        start = 0
        for which in range(len(PROPERTIES)):
            samples = [i for i, order in enumerate(orders) if order[position] == which]
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
    """Return the change at an index of `PROPERTIES`, compiled: of the images `chosen`, into `out`."""

    def kernel(images: Tensor, chosen: Tensor, factors: Tensor, out: Tensor) -> None:
        x = images.index_select(0, chosen).float()
        if _CHANGES[which] is colour.change_hue:
            out.copy_(colour.levels_of_hue(x, factors))
        else:
            out.copy_(colour.to_bytes(_CHANGES[which](x, factors)))

    # torch.compile recompiles one code object at most eight times, so each change gets its own.
    kernel.__code__ = kernel.__code__.replace(co_name=f"{kernel.__name__}_{PROPERTIES[which]}")
    return torch.compile(kernel, dynamic=True)


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
        """Return the images, in grey where that was drawn."""
        check_channels(images)
        if images.shape[1] == 1:
            return images
        return in_groups(images, params.applied.tolist(), lambda kind, _, part: colour.to_grey(part) if kind else part)

    def describe(self, params: GreyParams) -> list[list[str]]:
        """Return "grey" where it was done."""
        return [["grey"] if applied else [] for applied in params.applied.tolist()]
