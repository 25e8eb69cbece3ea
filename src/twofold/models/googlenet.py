"""GoogLeNet: several kernel sizes side by side, of which training chooses.

Szegedy et al., "Going deeper with convolutions", 2015; with batch normalisation, as torchvision has it. New over VGG:
the *Inception block* runs four branches side by side (1x1; 3x3; a larger kernel; pooling) and joins their channels, so
that the kernel's size need not be chosen. 1x1 convolutions before the large kernels first bring the channels down:
that makes the block cheap, and the network, 22 layers deep, has a twelfth of AlexNet's weights. Two auxiliary heads,
half way up, can be trained along, to carry gradients to the early layers.

torchvision's third branch has 3x3 kernels where the paper has 5x5; so has this one, or its weights would not fit. Names
and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.models.network import Network, Stem, kaiming, scaled, stem_conv, stem_pool

# The factor of each auxiliary head's loss in the sum with the network's own.
AUXILIARY_WEIGHT = 0.3

# Channels of each block: in, then 1x1; 3x3 reduced and full; larger reduced and full; after pooling.
_BLOCKS = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return relu(bn(conv(x)))."""
        return self.relu(self.bn(self.conv(x)))


def _layer(in_channels: int, channels: int, kernel: int) -> ConvNormReLU:
    return ConvNormReLU(nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False))


class Inception(nn.Module):
    """Four branches of the same height and width, joined along the channels."""

    def __init__(
        self, in_channels: int, one: int, three_reduced: int, three: int, large_reduced: int, large: int, pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = _layer(in_channels, one, 1)
        self.branch2 = nn.Sequential(_layer(in_channels, three_reduced, 1), _layer(three_reduced, three, 3))
        self.branch3 = nn.Sequential(_layer(in_channels, large_reduced, 1), _layer(large_reduced, large, 3))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), _layer(in_channels, pooled, 1)
        )

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the channels of all four branches."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """A small classifier on a feature map half way up; it is not used in eval mode."""

    def __init__(self, in_channels: int, num_classes: int, width: float) -> None:
        super().__init__()
        channels, dense = scaled(128, width), scaled(1024, width)
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = _layer(in_channels, channels, 1)
        self.fc1 = nn.Linear(channels * 4 * 4, dense)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(dense, num_classes)

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return this head's logits."""
        x = torch.flatten(self.conv(self.avgpool(x)), 1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(Network):
    """A stem, nine Inception blocks, global average pooling.

    In training mode with `auxiliary` heads, `forward` returns (logits, those of the first head, those of the second
    head), and the loss of each head counts `AUXILIARY_WEIGHT` times; else it returns the logits.

    Args:
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides nothing but what `feature_info` says.
        stem: "paper" (7x7 with stride 2, pooling), "small" (3x3, no first pooling)
            or "adaptive" (3x3, averaged to a fixed size), see `stem_conv`.
        width: multiplies every number of channels.
        auxiliary: train two more heads along.
        dropout: probability before the last layer.
    """

    last_layer = "fc"
    stages = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        image_size: tuple[int, int] = (224, 224),
        stem: Stem = "paper",
        width: float = 1.0,
        auxiliary: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(in_channels, image_size)
        c64, c192 = scaled(64, width), scaled(192, width)
        self.conv1 = ConvNormReLU(stem_conv(in_channels, c64, 7, stride=2, padding=3, stem=stem, bias=False))
        self.maxpool1 = stem_pool(nn.MaxPool2d(3, stride=2, ceil_mode=True), stem, image_size)
        self.conv2 = _layer(c64, c64, 1)
        self.conv3 = _layer(c64, c192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        channels = c192

        def block(name: str) -> Inception:
            nonlocal channels
            _, *paper = _BLOCKS[name]
            one, three_reduced, three, large_reduced, large, pooled = (scaled(full, width) for full in paper)
            made = Inception(channels, one, three_reduced, three, large_reduced, large, pooled)
            channels = one + three + large + pooled
            return made

        self.inception3a = block("inception3a")
        self.inception3b = block("inception3b")
        self.inception4a = block("inception4a")
        early = channels
        self.inception4b = block("inception4b")
        self.inception4c = block("inception4c")
        self.inception4d = block("inception4d")
        late = channels
        self.inception4e = block("inception4e")
        self.inception5a = block("inception5a")
        self.inception5b = block("inception5b")
        self.aux1 = AuxiliaryHead(early, num_classes, width) if auxiliary else None
        self.aux2 = AuxiliaryHead(late, num_classes, width) if auxiliary else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        kaiming(self)

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features h w"]:
        """Return the feature map of a batch of images."""
        return self._named_maps(x)[self.stages[-1]]

    def stage_maps(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps after each of the stages."""
        maps = self._named_maps(images)
        return [maps[stage] for stage in self.stages]

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"] | tuple[Float[Tensor, "batch classes"], ...]:
        """Return the logits; in training mode with auxiliary heads, theirs as well."""
        maps = self._named_maps(images)
        logits = self.head(maps[self.stages[-1]])
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(maps["inception4a"]), self.aux2(maps["inception4d"])
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer of the network, and of the auxiliary heads."""
        super().reset_head(num_classes)
        if self.aux1 is not None:
            self._replace_last_layer("aux1.fc2", num_classes)
            self._replace_last_layer("aux2.fc2", num_classes)

    def _named_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature maps after the stages, and those of the auxiliary heads (inception4a and 4d)."""
        maps = {"conv1": self.conv1(x)}
        maps["conv3"] = self.conv3(self.conv2(self.maxpool1(maps["conv1"])))
        maps["inception3b"] = self.inception3b(self.inception3a(self.maxpool2(maps["conv3"])))
        maps["inception4a"] = self.inception4a(self.maxpool3(maps["inception3b"]))
        maps["inception4d"] = self.inception4d(self.inception4c(self.inception4b(maps["inception4a"])))
        maps["inception4e"] = self.inception4e(maps["inception4d"])
        maps["inception5b"] = self.inception5b(self.inception5a(self.maxpool4(maps["inception4e"])))
        return maps
