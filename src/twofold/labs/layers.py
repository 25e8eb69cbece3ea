"""What the labs of convolution and of pooling share: the image that a layer is given, and one output of it.

Their settings both have `image`, `drawing`, `size` and `colour`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from twofold.labs.images import BLANK, Opened, drawn

Unit = tuple[int, int, int]


def both(value: Any) -> Any:
    """Return a whole number as a pair: a single value counts for rows and columns."""
    return (value, value) if isinstance(value, int) else value


Count = Annotated[int, Field(ge=1, le=8)]
Pair = Annotated[tuple[Count, Count], BeforeValidator(both)]


def given_image(settings: Any, opened: Opened) -> Tensor:
    """Return the image or the drawing that the settings name: (1, 1 or 3, height, width)."""
    if settings.image == "drawing":
        x = drawn(settings.drawing or BLANK)
        return x.expand(-1, 3, -1, -1).contiguous() if settings.colour else x
    return opened.pixels(settings.image, (settings.size, settings.size), colour=settings.colour)


def image_lines(settings: Any, opened: Opened, name: str) -> list[str]:
    """Return the lines of a program that make the same image and call it `name`."""
    if settings.image == "drawing":
        lines = [f"{name} = drawn({settings.drawing or BLANK!r})"]
        return [*lines, f"{name} = {name}.expand(-1, 3, -1, -1)"] if settings.colour else lines
    path = opened.path_of(settings.image) or settings.image
    return [f"{name} = pixels({path!r}, ({settings.size}, {settings.size}), colour={settings.colour})"]


def nearest(unit: Unit | None, y: Tensor) -> Unit | None:
    """Return an output of y (channels, height, width) that is there: the one asked for, or the nearest."""
    if unit is None:
        return None
    channel, row, column = (max(0, min(place, side - 1)) for place, side in zip(unit, y.shape, strict=True))
    return channel, row, column


def one_gradient(y: Tensor, unit: Unit | None) -> Tensor:
    """Return the gradient of y that is 1 at one output, the one in the middle unless said otherwise."""
    grad = torch.zeros_like(y)
    grad[(0, *(unit or (0, y.shape[2] // 2, y.shape[3] // 2)))] = 1
    return grad


def one_gradient_lines(unit: Unit | None) -> list[str]:
    """Return the lines of a program that make the same gradient `grad`."""
    if unit is None:
        return ["grad = torch.zeros_like(y)", "grad[0, 0, y.shape[2] // 2, y.shape[3] // 2] = 1"]
    return [
        f"channel, row, column = (max(0, min(i, side - 1)) for i, side in zip({unit}, y.shape[1:]))",
        "grad = torch.zeros_like(y)",
        "grad[0, channel, row, column] = 1",
    ]


def sizes(shown: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return height and width of the input, and of the output."""
    return tuple(shown["input"].shape[1:]), tuple(shown["output"].shape[1:])
