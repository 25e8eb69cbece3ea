"""Gaussian blur of whole batches, each image with a width of its own.

A Gaussian in two dimensions is the product of one along rows and one along columns, so two passes with k weights
replace one with k². The kernel has the same size for all images and other weights for each. A pass adds up k shifted
copies of the batch, each times its weight. At the edges the image is padded with its mirror image.

Chen et al., "A simple framework for contrastive learning of visual representations", 2020, found it to be one of the
augmentations that matter in contrastive learning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from twofold.augment.operation import Augmentation, check_range, draw_uniform
from twofold.errors import TwofoldError
from twofold.keyed import derive_key


@dataclass(frozen=True)
class BlurParams:
    """How wide the Gaussian of each image is."""

    sigma: Float32[Tensor, " batch"]


class GaussianBlur(Augmentation):
    """Blur each image; to leave some sharp, put it in a `Sometimes`.

    Args:
        kernel_size: of the Gaussian, in pixels; odd. Beyond six times the largest sigma the weights are close to 0.
        sigma: the Gaussian's width is uniform between these; see `gaussian_blur` for its unit.

    Raises:
        TwofoldError: an even or negative kernel size, or a sigma of 0 or less.
    """

    def __init__(self, kernel_size: int, *, sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        check_range("sigma", sigma, above=0.0)
        self.kernel_size = _check_kernel_size(kernel_size)
        self.sigma = sigma

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> BlurParams:
        """Return the width of each sample's Gaussian."""
        sigma = draw_uniform(derive_key(seed, epoch, "blur-sigma"), indices, *self.sigma)
        return BlurParams(sigma.float().to(indices.device))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: BlurParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, blurred."""
        return gaussian_blur(images, params.sigma, kernel_size=self.kernel_size)

    def describe(self, params: BlurParams) -> list[list[str]]:
        """Return the width of each sample's Gaussian."""
        return [[f"blur σ {sigma:.1f}"] for sigma in params.sigma.tolist()]


def gaussian_blur(
    images: UInt8[Tensor, "batch channels height width"], sigma: Float[Tensor, " batch"], *, kernel_size: int
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images, each blurred with its own sigma.

    The weight at x pixels from the middle is proportional to exp(-(x/σ)² / 2).

    Raises:
        TwofoldError: an even or negative kernel size, or one whose half is not smaller than the image.
    """
    half = _check_kernel_size(kernel_size) // 2
    if half >= min(images.shape[2:]):
        raise TwofoldError(
            f"kernel_size {kernel_size} needs images of {half + 1} px and more, got {tuple(images.shape[2:])}"
        )
    offsets = torch.arange(-half, half + 1, device=images.device)
    weights = (-0.5 * (offsets / sigma.float()[:, None]) ** 2).softmax(dim=1).view(-1, kernel_size, 1, 1, 1)
    x = functional.pad(images.float(), [half] * 4, mode="reflect")
    for dim in (2, 3):
        length = images.shape[dim]
        total = x.narrow(dim, 0, length) * weights[:, 0]
        for shift in range(1, kernel_size):
            total.addcmul_(x.narrow(dim, shift, length), weights[:, shift])
        x = total
    return x.round_().to(torch.uint8)


def _check_kernel_size(kernel_size: int) -> int:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise TwofoldError(f"kernel_size must be odd and 1 or more, got {kernel_size}")
    return kernel_size
