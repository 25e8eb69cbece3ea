"""From a policy, by its name or spelled out (see `spelling`), to the augmentation that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twofold.augment.affine import Affine
from twofold.augment.auto import RandAugment, TrivialAugment
from twofold.augment.blur import GaussianBlur
from twofold.augment.colour import ColourJitter, Grey
from twofold.augment.erase import Cutout, RandomErasing
from twofold.augment.flip import Flip
from twofold.augment.flip_crop import FlipCrop
from twofold.augment.operation import Augmentation, Compose, Sometimes
from twofold.augment.resized_crop import ResizedCrop
from twofold.augment.spelling import Part, is_spelled_out, parse_policy

# Of the shorter side. A crop (2 px of 28, 8 of 96, 18 of 224) forgives framing and cuts off little of what is shown; a
# shift (1 px, 3, 8) suits pictures that are centred already, and short trainings.
_SHIFT_FRACTIONS = {"crop": 1 / 12, "shift": 1 / 28}

Size = tuple[int, int]


# The operations of a policy that is spelled out; their settings are listed in `spelling`.
OPERATIONS: dict[str, Callable[..., Augmentation]] = {
    "flip": Flip,
    "flip_crop": FlipCrop,
    "resized_crop": ResizedCrop,
    "affine": Affine,
    "colour_jitter": ColourJitter,
    "grey": Grey,
    "gaussian_blur": GaussianBlur,
    "random_erasing": RandomErasing,
    "cutout": Cutout,
    "rand_augment": RandAugment,
    "trivial_augment": TrivialAugment,
}
_WANT_IMAGE_SIZE = {"resized_crop", "affine", "random_erasing", "cutout", "rand_augment", "trivial_augment"}


def create_policy(text: str, image_size: Size) -> Augmentation | None:
    """Return the augmentation that `text` stands for at `image_size` (height, width), or None for "none".

    Args:
        text: a name out of `names.POLICIES`, or operations joined by "+" (see `spelling`).
        image_size: of the images that will come.

    Raises:
        TwofoldError: a name or setting that is not known, or a value outside its range.
    """
    parts = parse_policy(text)
    if not is_spelled_out(text):
        return _named(text, image_size)
    return _compose(parts, image_size)


def _compose(parts: tuple[Part, ...], image_size: Size) -> Compose:
    return Compose([made for part in parts if (made := _create(part, image_size)) is not None])


def _create(part: Part, image_size: Size) -> Augmentation | None:
    if part.name == "sometimes":
        return Sometimes(_compose(part.inner, image_size), **part.settings)
    if part.name not in OPERATIONS:
        return _named(part.name, image_size)
    settings: dict[str, Any] = dict(part.settings)
    if part.name in _WANT_IMAGE_SIZE:
        settings["image_size"] = image_size
    return OPERATIONS[part.name](**settings)


def _named(name: str, image_size: Size) -> Augmentation | None:
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


def _d2l(image_size: Size) -> Compose:
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


_COMPOSED: dict[str, Callable[[Size], Augmentation]] = {"light": _light, "d2l": _d2l, "strong": _strong}
