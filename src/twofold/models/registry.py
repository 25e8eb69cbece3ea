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
    from twofold.models.network import Network

Option = str | int | float | bool

# Up to this many pixels a side, a stem that shrinks the picture fourfold leaves too little to look at.
SMALL_IMAGE_PIXELS = 64


@dataclass(frozen=True)
class Between:
    """An option that takes any number from `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


Choices = tuple[Option, ...] | Between


@dataclass(frozen=True)
class ModelEntry:
    """One network.

    Attributes:
        name: what it is called on the command line.
        factory: "module:class" that it is built of.
        source: the paper.
        input_shape: (channels, height, width) of the paper's images.
        summary: what it is, in a few words.
        options: what each option may be.
        settings: what the class is told for this network and no other, such as its depth.
    """

    name: str
    factory: str
    source: str
    input_shape: tuple[int, int, int]
    summary: str
    options: Mapping[str, Choices] = field(default_factory=dict)
    settings: Mapping[str, Option] = field(default_factory=dict)


_WIDTH: Mapping[str, Choices] = {"width": Between(0.03125, 8.0)}
_STEM_WIDTH: Mapping[str, Choices] = {"stem": ("paper", "small"), **_WIDTH}
_PHOTOGRAPH = (3, 224, 224)

_LENET = "LeCun et al., Gradient-based learning applied to document recognition, 1998"
_ALEXNET = "Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012"
_VGG = "Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015"
_NIN = "Lin, Chen and Yan, Network in network, 2014"
_GOOGLENET = "Szegedy et al., Going deeper with convolutions, 2015"
_BATCH_NORM = "Ioffe and Szegedy, Batch normalization, 2015"
_RESNET = "He et al., Deep residual learning for image recognition, 2016"
_DENSENET = "Huang et al., Densely connected convolutional networks, 2017"


def _vgg(depth: int, *, batch_norm: bool) -> ModelEntry:
    return ModelEntry(
        name=f"vgg{depth}-bn" if batch_norm else f"vgg{depth}",
        factory="twofold.models.vgg:VGG",
        source=f"{_VGG}; {_BATCH_NORM}" if batch_norm else _VGG,
        input_shape=_PHOTOGRAPH,
        summary=f"five blocks of 3x3 convolutions, {depth} layers" + (", batch normalisation" if batch_norm else ""),
        options=_STEM_WIDTH,
        settings={"depth": depth, "batch_norm": batch_norm},
    )


def _resnet(depth: int, summary: str) -> ModelEntry:
    return ModelEntry(
        name=f"resnet{depth}",
        factory="twofold.models.resnet:ResNet",
        source=_RESNET,
        input_shape=_PHOTOGRAPH,
        summary=summary,
        options=_STEM_WIDTH,
        settings={"depth": depth},
    )


def _densenet(depth: int, layers: str = "layer") -> ModelEntry:
    return ModelEntry(
        name=f"densenet{depth}",
        factory="twofold.models.densenet:DenseNet",
        source=_DENSENET,
        input_shape=_PHOTOGRAPH,
        summary=f"four blocks in which every {layers} sees all before it, {depth} layers",
        options=_STEM_WIDTH,
        settings={"depth": depth},
    )


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="lenet",
            factory="twofold.models.lenet:LeNet",
            source=_LENET,
            input_shape=(1, 28, 28),
            summary="two convolutions and three dense layers with sigmoids, as in the notes",
            options=_WIDTH,
        ),
        ModelEntry(
            name="lenet-bn",
            factory="twofold.models.lenet:LeNet",
            source=f"{_LENET}; {_BATCH_NORM}",
            input_shape=(1, 28, 28),
            summary="LeNet with batch normalisation and ReLU",
            options=_WIDTH,
            settings={"activation": "relu", "batch_norm": True},
        ),
        ModelEntry(
            name="alexnet",
            factory="twofold.models.alexnet:AlexNet",
            source=_ALEXNET,
            input_shape=_PHOTOGRAPH,
            summary="five convolutions and three dense layers with ReLU and dropout",
            options=_STEM_WIDTH,
        ),
        *(_vgg(depth, batch_norm=batch_norm) for depth in (11, 13, 16, 19) for batch_norm in (False, True)),
        ModelEntry(
            name="nin",
            factory="twofold.models.nin:NiN",
            source=_NIN,
            input_shape=_PHOTOGRAPH,
            summary="convolutions followed by 1x1 convolutions, and no dense layer",
            options=_STEM_WIDTH,
        ),
        ModelEntry(
            name="googlenet",
            factory="twofold.models.googlenet:GoogLeNet",
            source=f"{_GOOGLENET}; {_BATCH_NORM}",
            input_shape=_PHOTOGRAPH,
            summary="nine blocks of four branches side by side",
            options={**_STEM_WIDTH, "auxiliary": (False, True)},
        ),
        _resnet(18, "eight residual blocks of two 3x3 convolutions"),
        _resnet(34, "sixteen residual blocks of two 3x3 convolutions"),
        _resnet(50, "sixteen residual blocks of 1x1, 3x3 and 1x1 convolutions"),
        _resnet(101, "thirty-three residual blocks of 1x1, 3x3 and 1x1 convolutions"),
        _resnet(152, "fifty residual blocks of 1x1, 3x3 and 1x1 convolutions"),
        _densenet(21, "plain 3x3 layer"),
        *(_densenet(depth) for depth in (121, 161, 169, 201)),
        ModelEntry(
            name="sprint",
            factory="twofold.models.sprint:Sprint",
            source="Twofold, for the recipe speedrun",
            input_shape=(1, 28, 28),
            summary="two pooled convolutions, a residual one and a dense head: small pictures in a minute",
            options=_WIDTH,
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
        choices = allowed[option]
        if isinstance(choices, Between):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and choices.low <= value <= choices.high):  # type: ignore[operator]
                raise TwofoldError(f"model {name!r}: {option} must be a number from {choices}, got {value!r}")
        elif not any(value == choice and type(value) is type(choice) for choice in choices):
            names = ", ".join(repr(choice) for choice in choices)
            raise TwofoldError(f"model {name!r}: {option} must be one of {names}, got {value!r}")


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
) -> Network:
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
    module, name_of_class = entry.factory.split(":")
    factory = getattr(importlib.import_module(module), name_of_class)
    size = image_size or (height, width)
    model: Network = factory(
        in_channels=in_channels or channels,
        num_classes=num_classes,
        image_size=size,
        **entry.settings,
        **(options or {}),
    )
    _require_fit(name, model)
    return model


def _require_fit(name: str, model: Network) -> None:
    """Refuse images that shrink to nothing on their way through the network, and say how large they must be."""
    from twofold.models.network import smallest_image, trace_shapes

    try:
        trace_shapes(model, model.input_shape)
    except RuntimeError as error:
        channels, height, width = model.input_shape
        least = smallest_image(model, channels)
        raise TwofoldError(f"{name} needs images of at least {least}x{least} px, got {height}x{width}") from error
