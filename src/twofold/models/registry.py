"""Every network by name: what it takes, where it comes from, and how to build it.

The table itself holds no torch, so that a recipe can be checked and `twofold --help` can answer without loading it;
`create_model` imports the family's file when a network is really built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twofold.errors import TwofoldError, check_known, nearest

if TYPE_CHECKING:
    from torch import nn

Option = str | int | float | bool

# Up to this many pixels a side, a stem that shrinks the picture fourfold leaves too little to look at.
SMALL_IMAGE_PIXELS = 64


@dataclass(frozen=True)
class ModelEntry:
    """One network: `factory` is "module:function"; `options` gives each option's allowed values."""

    name: str
    factory: str
    source: str
    input_shape: tuple[int, int, int]
    summary: str
    options: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)


_STEM: Mapping[str, tuple[Option, ...]] = {"stem": ("paper", "small")}

_LENET = "LeCun et al., Gradient-based learning applied to document recognition, 1998"
_RESNET = "He et al., Deep residual learning for image recognition, 2016"

MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="lenet",
            factory="twofold.models.lenet:lenet",
            source=_LENET,
            input_shape=(1, 28, 28),
            summary="two convolutions and three dense layers with sigmoids, as in the notes",
        ),
        ModelEntry(
            name="lenet-bn",
            factory="twofold.models.lenet:lenet_bn",
            source=f"{_LENET}; Ioffe and Szegedy, Batch normalization, 2015",
            input_shape=(1, 28, 28),
            summary="LeNet with batch normalisation and ReLU",
        ),
        ModelEntry(
            name="resnet18",
            factory="twofold.models.resnet:resnet18",
            source=_RESNET,
            input_shape=(3, 224, 224),
            summary="eight residual blocks of two 3x3 convolutions",
            options=_STEM,
        ),
        ModelEntry(
            name="resnet34",
            factory="twofold.models.resnet:resnet34",
            source=_RESNET,
            input_shape=(3, 224, 224),
            summary="sixteen residual blocks of two 3x3 convolutions",
            options=_STEM,
        ),
        ModelEntry(
            name="sprint",
            factory="twofold.models.sprint:sprint",
            source="Twofold, for the recipe speedrun",
            input_shape=(1, 28, 28),
            summary="two pooled convolutions, a residual one and a dense head: small pictures in a minute",
        ),
    )
}


def check_model_options(name: str, options: Mapping[str, Option]) -> None:
    """Check that the network takes each option and its value.

    Raises:
        TwofoldError: it does not; the message has what it takes.
    """
    allowed = MODELS[check_known("model", name, MODELS)].options
    for option, value in options.items():
        if option not in allowed:
            takes = nearest(option, allowed) if allowed else "it takes none"
            raise TwofoldError(f"model {name!r} has no option {option!r}: {takes}")
        if value not in allowed[option]:
            choices = ", ".join(repr(choice) for choice in allowed[option])
            raise TwofoldError(f"model {name!r}: {option} must be one of {choices}, got {value!r}")


def resolve_options(name: str, options: Mapping[str, Option], image_size: tuple[int, int]) -> dict[str, Option]:
    """Return the options with the stem chosen by the image size where the user named none.

    Images of at most 64 px get the small stem (3x3, no shrinking), larger ones the paper's.
    """
    resolved = dict(options)
    if "stem" in MODELS[name].options and "stem" not in resolved:
        resolved["stem"] = "small" if max(image_size) <= SMALL_IMAGE_PIXELS else "paper"
    return resolved


def create_model(
    name: str,
    *,
    in_channels: int | None = None,
    num_classes: int = 1000,
    image_size: tuple[int, int] | None = None,
    options: Mapping[str, Option] | None = None,
) -> nn.Module:
    """Build the network `name`, with random weights drawn from torch's global generator.

    Args:
        name: a key of `MODELS`.
        in_channels: channels of the images; the paper's where left out.
        num_classes: number of logits.
        image_size: (height, width) in pixels, for networks whose dense layers depend on it; the paper's where left out.
        options: the network's own options, e.g. `{"stem": "small"}`.

    Raises:
        TwofoldError: unknown name or option, or images too small for the network.
    """
    entry = MODELS[check_known("model", name, MODELS)]
    check_model_options(name, options or {})
    channels, height, width = entry.input_shape
    if num_classes < 1 or (in_channels is not None and in_channels < 1):
        raise TwofoldError(f"a network needs at least one class and one channel, got {num_classes=}, {in_channels=}")
    module, function = entry.factory.split(":")
    factory = getattr(importlib.import_module(module), function)
    return factory(
        in_channels=in_channels or channels,
        num_classes=num_classes,
        image_size=image_size or (height, width),
        **(options or {}),
    )
