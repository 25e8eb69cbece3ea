"""From a policy, by its name or spelled out (see `spelling`), to the augmentation that carries it out.

A class is imported when it is first made, so that a name can be checked without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from twofold.augment.spelling import Part, is_spelled_out, parse_policy
from twofold.errors import TwofoldError
from twofold.terminal import command

if TYPE_CHECKING:
    from twofold.augment.operation import Augmentation, Compose

# The file and the class of each operation; `spelling.SETTINGS` lists what they take.
OPERATIONS: dict[str, str] = {
    "flip": "flip:Flip",
    "flip_crop": "flip_crop:FlipCrop",
    "resized_crop": "resized_crop:ResizedCrop",
    "iou_crop": "iou_crop:IouCrop",
    "zoom_out": "zoom_out:ZoomOut",
    "affine": "affine:Affine",
    "colour_jitter": "jitter:ColourJitter",
    "grey": "jitter:Grey",
    "gaussian_blur": "blur:GaussianBlur",
    "random_erasing": "erase:RandomErasing",
    "cutout": "erase:Cutout",
    "rand_augment": "auto:RandAugment",
    "trivial_augment": "auto:TrivialAugment",
}
_WANT_IMAGE_SIZE = {
    "resized_crop",
    "iou_crop",
    "zoom_out",
    "affine",
    "random_erasing",
    "cutout",
    "rand_augment",
    "trivial_augment",
}

_COMPOSED = {
    # For photographs with enough images a class, or fine differences between classes.
    "light": "resized_crop(scale=(0.6, 1)) + flip() + colour_jitter(brightness=0.2, contrast=0.2, saturation=0.2, "
    "hue=0.02)",
    # What D2L's chapter on image augmentation shows, in its order.
    "d2l": "flip() + resized_crop(scale=(0.1, 1), ratio=(0.5, 2)) + colour_jitter(brightness=0.5, contrast=0.5, "
    "saturation=0.5, hue=0.5)",
    # For long trainings and large networks: one change of any strength, and now and then something hidden.
    "strong": "resized_crop(scale=(0.25, 1)) + flip() + trivial_augment() + random_erasing(probability=0.1)",
    # For images with boxes and short trainings.
    "ssd-light": "flip() + zoom_out(sides=(1, 1.2)) + iou_crop(scale=(0.85, 1))",
    # For images with boxes: the augmentation of the SSD paper, its colours as torchvision's reference has them.
    "ssd": "flip() + zoom_out() + iou_crop() + colour_jitter(brightness=0.125, contrast=0.5, saturation=0.5, hue=0.05)",
}

# Of the shorter side. A crop (2 px of 28, 8 of 96, 18 of 224) makes framing matter less and loses little at the edges;
# a shift (1 px, 3, 8) suits images that are centred already, and short trainings.
_SHIFT_FRACTIONS = {"crop": 1 / 12, "shift": 1 / 28}

# How many images a policy that is spelled out is tried on, and how many pixels an image needs to have a content.
_NUM_TRIED = 32
_FEWEST_PIXELS = 16

# For checking the settings of operations: none of their ranges depends on the size of the images.
_ANY_SIZE = (32, 32)


def create_policy(text: str, image_size: tuple[int, int]) -> Augmentation | None:
    """Return the augmentation that `text` stands for at `image_size` (height, width), or None for "none".

    Args:
        text: a name out of `names.POLICIES`, or operations joined by "+" (see `spelling`).
        image_size: of the images that will come.

    Raises:
        TwofoldError: a name or setting that is not known, a value outside its range, or operations that leave nothing
            of most images of this size.
    """
    parts = parse_policy(text)
    if not is_spelled_out(text):
        return _create_named(text, image_size)
    policy = _compose(parts, image_size)
    _check_something_is_left(policy, text, image_size)
    return policy


def spelled_out(text: str) -> str:
    """Return a named policy as the operations that it stands for, where it is made of such; any other text as it is.

    >>> spelled_out("ssd-light")
    'flip() + zoom_out(sides=(1, 1.2)) + iou_crop(scale=(0.85, 1))'
    """
    return _COMPOSED.get(text, text)


def check_policy(text: str) -> None:
    """Check a policy before there are images. Torch is imported only for one that is spelled out without mistakes.

    Raises:
        TwofoldError: as `create_policy`.
    """
    parts = parse_policy(text)
    if is_spelled_out(text):
        _compose(parts, _ANY_SIZE)


def _check_something_is_left(policy: Compose, text: str, image_size: tuple[int, int]) -> None:
    """Refuse a policy after which most images are of one colour: a network would learn nothing, and not say why.

    It is tried on noise over a slope: whatever is left of such an image, crops and blurs of it included, shows
    differences.
    """
    import torch

    height, width = image_size
    if height * width < _FEWEST_PIXELS:
        return
    noise = torch.randint(0, 56, (_NUM_TRIED, 3, height, width), generator=torch.Generator().manual_seed(0))
    slope = torch.linspace(0, 200, height)[:, None] / 2 + torch.linspace(0, 200, width) / 2
    images = (noise + slope).to(torch.uint8)
    changed = policy.apply(images, policy.draw(seed=0, epoch=0, indices=torch.arange(_NUM_TRIED))).flatten(2)
    num_lost = int((changed.amax(2) == changed.amin(2)).all(1).sum())
    if num_lost > _NUM_TRIED // 2:
        raise TwofoldError(
            f"augment {text!r} leaves a single colour of {num_lost} in {_NUM_TRIED} images of {height}x{width} px, and "
            "nothing to learn from; make what it hides smaller or rarer, and look with: "
            f"{command('augment', 'IMAGE', '--augment', text)}"
        )


def operation_class(name: str) -> type[Augmentation]:
    """Return the class of the operation `name`, a key of `OPERATIONS`."""
    module, class_name = OPERATIONS[name].split(":")
    return getattr(importlib.import_module(f"twofold.augment.{module}"), class_name)


def _compose(parts: tuple[Part, ...], image_size: tuple[int, int]) -> Compose:
    from twofold.augment.operation import Compose

    return Compose([made for part in parts if (made := _create(part, image_size)) is not None])


def _create(part: Part, image_size: tuple[int, int]) -> Augmentation | None:
    if part.name == "sometimes":
        from twofold.augment.operation import Sometimes

        return Sometimes(_compose(part.inner, image_size), **part.settings)
    if part.name not in OPERATIONS:
        return _create_named(part.name, image_size)
    settings: dict[str, Any] = dict(part.settings)
    if part.name in _WANT_IMAGE_SIZE:
        settings["image_size"] = image_size
    return operation_class(part.name)(**settings)


def _create_named(name: str, image_size: tuple[int, int]) -> Augmentation | None:
    if name == "none":
        return None
    if name in _COMPOSED:
        return create_policy(_COMPOSED[name], image_size)
    # What is left is "flip", "crop", "shift", or two of them joined by a hyphen.
    from twofold.augment.flip_crop import FlipCrop

    names = name.split("-")
    fraction = sum(_SHIFT_FRACTIONS.get(part, 0.0) for part in names)
    padding = max(1, round(min(image_size) * fraction)) if fraction else 0
    return FlipCrop(flip_probability=0.5 if "flip" in names else 0.0, padding=padding)
