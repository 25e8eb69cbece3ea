"""RandAugment and TrivialAugment: a few changes out of a long list, drawn for each image.

Both take the same fourteen changes. RandAugment applies some of them, all of one strength, which is the knob (Cubuk et
al., "RandAugment: practical automated data augmentation with a reduced search space", 2020). TrivialAugment has no
knob: one change, of a random strength (Müller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art data
augmentation", 2021, with its wide ranges). Ranges and steps are torchvision's.

The images of a batch that drew the same change are changed together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from twofold.augment import colour, levels
from twofold.augment.affine import INTERPOLATIONS, AffineParams, inverse_matrices, warp, warp_boxes
from twofold.augment.operation import Augmentation, check_size, in_groups
from twofold.errors import TwofoldError, check_known
from twofold.keyed import bits, derive_key, integers

NUM_STRENGTHS = 31
# RandAugment's largest shift, as a share of the side: 150 px of the 331 in its paper.
_RAND_SHIFT = 150 / 331


@dataclass(frozen=True)
class Change:
    """One of the fourteen changes.

    Attributes:
        name: see `apply_change`.
        weakest: its amount at strength 0.
        strongest: its amount at strength 30.
        signed: whether the amount's sign is drawn.
        whole: whether the amount is rounded.
    """

    name: str
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False
    whole: bool = False

    def amount(self, strength: Tensor) -> Tensor:
        """Return the amount at strengths 0..30."""
        amount = self.weakest + (self.strongest - self.weakest) * strength.double() / (NUM_STRENGTHS - 1)
        return amount.round() if self.whole else amount


def _changes(
    *, shear: float, shift: tuple[float, float], degrees: float, factor: float, posterize: int
) -> tuple[Change, ...]:
    """Return the fourteen changes with these ranges; a shift in pixels along the height and the width."""
    return (
        Change("identity"),
        Change("shear-x", 0.0, shear, signed=True),
        Change("shear-y", 0.0, shear, signed=True),
        Change("shift-x", 0.0, shift[1], signed=True),
        Change("shift-y", 0.0, shift[0], signed=True),
        Change("rotate", 0.0, degrees, signed=True),
        Change("brightness", 0.0, factor, signed=True),
        Change("saturation", 0.0, factor, signed=True),
        Change("contrast", 0.0, factor, signed=True),
        Change("sharpness", 0.0, factor, signed=True),
        Change("posterize", 8, posterize, whole=True),
        Change("solarize", 255.0, 0.0),
        Change("autocontrast"),
        Change("equalize"),
    )


@dataclass(frozen=True)
class AutoParams:
    """For each image the indices of its changes, in order, and their amounts."""

    changes: Int64[Tensor, "batch num_changes"]
    amounts: Float32[Tensor, "batch num_changes"]


class _Auto(Augmentation):
    """What both have in common."""

    def __init__(
        self, changes: tuple[Change, ...], *, num_changes: int, strength: int | None, interpolation: str
    ) -> None:
        self.changes = changes
        self.num_changes = num_changes
        self.strength = strength
        self.interpolation = check_known("interpolation", interpolation, INTERPOLATIONS)

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> AutoParams:
        """Return the changes of each sample and their amounts."""
        samples = indices.cpu()
        drawn, amounts = [], []
        for position in range(self.num_changes):
            which = integers(derive_key(seed, epoch, "change", position), samples, 0, len(self.changes))
            if self.strength is None:
                strength = integers(derive_key(seed, epoch, "strength", position), samples, 0, NUM_STRENGTHS)
            else:
                strength = torch.full_like(samples, self.strength)
            negative = bits(derive_key(seed, epoch, "sign", position), samples) < 0
            # The amounts of all changes, (changes, batch), of which each sample takes that of its own change.
            table = torch.stack(
                [torch.where(negative & change.signed, -1.0, 1.0) * change.amount(strength) for change in self.changes]
            )
            drawn.append(which)
            amounts.append(table.gather(0, which[None])[0].float())
        empty = torch.zeros(len(samples), 0)
        changes = torch.stack(drawn, dim=1) if drawn else empty.long()
        values = torch.stack(amounts, dim=1) if amounts else empty
        return AutoParams(changes.to(indices.device), values.to(indices.device))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: AutoParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the images after their changes."""
        for position, drawn in enumerate(params.changes.T.tolist()):

            def change(which: int, chosen: Tensor | slice, part: Tensor, position: int = position) -> Tensor:
                name = self.changes[which].name
                if name == "identity":
                    return part
                return apply_change(name, part, params.amounts[chosen, position], interpolation=self.interpolation)

            images = in_groups(images, drawn, change)
        return images

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: AutoParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes after those changes that move pixels."""
        for position in range(self.num_changes):
            for which, change in enumerate(self.changes):
                if not change.name.startswith(("rotate", "shear", "shift")):
                    continue
                matrices = _matrices(change.name, image_size, params.amounts[:, position])
                chosen = (params.changes[:, position] == which).view(-1, 1, 1)
                boxes = torch.where(chosen, warp_boxes(boxes, matrices, image_size), boxes)
        return boxes

    def describe(self, params: AutoParams) -> list[list[str]]:
        """Return the changes of each sample with their amounts."""
        each = zip(params.changes.tolist(), params.amounts.tolist(), strict=True)
        return [
            [_describe_change(self.changes[which].name, amount) for which, amount in zip(changes, amounts, strict=True)]
            for changes, amounts in each
        ]


class RandAugment(_Auto):
    """Apply `num_changes` random changes to each image, all of one strength.

    Args:
        image_size: (height, width) of the images that will come.
        num_changes: how many; the same may come twice.
        strength: 0..30.
        interpolation: of rotated and sheared images, "nearest" or "bilinear".

    Raises:
        TwofoldError: a negative `num_changes`, or a strength outside 0..30.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        num_changes: int = 2,
        strength: int = 9,
        interpolation: str = "nearest",
    ) -> None:
        height, width = check_size("image_size", image_size)
        if num_changes < 0:
            raise TwofoldError(f"num_changes must be 0 or more, got {num_changes}")
        if not 0 <= strength < NUM_STRENGTHS:
            raise TwofoldError(f"strength must lie in 0..{NUM_STRENGTHS - 1}, got {strength}")
        shift = (_RAND_SHIFT * height, _RAND_SHIFT * width)
        changes = _changes(shear=0.3, shift=shift, degrees=30.0, factor=0.9, posterize=4)
        super().__init__(changes, num_changes=num_changes, strength=strength, interpolation=interpolation)


