"""MixUp and CutMix: two images in one, with a target that gives the share of each class.

- MixUp: the weighted mean of two images (Zhang et al., "mixup: beyond empirical risk minimization", 2018).
- CutMix: a rectangle of one in the other (Yun et al., "CutMix: regularization strategy to train strong classifiers
  with localizable features", 2019).

The share λ of the first image comes from a Beta(α, α) distribution: near 0 or 1 for small α, uniform for α = 1. Each
sample draws its own share, keyed as everything else. Its partner is the sample before it in the batch, so unlike other
augmentations these depend on the batch; batches are a function of seed and epoch, so a run is still repeatable.

`mix_labels` gives the targets, which `torch.nn.functional.cross_entropy` takes as probabilities of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from twofold.augment.erase import EraseParams, rectangles
from twofold.augment.operation import LARGE_IMAGE, check_size, draw_below, per_image
from twofold.errors import TwofoldError, check_known
from twofold.keyed import derive_key, uniform

_TRIES = 64
_SMALLEST_ALPHA = 0.1


@dataclass(frozen=True)
class MixUpParams:
    """The share of each image in its result; the rest is its partner's."""

    share: Float32[Tensor, " batch"]


@dataclass(frozen=True)
class CutMixParams:
    """The rectangle that each image takes from its partner, clipped to the image, and the share that stays its own."""

    box: EraseParams
    share: Float32[Tensor, " batch"]


class MixUp:
    """Mix each image of a batch with the one before it.

    Args:
        alpha: of the Beta distribution, 0.1..1.

    Raises:
        TwofoldError: an alpha outside its range.
    """

    def __init__(self, *, alpha: float = 0.2) -> None:
        self.alpha = _check_alpha(alpha)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> MixUpParams:
        """Return each sample's share of itself."""
        share = draw_beta(seed, epoch, "mixup", indices, self.alpha)
        return MixUpParams(share.float().to(indices.device))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: MixUpParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return λ x + (1 - λ) partner, rounded."""
        own = images.float()
        share = per_image(params.share)
        return own.roll(1, 0).mul_(1 - share).add_(own * share).round_().to(torch.uint8)


class CutMix:
    """Put a rectangle of the image before it into each image of a batch.

    The rectangle has the image's proportions and 1 - λ of its area. Its middle lies anywhere; it is clipped to the
    image, and the share in the target is that of the clipped one.

    Args:
        image_size: (height, width) of the images that will come.
        alpha: of the Beta distribution, 0.1..1.

    Raises:
        TwofoldError: an alpha outside its range.
    """

    def __init__(self, image_size: tuple[int, int], *, alpha: float = 1.0) -> None:
        self.image_size = check_size("image_size", image_size)
        self.alpha = _check_alpha(alpha)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> CutMixParams:
        """Return each sample's rectangle, and the share of the image that is left."""
        height, width = self.image_size
        half_side = 0.5 * (1 - draw_beta(seed, epoch, "cutmix", indices, self.alpha)).sqrt()
        edges = []
        for name, length in (("row", height), ("column", width)):
            middle = draw_below(derive_key(seed, epoch, "cutmix", name), indices, torch.full((len(indices),), length))
            half = (half_side * length).long()
            edges += [(middle - half).clamp(min=0), (middle + half).clamp(max=length)]
        top, bottom, left, right = edges
        share = 1 - (bottom - top) * (right - left) / (height * width)
        box = (values.to(indices.device) for values in (top, left, bottom - top, right - left))
        return CutMixParams(EraseParams(*box), share.float().to(indices.device))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: CutMixParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, each with its rectangle taken from the one before it."""
        if images.device.type == "cpu" and images[:1].numel() >= LARGE_IMAGE:
            return _paste(images, params.box)
        return torch.where(rectangles(params.box, images), images.roll(1, 0), images)


def _paste(images: Tensor, box: EraseParams) -> Tensor:
    """Copy whole rectangles, which for large images is many times faster than `torch.where` on each pixel."""
    result = images.clone()
    new, old = result.numpy(), images.numpy()
    edges = zip(*(getattr(box, name).tolist() for name in ("top", "left", "height", "width")), strict=True)
    for index, (top, left, height, width) in enumerate(edges):
        rows, columns = slice(top, top + height), slice(left, left + width)
        new[index, :, rows, columns] = old[index - 1, :, rows, columns]
    return result


def create_mix(name: str, alpha: float | None, image_size: tuple[int, int]) -> MixUp | CutMix | None:
    """Return the operation "mixup" or "cutmix", with its default alpha where None is given; None for "none".

    Raises:
        TwofoldError: another name, or an alpha outside its range.
    """
    check_known("mix", name, ("none", "mixup", "cutmix"))
    given = {} if alpha is None else {"alpha": alpha}
    if name == "mixup":
        return MixUp(**given)
    return CutMix(image_size, **given) if name == "cutmix" else None


def mix_labels(
    labels: Int64[Tensor, " batch"], num_classes: int, params: MixUpParams | CutMixParams
) -> Float32[Tensor, "batch num_classes"]:
    """Return for each sample the share of each class in it: λ for its own, 1 - λ for its partner's.

    Raises:
        TwofoldError: `num_classes` is below 1.
    """
    if num_classes < 1:
        raise TwofoldError(f"num_classes must be 1 or more, got {num_classes}")
    return mix_shares(torch.nn.functional.one_hot(labels, num_classes).float(), params)


def mix_shares(
    own: Float32[Tensor, "batch num_classes"], params: MixUpParams | CutMixParams
) -> Float32[Tensor, "batch num_classes"]:
    """Return λ times the targets of each sample and 1 - λ times its partner's."""
    share = params.share[:, None]
    return own * share + own.roll(1, 0) * (1 - share)


def draw_beta(
    seed: int, epoch: int, purpose: str, indices: Int64[Tensor, " batch"], alpha: float
) -> Float64[Tensor, " batch"]:
    """Return for each sample a value from Beta(α, α), on the CPU.

    Jöhnk's algorithm, 1964: with u and v uniform, x = u^(1/α) and y = v^(1/α); where x + y <= 1, x / (x + y) has that
    distribution, else both are drawn again. For α = 1 half of the tries succeed, for smaller ones more.
    """
    samples = indices.cpu()
    result = torch.full((len(samples),), 0.5, dtype=torch.float64)
    found = torch.zeros(len(samples), dtype=torch.bool)
    for attempt in range(_TRIES):
        # Half a step is added, so that it is never 0.
        x, y = (
            (uniform(derive_key(seed, epoch, purpose, axis, attempt), samples).double() + 2.0**-25) ** (1 / alpha)
            for axis in ("x", "y")
        )
        fits = (x + y <= 1) & ~found
        result = torch.where(fits, x / (x + y), result)
        found |= fits
        if bool(found.all()):
            break
    return result


def _check_alpha(alpha: float) -> float:
    if not _SMALLEST_ALPHA <= alpha <= 1.0:
        raise TwofoldError(f"alpha must lie in {_SMALLEST_ALPHA}..1, got {alpha}")
    return alpha
