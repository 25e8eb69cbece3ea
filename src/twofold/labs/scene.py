"""An image that comes with the labs of boxes and of augmentation: three garments whose boxes are known."""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from twofold.labs.images import pixels

SIDE = 128
"""Its height and width in pixels."""
CLASSES = ("pullover", "boot", "bag")
TRUTH = ((16.0, 34.0, 71.0, 106.0), (38.0, 59.0, 102.0, 93.0), (79.0, 13.0, 118.0, 39.0))
"""The boxes of the garments: left, top, right, bottom, in pixels."""

# Left, top and side of each garment in pixels, and its colour: shares of red, green and blue.
_PLACES = ((6, 34, 72), (38, 42, 64), (78, 6, 40))
_TINTS = ((0.85, 0.35, 0.3), (1.0, 0.7, 0.4), (0.25, 0.55, 0.9))
_GROUND = (0.98, 1.0, 0.9)
_GREY = (0.75, 0.75, 0.75)


def ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box of settings: left, top, right, bottom.

    Raises:
        ValueError: it has no area, or its corners are swapped.
    """
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"a box is left, top, right, bottom, with left < right and top < bottom; got {list(box)}")
    return box


@functools.cache
def scene(*, colour: bool = False) -> UInt8[Tensor, "channels height width"]:
    """Return the scene, with three channels or with one."""
    ground = np.linspace(205, 165, SIDE)[:, None, None] + np.linspace(0, 25, SIDE)[:, None]
    picture = ground * np.array(_GROUND if colour else (1.0,))
    for name, (left, top, side), tint in zip(CLASSES, _PLACES, _TINTS, strict=True):
        garment = 255 * pixels(name)[0, 0].numpy()
        garment = np.asarray(Image.fromarray(garment).resize((side, side), Image.Resampling.BICUBIC))[:, :, None]
        part = picture[top : top + side, left : left + side]
        # The photographs are on black: what is dark is seen through.
        solid = np.clip((garment - 25) / 40, 0, 1)
        part[:] = part * (1 - solid) + garment * solid * np.array(tint if colour else _GREY[:1])
    return torch.from_numpy(picture.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
