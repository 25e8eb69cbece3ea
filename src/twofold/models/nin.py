"""NiN: a network in every pixel, and no dense layers.

Lin, Chen and Yan, "Network in network", 2014. New over AlexNet: a *NiN block* follows each convolution with two 1x1
convolutions, which are dense layers applied at every pixel, so that each convolution becomes a small nonlinear network.
And the dense head, which has most of AlexNet's weights, goes: the last block gives one feature map for each class, and
each map's mean is that class's logit (global average pooling). That overfits less and takes images of any size.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, kaiming, scaled, stem_conv, stem_pool
from twofold.models.registry import EIGHTFOLD_STEM_SIDE


def nin_block(conv: nn.Conv2d) -> nn.Sequential:
    """Return a convolution and two 1x1 convolutions as wide, with ReLU after each."""
    channels = conv.out_channels
    return nn.Sequential(
        conv,
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
    )


class NiN(Network):
    """Three blocks for the features, one for the classes, global average pooling.

    Args:
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        stem: "paper" (11x11 with stride 4, pooling), "small" (3x3, no first pooling)
            or "adaptive" (3x3, averaged to a fixed size), see `stem_conv`.
        width: multiplies every number of channels but that of the classes.
        dropout: probability before the last block.
    """

    last_layer = "classifier.4"
    stages = ("features.0", "features.2", "features.4")

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
        c1, c2, c3, c4 = (scaled(channels, width) for channels in (96, 256, 384, 1024))
        first = nin_block(stem_conv(in_channels, c1, 11, stride=4, padding=0, stem=stem))
        pool = stem_pool(nn.MaxPool2d(3, stride=2), stem, image_size, side=EIGHTFOLD_STEM_SIDE)
        if stem == "adaptive":  # before the 1x1 convolutions, which would cost most at full size
            first[1], pool = nn.Sequential(first[1], pool), nn.Identity()
        self.features = nn.Sequential(
            first,
            pool,
            nin_block(nn.Conv2d(c1, c2, 5, padding=2)),
            nn.MaxPool2d(3, stride=2),
            nin_block(nn.Conv2d(c2, c3, 3, padding=1)),
            nn.MaxPool2d(3, stride=2),
            nn.Dropout(dropout),
        )
        # The sizes are those of the authors' network for ImageNet. Its last layer had a ReLU; a logit may be negative.
        self.classifier = nn.Sequential(
            nn.Conv2d(c3, c4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c4, c4, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c4, num_classes, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        kaiming(self, mode="fan_in")

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps: the mean of each class's map."""
        return torch.flatten(self.avgpool(self.classifier(x)), 1)
