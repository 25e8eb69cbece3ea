"""The named augmentation policies, without torch, so that a recipe can be checked cheaply."""

from __future__ import annotations

from twofold.errors import TwofoldError, nearest

POLICIES: dict[str, str] = {
    "none": "the images as they are",
    "flip": "mirrored left to right, half of the time",
    "crop": "shifted by up to a twelfth of the side, black where the picture ends",
    "flip-crop": "both",
}


def check_policy_name(name: str) -> str:
    """Return `name` if it is a known policy.

    Raises:
        TwofoldError: it is not; the message has the nearest names.
    """
    if name not in POLICIES:
        raise TwofoldError(f"unknown augmentation {name!r}: {nearest(name, POLICIES)}")
    return name
