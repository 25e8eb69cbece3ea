"""Layers and blocks of networks, and the ResNet-18 that later chapters share, as each edition has them.

The networks of `twofold models` are the same ideas at scale; their weights are torchvision's.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from twofold.scratch.conv import cross_correlation
from twofold.scratch.linear import linear


def linreg(X: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return X w + b.

    Idea: `twofold show linear`.
    """
    return linear(X, w.T, b) if w.dim() == 2 and b.shape == w.shape[1:] else X @ w + b


def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Return the 2-D cross-correlation of an image `X` with a kernel `K`, both of one channel.

    Idea: `twofold show cross-correlation`.
    """
    return cross_correlation(X, K)


def init_cnn(module: nn.Module) -> None:
    """Draw the weights of a dense or convolutional layer by Xavier's rule; for `net.apply(init_cnn)`.

    Idea: `twofold show initialisation`.
    """
    if type(module) in (nn.Linear, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)  # type: ignore[arg-type]


class FlattenLayer(nn.Module):
    """One row an example: what nn.Flatten does today."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` as (examples, values)."""
        return x.view(x.shape[0], -1)


class GlobalAvgPool2d(nn.Module):
    """The mean of each channel over all positions.

    Idea: `twofold show adaptive-avg-pool2d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (examples, channels, 1, 1)."""
        return functional.avg_pool2d(x, kernel_size=x.shape[2:])


# Residual blocks (He et al., 2016)


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them, by a 1x1 convolution where shapes differ; takes any channels.

    Idea: `twofold show resnet`.
    """

    def __init__(self, num_channels: int, use_1x1conv: bool = False, strides: int = 1) -> None:
        super().__init__()
        self.conv1: nn.Module = nn.LazyConv2d(num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2: nn.Module = nn.LazyConv2d(num_channels, kernel_size=3, padding=1)
        self.conv3: nn.Module | None = None
        if use_1x1conv:
            self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides)
        self.bn1: nn.Module = nn.LazyBatchNorm2d()
        self.bn2: nn.Module = nn.LazyBatchNorm2d()

    def forward(self, X: Tensor) -> Tensor:
        """Return relu(F(X) + X)."""
        y = functional.relu(self.bn1(self.conv1(X)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (X if self.conv3 is None else self.conv3(X)))


class ResidualZh(Residual):
    """The same block from `in_channels` to `out_channels`.

    Idea: `twofold show resnet`.
    """

    def __init__(self, in_channels: int, out_channels: int, use_1x1conv: bool = False, stride: int = 1) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride) if use_1x1conv else None
        self.bn1, self.bn2 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)


class ResNeXtBlock(nn.Module):
    """A residual block of grouped convolutions (Xie et al., 2017).

    `groups` are the channels of a group, as in the book's code: there are bottleneck channels / `groups` of them.

    Idea: `twofold show conv2d`.
    """

    def __init__(
        self, num_channels: int, groups: int, bot_mul: float, use_1x1conv: bool = False, strides: int = 1
    ) -> None:
        super().__init__()
        width = round(num_channels * bot_mul)
        self.conv1 = nn.LazyConv2d(width, kernel_size=1, stride=1)
        self.conv2 = nn.LazyConv2d(width, kernel_size=3, stride=strides, padding=1, groups=width // groups)
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, stride=1)
        self.bn1, self.bn2, self.bn3 = nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d()
        self.conv4: nn.Module | None = None
        if use_1x1conv:
            self.conv4 = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides)
            self.bn4 = nn.LazyBatchNorm2d()

    def forward(self, X: Tensor) -> Tensor:
        """Return relu(F(X) + X)."""
        y = functional.relu(self.bn1(self.conv1(X)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (X if self.conv4 is None else self.bn4(self.conv4(X))))


def resnet_block(in_channels: int, out_channels: int, num_residuals: int, first_block: bool = False) -> nn.Sequential:
    """Return one stage of a ResNet: the first block halves height and width, unless it is the `first_block` of all.

    Idea: `twofold show resnet`.
    """
    if first_block:
        assert in_channels == out_channels, "the first stage keeps the number of channels"
    first = ResidualZh(in_channels, out_channels, use_1x1conv=not first_block, stride=1 if first_block else 2)
    return nn.Sequential(first, *(ResidualZh(out_channels, out_channels) for _ in range(num_residuals - 1)))


def _resnet18(stem: list[nn.Module], pool: nn.Module, flatten: nn.Module, num_classes: int) -> nn.Sequential:
    net = nn.Sequential(*stem)
    widths = (64, 64, 128, 256, 512)
    for index, (before, width) in enumerate(pairwise(widths), 1):
        net.add_module(f"resnet_block{index}", resnet_block(before, width, 2, first_block=index == 1))
    net.add_module("global_avg_pool", pool)
    net.add_module("fc", nn.Sequential(flatten, nn.Linear(512, num_classes)))
    return net


def resnet18(num_classes: int, in_channels: int = 1) -> nn.Sequential:
    """Return a ResNet-18 for small images: its first layer is a 3x3 convolution, and there is no pooling before.

    Idea: `twofold show resnet`.
    """
    stem = [nn.Conv2d(in_channels, 64, kernel_size=3, stride=1, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
    return _resnet18(stem, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), num_classes)


def resnet18_zh(output: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return a ResNet-18 with the paper's 7x7 first layer and pooling after it.

    Idea: `twofold show resnet`.
    """
    stem = [
        nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    ]
    return _resnet18(stem, GlobalAvgPool2d(), FlattenLayer(), output)
