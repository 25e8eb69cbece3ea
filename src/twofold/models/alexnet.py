"""AlexNet: a deeper and wider LeNet, for photographs.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012; here in the
one-GPU form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, as torchvision has
it. New over LeNet: eight layers instead of five and a thousand times the weights; ReLU instead of the sigmoid, against
vanishing gradients; dropout in the dense layers, and random crops, flips and colours, against overfitting.

Names and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, scaled, stem_conv, stem_pool
from twofold.models.registry import EIGHTFOLD_STEM_SIDE

_DENSE = 4096


def _conv_relu(in_channels: int, channels: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]


class AlexNet(Network):
    """Five convolutions, three dense layers.

    Args:
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        stem: "paper" (11x11 with stride 4, pooling), "small" (3x3, no first pooling)
            or "adaptive" (3x3, averaged to a fixed size), see `stem_conv`.
        width: multiplies every number of channels.
        dropout: probability in the dense layers.
    """

    last_layer = "classifier.6"
    stages = ("features.1", "features.4", "features.12")

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        image_size: tuple[int, int] = (224, 224),
        stem: Stem = "paper",
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels, image_size)
        c1, c2, c3, c4 = (scaled(channels, width) for channels in (64, 192, 384, 256))
        dense = scaled(_DENSE, width)
        # The last feature map of a photograph is 6x6; that of a small image is no larger than 3x3.
        side = 6 if stem == "paper" else 3
        self.features = nn.Sequential(
            stem_conv(in_channels, c1, 11, stride=4, padding=2, stem=stem),
            nn.ReLU(inplace=True),
            stem_pool(nn.MaxPool2d(3, stride=2), stem, image_size, side=EIGHTFOLD_STEM_SIDE),
            *_conv_relu(c1, c2, 5),
            nn.MaxPool2d(3, stride=2),
            *_conv_relu(c2, c3, 3),
            *_conv_relu(c3, c4, 3),
            *_conv_relu(c4, c4, 3),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(c4 * side * side, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            nn.ReLU(inplace=True),
            nn.Linear(dense, num_classes),
        )

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.classifier(torch.flatten(self.avgpool(x), 1))