class TrivialAugment(_Auto):
    """Apply one random change of random strength to each image.

    Args:
        image_size: (height, width) of the images that will come.
        max_shift: the largest shift in pixels; left out, the paper's 32, or a seventh of the shorter side if that is
            less, so that small images are not shifted out of sight.
        interpolation: of rotated and sheared images, "nearest" or "bilinear".

    Raises:
        TwofoldError: a negative shift.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        max_shift: float | None = None,
        interpolation: str = "nearest",
    ) -> None:
        height, width = check_size("image_size", image_size)
        most = min(32.0, min(height, width) / 7) if max_shift is None else max_shift
        if not 0.0 <= most < math.inf:
            raise TwofoldError(f"max_shift must be 0 px or more, got {max_shift}")
        changes = _changes(shear=0.99, shift=(most, most), degrees=135.0, factor=0.99, posterize=2)
        super().__init__(changes, num_changes=1, strength=None, interpolation=interpolation)


_Apply = Callable[[Tensor, Tensor], Tensor]
_BY_FACTOR: dict[str, _Apply] = {
    "brightness": colour.adjust_brightness,
    "saturation": colour.adjust_saturation,
    "contrast": colour.adjust_contrast,
    "sharpness": levels.adjust_sharpness,
}


def apply_change(
    name: str,
    images: UInt8[Tensor, "batch channels height width"],
    amounts: Float32[Tensor, " batch"],
    *,
    interpolation: str = "nearest",
) -> UInt8[Tensor, "batch channels height width"]:
    """Return the images after the change `name`, each with its own amount.

    | change | its amount |
    | --- | --- |
    | identity, autocontrast, equalize | none |
    | shear-x, shear-y | the tangent of the angle |
    | shift-x, shift-y | pixels to the right or down, truncated to whole ones |
    | rotate | degrees, anticlockwise |
    | brightness, saturation, contrast, sharpness | what is added to the factor 1 |
    | posterize | the number of bits that stay |
    | solarize | the threshold |
    """
    if name in _BY_FACTOR:
        return _BY_FACTOR[name](images, 1 + amounts)
    if name == "posterize":
        return levels.posterize(images, amounts.long())
    if name == "solarize":
        return levels.solarize(images, amounts)
    if name in ("autocontrast", "equalize"):
        return levels.autocontrast(images) if name == "autocontrast" else levels.equalize(images)
    size = (images.shape[2], images.shape[3])
    return warp(images, _matrices(name, size, amounts), interpolation=interpolation)


def _matrices(name: str, image_size: tuple[int, int], amounts: Tensor) -> Tensor:
    """Return the `inverse_matrices` of a shear, shift or rotation."""
    height, width = image_size
    zero, one = torch.zeros_like(amounts), torch.ones_like(amounts)
    settings = {"angle": zero, "shift_x": zero, "shift_y": zero, "scale": one, "shear_x": zero, "shear_y": zero}
    # The fixed point of a shear is the upper left corner, that of a rotation the middle.
    centre = (-width / 2, -height / 2) if name.startswith("shear") else (0.0, 0.0)
    if name == "rotate":
        settings["angle"] = -amounts
    elif name.startswith("shear"):
        settings[name.replace("-", "_")] = amounts.double().atan().rad2deg().float()
    else:
        settings[name.replace("-", "_")] = amounts.trunc()
    return inverse_matrices(AffineParams(**settings), centre)


def _describe_change(name: str, amount: float) -> str:
    if name == "identity":
        return "unchanged"
    if name in _BY_FACTOR:
        return f"{name} ×{1 + amount:.2f}"
    if name.startswith("shear"):
        return f"{name} {amount:+.2f}"
    if name.startswith("shift"):
        return f"{name} {math.trunc(amount):+d} px"
    detail = {"rotate": f"{-amount:+.0f}°", "posterize": f"{amount:.0f} bits", "solarize": f"from {amount:.0f}"}
    return f"{'rotated' if name == 'rotate' else name} {detail.get(name, '')}".strip()
