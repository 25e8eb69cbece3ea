"""The named augmentation policies, without torch, so that a recipe can be checked cheaply."""

from __future__ import annotations

POLICIES: dict[str, str] = {
    "none": "the images as they are",
    "flip": "mirrored left to right, half of the time",
    "crop": "shifted by up to a twelfth of the side, black where the image ends",
    "flip-crop": "mirrored, and shifted by up to a twelfth of the side",
    "shift": "shifted by up to a 28th of the side: for small images that are centred",
    "flip-shift": "mirrored, and shifted by up to a 28th of the side",
    "light": "mirrored, a part of 60 to 100 % of the area, colours a little changed",
    "d2l": "mirrored, a part of 10 to 100 % of the area and of any shape, colours much changed",
    "ssd-light": "for boxes: mirrored, zoomed out up to 1.2 times, a part of 85 to 100 % of each side",
    "ssd": "for boxes: mirrored, zoomed out up to 4 times, a part that overlaps some box enough, colours changed",
    "strong": "mirrored, a part of 25 to 100 %, one change out of fourteen (TrivialAugment), a rectangle erased",
}
