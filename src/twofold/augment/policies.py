"""From a policy's name to the augmentation that carries it out."""

from __future__ import annotations

from twofold.augment.flip_crop import FlipCrop
from twofold.augment.names import POLICIES
from twofold.errors import check_known

# 2 px of 28, 8 of 96, 18 of 224: enough to forgive framing, too little to cut off what the picture shows.
_SHIFT_FRACTION = 1 / 12


def create_policy(name: str, image_size: tuple[int, int]) -> FlipCrop | None:
    """Return the augmentation that `name` stands for at `image_size` (height, width), or None for "none"."""
    check_known("augmentation", name, POLICIES)
    if name == "none":
        return None
    padding = max(1, round(min(image_size) * _SHIFT_FRACTION)) if "crop" in name else 0
    return FlipCrop(flip_probability=0.5 if "flip" in name else 0.0, padding=padding)
