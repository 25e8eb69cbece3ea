"""What all detectors share: feature maps of several sizes, and at every pixel of each a few anchors that are judged.

    outputs = head(features(images))        # (batch, anchors, 4 + 1 + classes)

Of each anchor, the first four values say how it must move and stretch (`offsets`); then come the logits, that of
background first. The anchors themselves are the same for every image: they follow from the sizes of the maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from twofold.data.spec import ModelSpec
from twofold.detect.anchors import AnchorMap, grid_anchors
from twofold.detect.shapes import Shapes, d2l_shapes, parse_shapes, ssd_scales, ssd_shapes
from twofold.errors import TwofoldError
from twofold.models.network import Network, trace_shapes
from twofold.models.registry import Option, create_model

# The most certain background that an untrained detector says with "sigmoid": one anchor in a hundred has an object.
# From there on the many anchors without one do not swamp the few with one (Lin et al., 2017).
_PRIOR = 0.01


class HeadPart(nn.Module):
    """A 3x3 convolution a map that gives `num_values` values for each anchor, as (batch, anchors, values)."""

    def __init__(self, channels: Sequence[int], num_anchors: Sequence[int], num_values: int) -> None:
        super().__init__()
        self.num_values = num_values
        self.module_list = nn.ModuleList(
            nn.Conv2d(maps, anchors * num_values, 3, padding=1)
            for maps, anchors in zip(channels, num_anchors, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "batch anchors values"]:
        """Return the values of all anchors, map by map, row by row, pixel by pixel."""
        parts = (conv(x).permute(0, 2, 3, 1) for conv, x in zip(self.module_list, maps, strict=True))
        return torch.cat([part.reshape(part.shape[0], -1, self.num_values) for part in parts], dim=1)


class Head(nn.Module):
    """The two parts of a detector's head; names and shapes are those of torchvision's SSD.

    Args:
        channels: of each feature map.
        num_anchors: at each pixel of it.
        num_classes: without background.
    """

    def __init__(self, channels: Sequence[int], num_anchors: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.classification_head = HeadPart(channels, num_anchors, 1 + num_classes)
        self.regression_head = HeadPart(channels, num_anchors, 4)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "batch anchors values"]:
        """Return offsets and logits of all anchors."""
        return torch.cat([self.regression_head(maps), self.classification_head(maps)], dim=2)


class Detector(Network):
    """A network that looks for objects. Families define `features`, which gives a list of maps, and `head`.

    Attributes:
        shapes: of the anchors at the pixels of each map.
        steps: of each map the distance of two pixels' anchors in parts of the image; None where it is 1 / its size.
        clip_anchors: whether no anchor is wider or higher than the image.
        scores: whether the classes of an anchor share certainty out, or each is a question of its own.
    """

    last_layer = "head.classification_head"
    head: Head
    shapes: list[Shapes]
    steps: list[tuple[float, float]] | None = None
    clip_anchors: bool = True
    scores: Literal["softmax", "sigmoid"] = "softmax"

    def map_sizes(self) -> list[tuple[int, int]]:
        """Return the (height, width) of each feature map, from shapes alone."""
        maps: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, given: maps.extend(given[0]))
        try:
            trace_shapes(self, self.input_shape)
        finally:
            hook.remove()
        return [(one.shape[2], one.shape[3]) for one in maps]

    def anchors(self, sizes: Sequence[tuple[int, int]] | None = None) -> Float32[Tensor, "anchors 4"]:
        """Return the anchors as corners in parts of the image, in the order of the outputs.

        Args:
            sizes: those of the maps, if they are known already.
        """
        sizes = self.map_sizes() if sizes is None else sizes
        steps = self.steps or [None] * len(self.shapes)
        maps = [AnchorMap(*one) for one in zip(sizes, self.shapes, steps, strict=True)]
        return grid_anchors(maps, clip=self.clip_anchors)

    def reset_head(self, num_classes: int) -> None:
        """Replace what gives the logits by layers for `num_classes` classes; where boxes go stays as it was learnt.

        Raises:
            TwofoldError: `num_classes` below 1.
        """
        if num_classes < 1:
            raise TwofoldError(f"num_classes must be 1 or more, got {num_classes}")
        old = self.get_submodule(f"{self.last_layer}.module_list")
        assert isinstance(old, nn.ModuleList)
        like = next(old.parameters())
        channels = [conv.in_channels for conv in old.modules() if isinstance(conv, nn.Conv2d)]
        part = HeadPart(channels, [len(shapes) for shapes in self.shapes], 1 + num_classes)
        parent, _, leaf = self.last_layer.rpartition(".")
        setattr(self.get_submodule(parent), leaf, part.to(like.device, like.dtype))
        start_head(part, self.scores)


def start_head(head: nn.Module, scores: Literal["softmax", "sigmoid"]) -> None:
    """Draw a head's weights: small ones, and with "sigmoid" a bias by which every anchor begins as background."""
    for part in head.modules():
        if isinstance(part, HeadPart):
            doubts = scores == "sigmoid" and part.num_values > 4
            for conv in part.module_list:
                assert isinstance(conv, nn.Conv2d)
                assert conv.bias is not None
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.constant_(conv.bias, -math.log((1 - _PRIOR) / _PRIOR) if doubts else 0.0)


