"""VGG: one block, again and again.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015. New over AlexNet: no
more choosing of kernels. A *VGG block* is a few 3x3 convolutions that keep the size, and a pooling that halves it. Two
3x3 see as much as one 5x5, three as much as one 7x7, with fewer weights and more ReLUs in between; so the network grows
by repeating the block, to 11, 13, 16 or 19 layers. Batch normalisation (Ioffe and Szegedy, 2015) came after the paper
and makes the deep ones easy to train.

Names and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, kaiming, scaled, stem_pool

# Convolutions in each of the five blocks.
_BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)
_DENSE = 4096


def vgg_block(in_channels: int, channels: int, num_convs: int, *, batch_norm: bool) -> list[nn.Module]:
    """Return the layers of one block: `num_convs` 3x3 convolutions with ReLU, then 2x2 max pooling."""
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU(inplace=True))
        in_channels = channels
    return [*layers, nn.MaxPool2d(2, stride=2)]


class VGG(Network):
    """Five blocks, three dense layers.

    Args:
        depth: 11, 13, 16 or 19 layers with weights.
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        batch_norm: normalise after each convolution.
        stem: "paper"; "small": no pooling after the first block, and dense layers on 1x1 instead of 7x7; or "adaptive":
            as "small", with the maps of the first block averaged to 32 px.
        width: multiplies every number of channels.
        dropout: probability in the dense layers.
    """

    last_layer = "classifier.6"

    def __init__(
        self,
        depth: int,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        image_size: tuple[int, int] = (224, 224),
        batch_norm: bool = False,
        stem: Stem = "paper",
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels, image_size)
        layers: list[nn.Module] = []
        ends = []
        previous = in_channels
        for block, (num_convs, full) in enumerate(zip(_BLOCKS[depth], _CHANNELS, strict=True)):
            channels = scaled(full, width)
            layers += vgg_block(previous, channels, num_convs, batch_norm=batch_norm)
            if block == 0:
                layers[-1] = stem_pool(layers[-1], stem, image_size)
            ends.append(f"features.{len(layers) - 1}")
            previous = channels
        self.stages = tuple(ends)
        side, dense = (7 if stem == "paper" else 1), scaled(_DENSE, width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(
            nn.Linear(previous * side * side, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, num_classes),
        )
        kaiming(self)
        for module in self.classifier:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.classifier(torch.flatten(self.avgpool(x), 1))
