"""Augmentation of whole batches on any device: draw the parameters of each image, then apply them.

    from twofold.augment import create_policy

    policy = create_policy("flip() + resized_crop(scale=(0.5, 1))", (96, 96))     # or by name: "light"
    params = policy.draw(seed=0, epoch=3, indices=indices)       # of the samples in the data set
    images = policy.apply(images, params)                        # uint8 (batch, channels, height, width), as given
    policy.describe(params)                                      # for each image, in short phrases

Drawing and applying are separate, so that parameters can be shown, kept and tested, and boxes can be moved along. A
draw is a pure function of (seed, epoch, sample index): see `twofold.keyed`. The readable form of the changes is
`twofold.scratch.augment`.

| file | what |
| --- | --- |
| `operation.py` | what all augmentations have: draw, apply, move boxes, describe; `Compose`, `Sometimes` |
| `flip.py` | mirror left to right or upside down |
| `flip_crop.py` | mirror and shift in one gather |
| `resized_crop.py` | a random part, resized |
| `affine.py` | rotation, shift, scale, shear |
| `colour.py` | brightness, contrast, saturation, hue, grey: what each computes |
| `jitter.py` | random changes of colour, and grey |
| `blur.py` | Gaussian blur |
| `erase.py` | random erasing and cutout |
| `levels.py` | posterize, solarize, equalize, autocontrast, sharpness |
| `auto.py` | RandAugment and TrivialAugment |
| `mix.py` | MixUp and CutMix, with their targets |
| `names.py` | the named policies; imports no torch |
| `spelling.py` | policies spelled out, parsed and never executed; imports no torch |
| `policies.py` | from a policy to the augmentation; imports torch only to make one |

Names are imported when first used, so that recipes and the command line can check a policy without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.augment.affine import Affine
    from twofold.augment.auto import RandAugment, TrivialAugment
    from twofold.augment.blur import GaussianBlur
    from twofold.augment.erase import Cutout, RandomErasing
    from twofold.augment.flip import Flip
    from twofold.augment.flip_crop import FlipCrop
    from twofold.augment.jitter import ColourJitter, Grey
    from twofold.augment.mix import CutMix, MixUp, create_mix, mix_labels
    from twofold.augment.names import POLICIES
    from twofold.augment.operation import Augmentation, Compose, Sometimes, take
    from twofold.augment.policies import check_policy, create_policy
    from twofold.augment.resized_crop import ResizedCrop
    from twofold.augment.spelling import is_spelled_out, parse_policy

__all__ = [
    "POLICIES",
    "Affine",
    "Augmentation",
    "ColourJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "Flip",
    "FlipCrop",
    "GaussianBlur",
    "Grey",
    "MixUp",
    "RandAugment",
    "RandomErasing",
    "ResizedCrop",
    "Sometimes",
    "TrivialAugment",
    "check_policy",
    "create_mix",
    "create_policy",
    "is_spelled_out",
    "mix_labels",
    "parse_policy",
    "take",
]

_NAMES = {
    "affine": "Affine",
    "auto": "RandAugment TrivialAugment",
    "blur": "GaussianBlur",
    "erase": "Cutout RandomErasing",
    "flip": "Flip",
    "flip_crop": "FlipCrop",
    "jitter": "ColourJitter Grey",
    "mix": "CutMix MixUp create_mix mix_labels",
    "names": "POLICIES",
    "operation": "Augmentation Compose Sometimes take",
    "policies": "check_policy create_policy",
    "resized_crop": "ResizedCrop",
    "spelling": "is_spelled_out parse_policy",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'twofold.augment' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"twofold.augment.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
