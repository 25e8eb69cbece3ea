"""Every network by name: what it takes, where it comes from, and how to build it.

The table imports no torch, so that a recipe can be checked and `twofold --help` answered without it; `create_model`
imports the family's file when a network is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twofold.errors import TwofoldError, check_known, nearest

if TYPE_CHECKING:
    from twofold.models.network import Network

Option = str | int | float | bool

# What a stem should leave of a side in pixels: less is too little, and more costs much and gains little. 28 for the
# networks whose own stem makes a side eight times smaller: what it leaves of 224 px.
STEM_SIDE, EIGHTFOLD_STEM_SIDE = 32, 28


@dataclass(frozen=True)
class Between:
    """An option that takes any number from `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Spelled:
    """An option that takes one of some names, or a text that `check`, "module:function", reads without an error."""

    names: tuple[str, ...]
    check: str
    words: str

    def __str__(self) -> str:
        return f"{' or '.join(self.names)} or {self.words}"


Choices = tuple[Option, ...] | Between | Spelled
_WIDTH: Mapping[str, Choices] = {"width": Between(0.03125, 8.0)}
_STEM_WIDTH: Mapping[str, Choices] = {"stem": ("paper", "small", "adaptive"), **_WIDTH}


@dataclass(frozen=True)
class ModelEntry:
    """One network.

    Attributes:
        name: what it is called on the command line.
        factory: "module:class" that builds it.
        source: the paper.
        summary: what it is, in a few words.
        input_shape: (channels, height, width) of the paper's images.
        options: what the user may choose, and the values that each option takes.
        settings: arguments of the class that are fixed for this network, such as its depth.
        stem_side: what the stem should leave of a side, in pixels.
        paper_stem_from: the least side, in pixels, for which the paper's stem is chosen: it leaves as much.
        task: "detect" where it looks for objects; else it gives a logit a class, for one class an image or several.
        num_classes: the usual number of classes; 1000, or 10 for images of up to 32 px, if left out.
    """

    name: str
    factory: str
    source: str
    summary: str
    input_shape: tuple[int, int, int] = (3, 224, 224)
    options: Mapping[str, Choices] = field(default_factory=lambda: _STEM_WIDTH)
    settings: Mapping[str, Option] = field(default_factory=dict)
    stem_side: int = STEM_SIDE
    paper_stem_from: int = 4 * STEM_SIDE
    task: Literal["classify", "detect"] = "classify"
    num_classes: int | None = None


_LENET = "LeCun et al., Gradient-based learning applied to document recognition, 1998"
_ALEXNET = "Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012"
_VGG = "Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015"
_NIN = "Lin, Chen and Yan, Network in network, 2014"
_GOOGLENET = "Szegedy et al., Going deeper with convolutions, 2015"
_BATCH_NORM = "Ioffe and Szegedy, Batch normalization, 2015"
_RESNET = "He et al., Deep residual learning for image recognition, 2016"
_DENSENET = "Huang et al., Densely connected convolutional networks, 2017"
_SSD = "Liu et al., SSD: single shot multibox detector, 2016"


def _lenet(name: str, source: str, summary: str, settings: Mapping[str, Option]) -> ModelEntry:
    return ModelEntry(name, "twofold.models.lenet:LeNet", source, summary, (1, 28, 28), _WIDTH, settings)


def _vgg(depth: int, *, batch_norm: bool) -> ModelEntry:
    return ModelEntry(
        name=f"vgg{depth}-bn" if batch_norm else f"vgg{depth}",
        factory="twofold.models.vgg:VGG",
        source=f"{_VGG}; {_BATCH_NORM}" if batch_norm else _VGG,
        summary=f"five blocks of 3x3 convolutions, {depth} layers" + (", batch normalisation" if batch_norm else ""),
        settings={"depth": depth, "batch_norm": batch_norm},
        paper_stem_from=2 * STEM_SIDE,
    )


def _resnet(depth: int, summary: str) -> ModelEntry:
    return ModelEntry(f"resnet{depth}", "twofold.models.resnet:ResNet", _RESNET, summary, settings={"depth": depth})


def _densenet(depth: int, layers: str = "layer") -> ModelEntry:
    summary = f"four blocks in which every {layers} sees all before it, {depth} layers"
    return ModelEntry(
        f"densenet{depth}", "twofold.models.densenet:DenseNet", _DENSENET, summary, settings={"depth": depth}
    )


CLASSIFIERS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _lenet("lenet", _LENET, "two convolutions and three dense layers with sigmoids, as in D2L", {}),
        _lenet(
            "lenet-bn",
            f"{_LENET}; {_BATCH_NORM}",
            "LeNet with batch normalisation and ReLU",
            {"activation": "relu", "batch_norm": True},
        ),
        ModelEntry(
            "alexnet",
            "twofold.models.alexnet:AlexNet",
            _ALEXNET,
            "five convolutions and three dense layers with ReLU and dropout",
            stem_side=EIGHTFOLD_STEM_SIDE,
            paper_stem_from=8 * EIGHTFOLD_STEM_SIDE,
        ),
        *(_vgg(depth, batch_norm=batch_norm) for depth in (11, 13, 16, 19) for batch_norm in (False, True)),
        ModelEntry(
            "nin",
            "twofold.models.nin:NiN",
            _NIN,
            "convolutions followed by 1x1 convolutions, and no dense layer",
            stem_side=EIGHTFOLD_STEM_SIDE,
            paper_stem_from=8 * EIGHTFOLD_STEM_SIDE,
        ),
        ModelEntry(
            "googlenet",
            "twofold.models.googlenet:GoogLeNet",
            f"{_GOOGLENET}; {_BATCH_NORM}",
            "nine blocks of four branches side by side",
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
            "sprint",
            "twofold.models.sprint:Sprint",
            "Twofold, for the recipe speedrun",
            "two pooled convolutions, a residual one and a dense head: small images in a minute",
            (1, 28, 28),
            _WIDTH,
        ),
    )
}

_OF_DETECTORS: Mapping[str, Choices] = {
    "anchors": Spelled(("ssd", "d2l"), "twofold.detect.shapes:parse_shapes", "shapes such as 0.1x0.2,0.2x0.1|0.5x0.5"),
    "scores": ("softmax", "sigmoid"),
}

DETECTORS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "ssd-mini",
            "twofold.detect.ssd:SSDMini",
            f"Twofold; after {_SSD}",
            "residual blocks and four feature maps: images of 64 to 160 px on a CPU",
            (3, 128, 128),
            {**_WIDTH, **_OF_DETECTORS},
            task="detect",
            num_classes=20,
        ),
        ModelEntry(
            "ssd",
            "twofold.detect.ssd:SSD",
            _SSD,
            "single-shot detector on the feature maps of another network",
            (3, 300, 300),
            {"backbone": tuple(CLASSIFIERS), **_STEM_WIDTH, **_OF_DETECTORS},
            task="detect",
            num_classes=20,
        ),
        ModelEntry(
            "ssd300",
            "twofold.detect.ssd:SSD300",
            _SSD,
            "the paper's single-shot detector, on VGG-16",
            (3, 300, 300),
            {**_OF_DETECTORS, "anchors": Spelled(("ssd",), "twofold.detect.shapes:parse_shapes", "shapes")},
            task="detect",
            num_classes=90,
        ),
    )
}

MODELS = CLASSIFIERS | DETECTORS


def check_model_options(name: str, options: Mapping[str, Option]) -> None:
    """Check that the network takes each option and its value.

    Raises:
        TwofoldError: it does not; the message lists what it takes.
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
        elif isinstance(choices, Spelled):
            if value in choices.names:
                continue
            module, function = choices.check.split(":")
            getattr(importlib.import_module(module), function)(str(value))
        elif not any(value == choice and type(value) is type(choice) for choice in choices):
            names = ", ".join(repr(choice) for choice in choices)
            raise TwofoldError(f"model {name!r}: {option} must be one of {names}, got {value!r}")


def resolve_options(name: str, options: Mapping[str, Option], image_size: tuple[int, int]) -> dict[str, Option]:
    """Return the options with the stem chosen by the image size where the user chose none.

    Images of at most 32 px get the small stem (3x3, no shrinking); those of which the paper's leaves 32 px or more, the
    paper's; those in between the adaptive one, which brings them to 32 px. So work never falls as images grow.
    A detector gets no adaptive stem, which would lose where things are, but the small one up to 96 px.
    """
    resolved = dict(options)
    if name == "ssd":
        backbone = resolved.setdefault("backbone", "resnet18")
        if backbone in CLASSIFIERS and "stem" in CLASSIFIERS[str(backbone)].options:
            resolved.setdefault("stem", "small" if max(image_size) <= 96 else "paper")
    elif "stem" in MODELS[name].options and "stem" not in resolved:
        entry, side = MODELS[name], max(image_size)
        larger = "paper" if side >= entry.paper_stem_from else "adaptive"
        resolved["stem"] = "small" if side <= entry.stem_side else larger
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
    arguments = {
        "in_channels": in_channels or channels,
        "num_classes": num_classes,
        "image_size": image_size or (height, width),
        **entry.settings,
        **(options or {}),
    }
    model: Network = factory(**arguments)
    from twofold.models.network import smallest_image, trace_shapes

    try:
        trace_shapes(model, model.input_shape)
    except RuntimeError as error:
        # The images shrink to nothing on their way through the network.
        channels, height, width = model.input_shape
        if arguments.get("stem") == "adaptive":  # which has one size for all that follows; the small stem needs as much
            model = factory(**arguments | {"stem": "small"})
        smallest = smallest_image(model, channels)
        message = f"{name} needs images of at least {smallest}x{smallest} px, got {height}x{width}"
        raise TwofoldError(message) from error
    return model
