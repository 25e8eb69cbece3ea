"""Changes of the levels of each channel, and of sharpness, for RandAugment and TrivialAugment.

Images are whole batches of uint8; where a change has an amount, every image has its own. `equalize` and
`autocontrast`, which have none, are torchvision's, which take whole batches.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from twofold.augment.operation import check_channels, per_image


def posterize(
    images: UInt8[Tensor, "batch channels height width"], bits: Int64[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with only the upper `bits` of each byte, 0..8: fewer levels."""
    masks = torch.full_like(bits, 255).bitwise_left_shift(8 - bits).bitwise_and(255).to(torch.uint8)
    return images & per_image(masks)


def solarize(
    images: UInt8[Tensor, "batch channels height width"], thresholds: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with all levels from their threshold on inverted, x to 255 - x."""
    # For integers, x >= threshold is x >= ceil(threshold); int16, since a threshold of 256 does not fit into uint8.
    levels = thresholds.ceil().clamp(0, 256).to(torch.int16)
    return torch.where(images >= per_image(levels), ~images, images)


def autocontrast(
    images: UInt8[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with each channel stretched to 0..255; a channel of one level stays."""
    from torchvision.transforms.v2 import functional as torchvision

    return torchvision.autocontrast(check_channels(images))


def equalize(
    images: UInt8[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images with levels spread so that each is about equally frequent, channel by channel."""
    from torchvision.transforms.v2 import functional as torchvision

    return torchvision.equalize(check_channels(images))


def adjust_sharpness(
    images: UInt8[Tensor, "batch channels height width"], factors: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Return f x + (1 - f) blurred(x): 0 is smooth, 1 the image, 2 sharper; the outermost pixels stay unchanged.

    `blurred` weighs a pixel by 5/13 and each of its eight neighbours by 1/13. Images of 1 or 2 px stay unchanged.
    """
    channels, height, width = check_channels(images).shape[1:]
    if min(height, width) <= 2:
        return images
    x = images.float()
    kernel = torch.full((channels, 1, 3, 3), 1 / 13, device=images.device)
    kernel[:, :, 1, 1] = 5 / 13
    blurred = functional.conv2d(x, kernel, groups=channels).round_()
    inside = x[:, :, 1:-1, 1:-1]
    inside.add_(blurred.sub_(inside).mul_(per_image(1 - factors.float())))
    return x.clamp_(0, 255).to(torch.uint8)
