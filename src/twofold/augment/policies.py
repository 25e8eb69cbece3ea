"""From a policy's name to the augmentation that carries it out."""

from __future__ import annotations

from collections.abc import Callable

from twofold.augment.auto import TrivialAugment
from twofold.augment.colour import ColourJitter
from twofold.augment.erase import RandomErasing
from twofold.augment.flip import Flip
from twofold.augment.flip_crop import FlipCrop
from twofold.augment.names import POLICIES
from twofold.augment.operation import Augmentation, Compose
from twofold.augment.resized_crop import ResizedCrop
from twofold.errors import check_known

# Of the shorter side. A crop (2 px of 28, 8 of 96, 18 of 224) forgives framing and cuts off little of what is shown; a
# shift (1 px, 3, 8) suits pictures that are centred already, and short trainings.
_SHIFT_FRACTIONS = {"crop": 1 / 12, "shift": 1 / 28}

Size = tuple[int, int]


def create_policy(name: str, image_size: Size) -> Augmentation | None:
    """Return the augmentation that `name` stands for at `image_size` (height, width), or None for "none"."""
    check_known("augmentation", name, POLICIES)
    if name == "none":
        return None
    if name in _COMPOSED:
        return _COMPOSED[name](image_size)
    parts = name.split("-")
    fraction = sum(_SHIFT_FRACTIONS.get(part, 0.0) for part in parts)
    padding = max(1, round(min(image_size) * fraction)) if fraction else 0
    return FlipCrop(flip_probability=0.5 if "flip" in parts else 0.0, padding=padding)


def _light(image_size: Size) -> Compose:
    """Photographs with enough images a class, or fine differences between classes."""
    return Compose(
        [
            ResizedCrop(image_size, scale=(0.6, 1.0)),
            Flip(),
            ColourJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),
        ]
    )


def _notes(image_size: Size) -> Compose:
    """What chapter 9.1 of the notes shows, its parts in its order."""
    return Compose(
        [
            Flip(),
            ResizedCrop(image_size, scale=(0.1, 1.0), ratio=(0.5, 2.0)),
            ColourJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5),
        ]
    )


def _strong(image_size: Size) -> Compose:
    """Long trainings, large networks: one change of any strength, and now and then something hidden."""
    return Compose(
        [
            ResizedCrop(image_size, scale=(0.25, 1.0)),
            Flip(),
            TrivialAugment(image_size),
            RandomErasing(image_size, probability=0.1),
        ]
    )


_COMPOSED: dict[str, Callable[[Size], Augmentation]] = {"light": _light, "notes": _notes, "strong": _strong}
