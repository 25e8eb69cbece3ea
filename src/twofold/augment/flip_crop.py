"""Horizontal flip and shifted crop of a whole batch in one gather.

Each image may be mirrored, and is shifted by up to `padding` pixels in each direction; what moves in from outside is
black. That is padding and then cropping at a random position (Krizhevsky et al., "ImageNet classification with deep
convolutional neural networks", 2012), the standard augmentation for small images. One image at a time, the calls take
many times as long as the copying; here the index of each output pixel's source is computed for the whole batch, and
all are read in a single gather, on uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from twofold.augment.operation import Augmentation, check_probability, clip_boxes, mirror_boxes
from twofold.errors import TwofoldError
from twofold.keyed import bits_of_several, derive_key, to_integers, to_uniform


@dataclass(frozen=True)
class FlipCropParams:
    """Whether each image is mirrored, and the position of its crop in the padded image.

    `top` and `left` lie in 0..2*padding; the value `padding` leaves the image where it is.
    """

    flipped: Bool[Tensor, " batch"]
    top: Int64[Tensor, " batch"]
    left: Int64[Tensor, " batch"]


class FlipCrop(Augmentation):
    """Mirror with a probability and shift by up to `padding` px; see the module.

    Raises:
        TwofoldError: a probability outside 0..1 or a negative padding.
    """

    def __init__(self, *, flip_probability: float = 0.5, padding: int = 0) -> None:
        if padding < 0:
            raise TwofoldError(f"padding must be 0 px or more, got {padding}")
        self.flip_probability = check_probability("flip_probability", flip_probability)
        self.padding = padding

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> FlipCropParams:
        """Return the parameters of the samples `indices` in `epoch`: the same whatever batch they are drawn in."""
        keys = [derive_key(seed, epoch, purpose) for purpose in ("flip", "crop-top", "crop-left")]
        drawn = bits_of_several(keys, indices)
        corner = to_integers(drawn[1:], 0, 2 * self.padding + 1)
        return FlipCropParams(flipped=to_uniform(drawn[0]) < self.flip_probability, top=corner[0], left=corner[1])

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: FlipCropParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, each shifted and then mirrored as its parameters say."""
        batch, channels, height, width = images.shape
        padded = functional.pad(images, [self.padding] * 4) if self.padding else images
        padded_width = padded.shape[-1]

        rows = params.top[:, None] + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device).expand(batch, width)
        columns = torch.where(params.flipped[:, None], width - 1 - columns, columns) + params.left[:, None]

        source = (rows[:, :, None] * padded_width + columns[:, None, :]).view(batch, 1, height * width)
        pixels = padded.flatten(2).gather(2, source.expand(batch, channels, height * width))
        return pixels.view(batch, channels, height, width)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: FlipCropParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes, shifted and then mirrored as their images are."""
        shift = self.padding - torch.stack([params.left, params.top, params.left, params.top], dim=1)
        shifted = clip_boxes(boxes + shift[:, None], image_size)
        return torch.where(params.flipped.view(-1, 1, 1), mirror_boxes(shifted, image_size[1], axis=0), shifted)

    def describe(self, params: FlipCropParams) -> list[list[str]]:
        """Return "mirrored" where it was done, and how far the image moved to the right and down."""
        drawn = (params.flipped, params.top, params.left)
        phrases = []
        for flipped, top, left in zip(*(values.tolist() for values in drawn), strict=True):
            changes = ["mirrored"] if flipped else []
            if self.padding:
                # Mirroring comes after the shift, so it also mirrors the shift to the side.
                right = (left - self.padding) if flipped else (self.padding - left)
                changes.append(f"moved {right:+d}, {self.padding - top:+d} px")
            phrases.append(changes)
        return phrases
