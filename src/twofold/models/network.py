"""What all networks share: features, a head that can be replaced, and stages whose feature maps can be looked at.

    logits = head(features(images))

`features` turns images into a feature map, `head` turns the map into logits. Fine-tuning replaces the head and keeps
the features; a detector, or a figure of what the network sees, takes the features alone. The calls are the same for
every family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.errors import TwofoldError
from twofold.models.registry import STEM_SIDE

Stem = Literal["paper", "small", "adaptive"]


@dataclass(frozen=True)
class FeatureInfo:
    """One stage of a network: its submodule's name, its channels, and how many times smaller a side its map is."""

    name: str
    channels: int
    reduction: float


class Network(nn.Module):
    """A network for images. Families define `features` and `head`, and name their last layer and their stages.

    Attributes:
        last_layer: name of the layer that gives the logits.
        stages: names of the submodules that end a stage, from the image to the head.
        input_shape: (channels, height, width) of the images that it was built for.
    """

    last_layer: str
    stages: tuple[str, ...]
    features: Any  # a module or a method, as `head` is
    head: Any

    def __init__(self, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.input_shape = (in_channels, *image_size)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Any:
        """Return the outputs for a batch of images: logits (batch, classes), for a classifier."""
        return self.head(self.features(images))

    def stage_maps(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps after each of the stages, for a detector to look for objects in.

        This is for networks whose features are layers one after the other; the others have their own.
        """
        assert isinstance(self.features, nn.Sequential)
        maps, x = [], images
        for name, layer in self.features.named_children():
            x = layer(x)
            if f"features.{name}" in self.stages:
                maps.append(x)
        return maps

    def reset_head(self, num_classes: int) -> None:
        """Replace the layer that gives the logits by one for `num_classes` classes, with random weights.

        Raises:
            TwofoldError: `num_classes` below 1.
        """
        if num_classes < 1:
            raise TwofoldError(f"num_classes must be 1 or more, got {num_classes}")
        self._replace_last_layer(self.last_layer, num_classes)

    def _replace_last_layer(self, name: str, num_classes: int) -> None:
        old = self.get_submodule(name)
        like = next(old.parameters())
        new: nn.Module
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, num_classes)
        else:
            assert isinstance(old, nn.Conv2d)
            assert isinstance(old.padding, tuple)
            kernel, padding = (old.kernel_size[0], old.kernel_size[1]), (old.padding[0], old.padding[1])
            new = nn.Conv2d(old.in_channels, num_classes, kernel, padding=padding)
        parent, _, leaf = name.rpartition(".")
        setattr(self.get_submodule(parent), leaf, new.to(like.device, like.dtype))

    @property
    def feature_info(self) -> list[FeatureInfo]:
        """The stages, each with its channels and its reduction: the image's height over its map's."""
        shapes: dict[str, torch.Size] = {}
        names = {self.get_submodule(name): name for name in self.stages}

        def keep_shape(module: nn.Module, inputs: Any, output: Tensor) -> None:
            shapes[names[module]] = output.shape

        hooks = [module.register_forward_hook(keep_shape) for module in names]
        try:
            trace_shapes(self, self.input_shape)
        finally:
            for hook in hooks:
                hook.remove()
        height = self.input_shape[1]
        return [FeatureInfo(name, shapes[name][1], height / shapes[name][2]) for name in self.stages]


def stage_modules(model: Network) -> list[list[nn.Module]]:
    """Return the layers of each stage, in order, and last those of the head.

    A stage's layers are those defined after the last layer of the stage before it, up to its own last layer; the head's
    are all that follow.
    """
    layers = [module for module in model.modules() if not list(module.children())]
    index = {module: i for i, module in enumerate(layers)}
    ends = []
    for name in model.stages:
        inside = [index[module] for module in model.get_submodule(name).modules() if module in index]
        ends.append(max([*inside, *ends[-1:]]) + 1)
    starts = [0, *ends]
    return [layers[start:end] for start, end in zip(starts, [*ends, len(layers)], strict=True)]


def trace_shapes(model: nn.Module, input_shape: tuple[int, int, int]) -> torch.Size:
    """Return the shape of the output for one image, computed on torch's "meta" device, which stores no values."""
    return run_on_meta(model, torch.empty(1, *input_shape, device="meta")).shape


def run_on_meta(model: nn.Module, images: Tensor) -> Tensor:
    """Return the output for `images` on the "meta" device, in eval mode; the model's own tensors are not touched."""
    tensors = {
        name: torch.empty_like(value, device="meta")
        for name, value in (*model.named_parameters(), *model.named_buffers())
    }
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output: Tensor = torch.func.functional_call(model, tensors, images)
    finally:
        model.train(training)
    return output


def scaled(channels: int, width: float) -> int:
    """Return `channels` times the width multiplier, at least one (Howard et al., "MobileNets", 2017)."""
    return max(1, round(channels * width))


def stem_conv(
    in_channels: int, channels: int, kernel: int, *, stride: int, padding: int, stem: Stem, bias: bool = True
) -> nn.Conv2d:
    """Return a network's first convolution: the paper's, or a 3x3 that keeps the size.

    The papers were written for images of 224 px, of which a first layer with a stride, and the pooling after it, lose
    only fine detail; of 28 px they leave 7. `stem="small"` replaces both, the same for every family: a 3x3 convolution
    with stride 1 instead of the paper's, and no first pooling (`stem_pool`). `stem="adaptive"` has that convolution,
    and averages its maps to about 32 px a side: what follows costs the same whatever the size of the images.
    """
    if stem == "paper":
        return nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, bias=bias)
    return nn.Conv2d(in_channels, channels, 3, padding=1, bias=bias)


def stem_pool(pool: nn.Module, stem: Stem, image_size: tuple[int, int], *, side: int = STEM_SIDE) -> nn.Module:
    """Return the pooling after the first layers of a network for images of `image_size` (height, width) px.

    The paper's is `pool`; the small stem has an identity, which keeps the names of the layers that follow; the adaptive
    one averages to `side` px.
    """
    if stem == "paper":
        return pool
    if stem == "small" or max(image_size) <= side:
        return nn.Identity()
    # A side that is short already stays: the layers that follow need what the small stem would leave them.
    height, width = (max(min(length, side // 2), round(length * side / max(image_size))) for length in image_size)
    return nn.AdaptiveAvgPool2d((height, width))


def kaiming(model: nn.Module, *, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw the weights of all convolutions so that ReLU keeps the variance of the signal (He et al., 2015)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def smallest_image(model: nn.Module, channels: int, *, at_most: int = 1024) -> int:
    """Return the smallest side in px of square images that `model` takes, found by trying."""

    def fits(side: int) -> bool:
        try:
            return math.prod(trace_shapes(model, (channels, side, side))) > 0
        except RuntimeError:
            return False

    low, high = 1, at_most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low
