"""ResNet: layers that learn a correction to their input instead of a new output.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016. A block computes x + F(x). If the best
a block can do is to leave x alone, F must only become zero, which is easy, where a plain block would have to learn
the identity, which is hard; and the sum hands the gradient back to x unharmed. That made networks of over a
hundred layers trainable, where VGG stopped at nineteen.

Names and shapes of the state dict are torchvision's, so its published weights load unchanged.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.errors import TwofoldError

Stem = Literal["paper", "small"]


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and 34: two 3x3 convolutions and a shortcut around them.

    Where the block changes the number of channels or halves the picture, a 1x1 convolution (`downsample`) brings
    the shortcut to the same shape.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return relu(shortcut(x) + F(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class ResNet(nn.Module):
    """Four stages of residual blocks between a stem and a dense head.

    Args:
        blocks: number of blocks in each of the four stages.
        in_channels: channels of the images.
        num_classes: number of logits.
        stem: "paper" (7x7 convolution with stride 2, then 3x3 max pooling with stride 2: the first stage sees a
            quarter of each side) or "small" (one 3x3 convolution, nothing lost: for images of 28 to 64 px).
    """

    def __init__(
        self, blocks: tuple[int, int, int, int], *, in_channels: int = 3, num_classes: int = 1000, stem: Stem = "paper"
    ) -> None:
        super().__init__()
        if stem == "paper":
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        elif stem == "small":
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            raise TwofoldError(f"stem must be 'paper' or 'small', got {stem!r}")
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(64, 64, blocks[0], stride=1)
        self.layer2 = _stage(64, 128, blocks[1], stride=2)
        self.layer3 = _stage(128, 256, blocks[2], stride=2)
        self.layer4 = _stage(256, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Keeps the variance of the gradient from layer to layer through ReLU (He et al., 2015).
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of a batch of images."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(in_channels: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(num_blocks - 1)))


def resnet18(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: tuple[int, int] = (224, 224),
    stem: Stem = "paper",
) -> ResNet:
    """Build ResNet-18 (11,689,512 parameters in the paper's form). `image_size` decides nothing here."""
    del image_size
    return ResNet((2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, stem=stem)


def resnet34(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: tuple[int, int] = (224, 224),
    stem: Stem = "paper",
) -> ResNet:
    """Build ResNet-34 (21,797,672 parameters in the paper's form). `image_size` decides nothing here."""
    del image_size
    return ResNet((3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, stem=stem)
