"""From a policy's name to the augmentation that carries it out."""

from __future__ import annotations

from twofold.augment.flip_crop import FlipCrop
from twofold.augment.names import POLICIES
from twofold.errors import check_known

# Of the shorter side. A crop (2 px of 28, 8 of 96, 18 of 224) forgives framing and cuts off little of what is shown; a
# shift (1 px, 3, 8) suits pictures that are centred already, and short trainings.
_SHIFT_FRACTIONS = {"crop": 1 / 12, "shift": 1 / 28}


def create_policy(name: str, image_size: tuple[int, int]) -> FlipCrop | None:
    """Return the augmentation that `name` stands for at `image_size` (height, width), or None for "none"."""
    check_known("augmentation", name, POLICIES)
    if name == "none":
        return None
    parts = name.split("-")
    fraction = sum(_SHIFT_FRACTIONS.get(part, 0.0) for part in parts)
    padding = max(1, round(min(image_size) * fraction)) if fraction else 0
    return FlipCrop(flip_probability=0.5 if "flip" in parts else 0.0, padding=padding)
