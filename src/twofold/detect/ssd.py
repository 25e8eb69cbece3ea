"""SSD: a detector that looks once, at feature maps of several sizes, and says of every anchor what it holds.

Liu et al., "SSD: single shot multibox detector", 2016. Earlier detectors first proposed places and then classified
each; SSD does both in one pass of a convolutional network. Fine maps find small things, coarse ones large.

- `SSDMini`: for images of 64 to 160 px on a CPU.
- `SSD`: on the feature maps of any network of the registry, with more maps behind them.
- `SSD300`: the paper's, on VGG-16; names and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from twofold.detect.network import Detector, Head, map_shapes, start_head
from twofold.detect.shapes import parse_shapes, ssd_shapes
from twofold.errors import TwofoldError
from twofold.models.network import kaiming, scaled
from twofold.models.registry import create_model
from twofold.models.resnet import BasicBlock
from twofold.models.vgg import VGG

ScoresOption = Literal["softmax", "sigmoid"]

# The coarsest map that an object larger than half of the image is looked for on.
_COARSEST = 2
# Finer maps have too many anchors, almost none of which holds an object. (Of 300 px, 38 are left at 1/8: 7.9.)
_FINEST = 7.5


def _layer(in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class SSDMini(Detector):
    """Residual blocks, and four feature maps that are 1/8 to 1/64 of the image's side.

    A second block on each of the two finest maps that are looked at gives more than the scenes that it costs; a coarser
    stem, which would be faster, loses more than it saves (docs/log.md).

    Args:
        in_channels: channels of the images.
        num_classes: without background.
        image_size: (height, width) in pixels.
        width: multiplies every number of channels.
        anchors: "ssd", "d2l", or spelled out: see `shapes.parse_shapes`.
        scores: "softmax" with one of the classes or background an anchor, or "sigmoid" with each class by itself.

    Raises:
        TwofoldError: an image side below 64 px, or anchors for another number of maps.
    """

    stages = ("stem", "layer1", "layer2", "layer3", "layer4", "layer5")

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 20,
        image_size: tuple[int, int] = (128, 128),
        width: float = 1.0,
        anchors: str = "ssd",
        scores: ScoresOption = "softmax",
    ) -> None:
        super().__init__(in_channels, image_size)
        if min(image_size) < 64:
            raise TwofoldError(f"ssd-mini needs images of at least 64x64 px, got {image_size[0]}x{image_size[1]}")
        self.scores = scores
        c32, c64, c128 = (scaled(full, width) for full in (32, 64, 128))
        self.stem = _layer(in_channels, c32, stride=2)
        self.layer1 = BasicBlock(c32, c64, 2)
        self.layer2 = nn.Sequential(BasicBlock(c64, c128, 2), BasicBlock(c128, c128))
        self.layer3 = nn.Sequential(BasicBlock(c128, c128, 2), BasicBlock(c128, c128))
        self.layer4 = BasicBlock(c128, c128, 2)
        self.layer5 = _layer(c128, c128, stride=2)
        self.shapes = map_shapes(anchors, 4, image_size)
        self.head = Head([c128] * 4, [len(own) for own in self.shapes], num_classes)
        kaiming(self)
        start_head(self.head, scores)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps, the finest first."""
        x = self.layer1(self.stem(images))
        maps = []
        for layer in (self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
            maps.append(x)
        return maps


class SSD(Detector):
    """SSD on the feature maps of another network, and on maps behind these, each of half the side.

    Of the network those stages are taken whose maps are at least 8 times smaller than the image, or its last two.

    Args:
        in_channels: channels of the images.
        num_classes: without background.
        image_size: (height, width) in pixels.
        backbone: a network of the registry that classifies.
        stem: of the backbone, where it has one.
        width: of the backbone.
        anchors: "ssd", "d2l", or spelled out.
        scores: "softmax" or "sigmoid".
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 20,
        image_size: tuple[int, int] = (300, 300),
        backbone: str = "resnet18",
        stem: str = "paper",
        width: float = 1.0,
        anchors: str = "ssd",
        scores: ScoresOption = "softmax",
    ) -> None:
        super().__init__(in_channels, image_size)
        self.scores = scores
        options = {"stem": stem} if backbone not in ("lenet", "lenet-bn", "sprint") else {}
        # Its head is built and thrown away: a detector has another.
        self.backbone = create_model(
            backbone, in_channels=in_channels, num_classes=1, image_size=image_size, options=options | {"width": width}
        )
        info = self.backbone.feature_info
        last = self.backbone.last_layer.partition(".")[0]
        setattr(self.backbone, last, nn.Identity())
        taken = [k for k, stage in enumerate(info) if stage.reduction >= _FINEST] or [len(info) - 2, len(info) - 1]
        self._taken = tuple(taken)
        channels = [info[k].channels for k in taken]
        side = min(image_size) / info[taken[-1]].reduction
        extra = []
        while side > _COARSEST:
            extra.append(_layer(channels[-1], min(256, channels[-1]), stride=2))
            channels.append(min(256, channels[-1]))
            side = side / 2
        self.extra = nn.ModuleList(extra)
        kaiming(self.extra)
        self.stages = (*(f"backbone.{info[k].name}" for k in taken), *(f"extra.{k}" for k in range(len(extra))))
        self.shapes = map_shapes(anchors, len(channels), image_size)
        self.head = Head(channels, [len(own) for own in self.shapes], num_classes)
        start_head(self.head, scores)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps, the finest first."""
        every = self.backbone.stage_maps(images)
        maps = [every[k] for k in self._taken]
        for layer in self.extra:
            maps.append(layer(maps[-1]))
        return maps


class _VGGMaps(nn.Module):
    """VGG-16 up to its fourth block, and on with dilated convolutions in place of its dense layers."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        layers = list(VGG(16, in_channels=in_channels, num_classes=1, width=1.0).features)
        pools = [k for k, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        layers[pools[2]] = nn.MaxPool2d(2, 2, ceil_mode=True)  # 75 px become 38, not 37
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        self.features = nn.Sequential(*layers[: pools[3]])
        dense = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        self.extra = nn.ModuleList(
            [
                nn.Sequential(*layers[pools[3] : -1], dense),
                _narrow_and_wide(1024, 256, 512, stride=2, padding=1),
                _narrow_and_wide(512, 128, 256, stride=2, padding=1),
                _narrow_and_wide(256, 128, 256, stride=1, padding=0),
                _narrow_and_wide(256, 128, 256, stride=1, padding=0),
            ]
        )
        for part in (dense, *self.extra[1:]):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    assert module.bias is not None
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.features(images)
        # The fourth block's values are much larger than those of later maps: brought to a learnt size, 20 at first
        # (Liu, Rabinovich and Berg, "ParseNet", 2015).
        maps = [self.scale_weight.view(1, -1, 1, 1) * functional.normalize(x)]
        for layer in self.extra:
            x = layer(x)
            maps.append(x)
        return maps


def _narrow_and_wide(in_channels: int, narrow: int, wide: int, *, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, narrow, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(narrow, wide, 3, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
    )


class SSD300(Detector):
    """The paper's network for images of 300 px: VGG-16, six feature maps, 8,732 anchors.

    Args:
        in_channels: channels of the images.
        num_classes: without background; torchvision counts it.
        image_size: (height, width): 300 px.
        anchors: "ssd", the paper's, or spelled out.
        scores: "softmax" or "sigmoid".

    Raises:
        TwofoldError: images of another size.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 90,
        image_size: tuple[int, int] = (300, 300),
        anchors: str = "ssd",
        scores: ScoresOption = "softmax",
    ) -> None:
        super().__init__(in_channels, image_size)
        if image_size != (300, 300):
            raise TwofoldError(f"ssd300 needs images of 300x300 px, got {image_size[0]}x{image_size[1]}")
        self.scores = scores
        self.backbone = _VGGMaps(in_channels)
        self.stages = ("backbone.features", *(f"backbone.extra.{k}" for k in range(5)))
        if anchors == "ssd":
            scales = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
            ratios = ([2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0])
            self.shapes = [ssd_shapes(scales[k], scales[k + 1], own) for k, own in enumerate(ratios)]
            # Not 1/38, 1/19 …: the paper's maps are wider than the image divided by their steps.
            self.steps = [(step / 300, step / 300) for step in (8, 16, 32, 64, 100, 300)]
        else:
            self.shapes = parse_shapes(anchors)
        self.head = Head([512, 1024, 512, 256, 256, 256], [len(own) for own in self.shapes], num_classes)
        start_head(self.head, scores)
        for part in self.head.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.xavier_uniform_(part.weight)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps, the finest first."""
        return self.backbone(images)
