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
| `iou_crop.py` | a random part that overlaps some box enough, resized |
| `zoom_out.py` | shrink, with the image's mean colour around it |
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

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.augment.affine import Affine as Affine
    from twofold.augment.auto import RandAugment as RandAugment, TrivialAugment as TrivialAugment
    from twofold.augment.blur import GaussianBlur as GaussianBlur
    from twofold.augment.erase import Cutout as Cutout, RandomErasing as RandomErasing
    from twofold.augment.flip import Flip as Flip
    from twofold.augment.flip_crop import FlipCrop as FlipCrop
    from twofold.augment.iou_crop import IouCrop as IouCrop
    from twofold.augment.jitter import ColourJitter as ColourJitter, Grey as Grey
    from twofold.augment.mix import CutMix as CutMix, MixUp as MixUp, create_mix as create_mix, mix_labels as mix_labels
    from twofold.augment.names import POLICIES as POLICIES
    from twofold.augment.operation import (
        Augmentation as Augmentation,
        Compose as Compose,
        Sometimes as Sometimes,
        take as take,
    )
    from twofold.augment.policies import (
        check_policy as check_policy,
        create_policy as create_policy,
        spelled_out as spelled_out,
    )
    from twofold.augment.resized_crop import ResizedCrop as ResizedCrop
    from twofold.augment.spelling import is_spelled_out as is_spelled_out, parse_policy as parse_policy
    from twofold.augment.zoom_out import ZoomOut as ZoomOut

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "affine": "Affine",
        "auto": "RandAugment TrivialAugment",
        "blur": "GaussianBlur",
        "erase": "Cutout RandomErasing",
        "flip": "Flip",
        "flip_crop": "FlipCrop",
        "iou_crop": "IouCrop",
        "jitter": "ColourJitter Grey",
        "mix": "CutMix MixUp create_mix mix_labels",
        "names": "POLICIES",
        "operation": "Augmentation Compose Sometimes take",
        "policies": "check_policy create_policy spelled_out",
        "resized_crop": "ResizedCrop",
        "spelling": "is_spelled_out parse_policy",
        "zoom_out": "ZoomOut",
    },
)
