"""DenseNet: every layer sees all layers before it.

Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017. New over ResNet: a layer's
output is not added to its input but joined to it, along the channels. So each layer reads what all earlier ones wrote
and writes only a few channels more, the *growth rate*; nothing is learned twice, and the weights are few. Between two
*dense blocks* a *transition* halves the channels with a 1x1 convolution and the feature map by pooling, or the number
of joined channels would keep growing.

Names and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, kaiming, scaled, stem_conv, stem_pool

# Layers in each block, growth rate, channels of the stem. 21 is D2L's small one, without bottlenecks.
_FORMS: dict[int, tuple[tuple[int, int, int, int], int, int]] = {
    21: ((4, 4, 4, 4), 32, 64),
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
}
# A layer's 1x1 convolution brings its many input channels to this many times the growth rate.
_BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Normalise, 1x1 to a few channels, normalise, 3x3 to `growth` channels; joined to the input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, _BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(_BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the input's channels and `growth` new ones."""
        new = self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return torch.cat([x, new], dim=1)


class PlainDenseLayer(nn.Module):
    """Normalise, 3x3 to `growth` channels; joined to the input. The paper's first form, and D2L's."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the input's channels and `growth` new ones."""
        return torch.cat([x, self.conv1(self.relu1(self.norm1(x)))], dim=1)


def dense_block(in_channels: int, num_layers: int, growth: int, *, bottleneck: bool = True) -> nn.Sequential:
    """Return `num_layers` dense layers, each `growth` channels wider than the one before."""
    layer = DenseLayer if bottleneck else PlainDenseLayer
    layers = [layer(in_channels + before * growth, growth) for before in range(num_layers)]
    return nn.Sequential(OrderedDict((f"denselayer{i}", layer) for i, layer in enumerate(layers, 1)))


def transition(in_channels: int, channels: int) -> nn.Sequential:
    """Return the layers between two dense blocks, which halve the feature map and bring its channels down."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(in_channels, channels, 1, bias=False),
            pool=nn.AvgPool2d(2, stride=2),
        )
    )


class DenseNet(Network):
    """A stem, four dense blocks with transitions in between, global average pooling.

    Args:
        depth: 121, 161, 169 or 201 layers with weights; or 21, D2L's network of plain layers.
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        stem: "paper" (7x7 with stride 2, pooling), "small" (3x3, no first pooling)
            or "adaptive" (3x3, averaged to a fixed size), see `stem_conv`.
        width: multiplies the growth rate and the channels of the stem.
    """

    last_layer = "classifier"
    stages = (
        "features.relu0",
        "features.denseblock1",
        "features.denseblock2",
        "features.denseblock3",
        "features.norm5",
    )

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
        blocks, full_growth, full_channels = _FORMS[depth]
        growth, channels = scaled(full_growth, width), scaled(full_channels, width)
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=stem_conv(in_channels, channels, 7, stride=2, padding=3, stem=stem, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=stem_pool(nn.MaxPool2d(3, stride=2, padding=1), stem, image_size),
        )
        for i, num_layers in enumerate(blocks, 1):
            parts[f"denseblock{i}"] = dense_block(channels, num_layers, growth, bottleneck=depth != 21)
            channels += num_layers * growth
            if i < len(blocks):
                parts[f"transition{i}"] = transition(channels, channels // 2)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        kaiming(self, mode="fan_in")
        nn.init.zeros_(self.classifier.bias)

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.classifier(torch.flatten(self.avgpool(self.relu(x)), 1))
