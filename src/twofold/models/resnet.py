"""ResNet: layers that learn a correction to their input instead of a new output.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016. A block computes x + F(x). If the best
a block can do is to leave x alone, F must only become zero, which is easy, where a plain block would have to learn
the identity, which is hard; and the sum hands the gradient back to x unharmed. That made networks of over a
hundred layers trainable, where VGG stopped at nineteen.

Names and shapes of the state dict are torchvision's, so its published weights load unchanged.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, kaiming, scaled, stem_conv, stem_pool


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and 34: two 3x3 convolutions and a shortcut around them.

    Where the block changes the number of channels or halves the feature map, a 1x1 convolution (`downsample`) brings
    the shortcut to the same shape.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return relu(shortcut(x) + F(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class Bottleneck(nn.Module):
    """The residual block of ResNet-50, 101 and 152: 1x1 down to `channels`, 3x3, 1x1 up to four times as many.

    The 3x3 convolution, which costs nine times a 1x1, works on few channels, so a deeper network costs no more. The
    stride is in the 3x3, as torchvision has it; the paper has it in the first 1x1, which skips three pixels of four.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        wide = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, wide, stride)

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return relu(shortcut(x) + F(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + shortcut)


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """Return what brings a block's input to the shape of its output; None where it has that shape."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))


# Blocks in each of the four stages.
_FORMS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(Network):
    """Four stages of residual blocks between a stem and a dense head.

    Args:
        depth: 18, 34, 50, 101 or 152 layers with weights.
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        stem: "paper" (7x7 convolution with stride 2, then 3x3 max pooling with stride 2: the first stage sees a
            quarter of each side), "small" (one 3x3 convolution, nothing lost)
            or "adaptive" (3x3, averaged to a fixed size), see `stem_conv`.
        width: multiplies every number of channels.
    """

    last_layer = "fc"
    stages = ("relu", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        image_size: tuple[int, int] = (224, 224),
        stem: Stem = "paper",
        width: float = 1.0,
    ) -> None:
        super().__init__(in_channels, image_size)
        block, blocks = _FORMS[depth]
        channels = [scaled(full, width) for full in (64, 128, 256, 512)]
        self.conv1 = stem_conv(in_channels, channels[0], 7, stride=2, padding=3, stem=stem, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = stem_pool(nn.MaxPool2d(3, stride=2, padding=1), stem, image_size)
        wide = [narrow * block.expansion for narrow in channels]
        self.layer1 = _stage(block, channels[0], channels[0], blocks[0], stride=1)
        self.layer2 = _stage(block, wide[0], channels[1], blocks[1], stride=2)
        self.layer3 = _stage(block, wide[1], channels[2], blocks[2], stride=2)
        self.layer4 = _stage(block, wide[2], channels[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(wide[3], num_classes)
        kaiming(self)

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features h w"]:
        """Return the feature map of a batch of images."""
        return self.stage_maps(x)[-1]

    def stage_maps(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps after each of the stages."""
        maps = [self.relu(self.bn1(self.conv1(images)))]
        x = self.maxpool(maps[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, num_blocks: int, *, stride: int
) -> nn.Sequential:
    first = block(in_channels, channels, stride)
    wide = channels * block.expansion
    return nn.Sequential(first, *(block(wide, channels) for _ in range(num_blocks - 1)))
