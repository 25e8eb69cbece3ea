"""Mirror images left to right, upside down, or both, each with a probability of its own.

Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012. `FlipCrop` mirrors and
shifts in one gather; this one is for use beside other augmentations, and for images that have no up and down, such as
those from a microscope or a satellite.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from twofold.augment.operation import LARGE_IMAGE, Augmentation, check_probability, in_groups, mirror_boxes
from twofold.keyed import derive_key, uniform


@dataclass(frozen=True)
class FlipParams:
    """Whether each image is mirrored left to right, and whether it is mirrored upside down."""

    horizontal: Bool[Tensor, " batch"]
    vertical: Bool[Tensor, " batch"]


class Flip(Augmentation):
    """Mirror left to right and upside down, each with a probability.

    Raises:
        TwofoldError: a probability outside 0..1.
    """

    def __init__(self, *, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        self.horizontal = check_probability("horizontal", horizontal)
        self.vertical = check_probability("vertical", vertical)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> FlipParams:
        """Return for each sample which way it is mirrored."""
        return FlipParams(
            horizontal=uniform(derive_key(seed, epoch, "flip"), indices) < self.horizontal,
            vertical=uniform(derive_key(seed, epoch, "flip-vertical"), indices) < self.vertical,
        )

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: FlipParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images, mirrored as drawn."""
        for dim, drawn in ((-1, params.horizontal), (-2, params.vertical)):
            images = _flip_drawn(images, drawn.tolist(), dim)
        return images

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: FlipParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes, mirrored as drawn."""
        for axis, drawn in ((0, params.horizontal), (1, params.vertical)):
            boxes = torch.where(drawn.view(-1, 1, 1), mirror_boxes(boxes, image_size[1 - axis], axis=axis), boxes)
        return boxes

    def describe(self, params: FlipParams) -> list[list[str]]:
        """Return "mirrored" and "upside down" where it was done."""
        names = ((params.horizontal.tolist(), "mirrored"), (params.vertical.tolist(), "upside down"))
        return [[name for done, name in names if done[i]] for i in range(len(params.horizontal))]


def _flip_drawn(images: Tensor, drawn: list[bool], dim: int) -> Tensor:
    """Mirror the images drawn along `dim`. Whole images are copied; `torch.where` on each pixel would be slower."""
    if not any(drawn):
        return images
    if images.device.type == "cpu" and images[:1].numel() >= LARGE_IMAGE:
        each = zip(images.unbind(), drawn, strict=True)
        return torch.stack([image.flip(dim) if flipped else image for image, flipped in each])
    return in_groups(images, drawn, lambda kind, _, part: part.flip(dim) if kind else part)
