"""The named augmentation policies, without torch, so that a recipe can be checked cheaply."""

from __future__ import annotations

POLICIES: dict[str, str] = {
    "none": "the images as they are",
    "flip": "mirrored left to right, half of the time",
    "crop": "shifted by up to a twelfth of the side, black where the picture ends",
    "flip-crop": "both",
    "shift": "shifted by up to a 28th of the side: for small pictures that are centred",
    "flip-shift": "mirrored and shifted",
}