def map_shapes(spelled: str, num_maps: int, image_size: tuple[int, int], *, low: float = 0.15) -> list[Shapes]:
    """Return the shapes of the anchors of each map: by convention ("ssd" or "d2l"), or as they are spelled out.

    Args:
        spelled: the convention, or shapes as `parse_shapes` takes them.
        num_maps: how many maps there are.
        image_size: (height, width) in pixels; a convention's squares are squares in these.
        low: the scale of the finest map, in parts of the image.

    Raises:
        TwofoldError: shapes for another number of maps.
    """
    if spelled not in ("ssd", "d2l"):
        shapes = parse_shapes(spelled)
        if len(shapes) != num_maps:
            raise TwofoldError(
                f"anchors {spelled!r} are for {len(shapes)} feature maps, and the network has {num_maps}; "
                "separate the maps' shapes by |"
            )
        return shapes
    scales = ssd_scales(num_maps, low)
    stretch = math.sqrt(image_size[0] / image_size[1])

    def of_map(k: int) -> Shapes:
        if spelled == "d2l":
            return d2l_shapes([scales[k], math.sqrt(scales[k] * scales[k + 1])], [1.0, 2.0, 0.5])
        return ssd_shapes(scales[k], scales[k + 1], [2.0])

    return [tuple((w * stretch, h / stretch) for w, h in of_map(k)) for k in range(num_maps)]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a detector looks.

    Attributes:
        sizes: (height, width) of each feature map.
        shapes: of the anchors at the pixels of each map.
        anchors: all of them, as corners in parts of the network's input, in the order of the outputs.
        scores: how logits become probabilities.
    """

    sizes: list[tuple[int, int]]
    shapes: list[Shapes]
    anchors: Float32[Tensor, "anchors 4"]
    scores: Literal["softmax", "sigmoid"]


def layout_of(spec: ModelSpec) -> Layout:
    """Return where the detector that `spec` describes looks; computed once for each detector."""
    options = tuple(sorted(spec.architecture_options.items()))
    return _layout(spec.architecture, options, spec.channels, spec.image_size)


@cache
def _layout(
    architecture: str, options: tuple[tuple[str, Option], ...], channels: int, image_size: tuple[int, int]
) -> Layout:
    with torch.device("meta"):
        network = create_model(
            architecture, in_channels=channels, num_classes=1, image_size=image_size, options=dict(options)
        )
    assert isinstance(network, Detector)
    sizes = network.map_sizes()
    return Layout(sizes, network.shapes, network.anchors(sizes), network.scores)


def anchors_of(spec: ModelSpec) -> Float32[Tensor, "anchors 4"]:
    """Return the anchors of the detector that `spec` describes: corners in parts of its input, on the CPU."""
    return layout_of(spec).anchors


def scores_of(spec: ModelSpec) -> Literal["softmax", "sigmoid"]:
    """Return how the logits of the detector that `spec` describes become probabilities."""
    return layout_of(spec).scores
