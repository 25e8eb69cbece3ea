"""Sprint: a small network that classifies Fashion-MNIST well after about a minute of training on two CPU cores.

It was designed for the recipe `speedrun`; what was tried on the way is in `docs/log.md`. Three choices make it fast
without costing accuracy:

- Max pooling comes right after the convolution, before normalisation and ReLU. These are increasing functions where
  the scale is positive, so the result is the same in either order, but they process a quarter of the elements.
- One residual convolution (He et al., 2016) at a quarter of the side, where convolutions are cheap.
- The dense head takes the whole 7x7 feature map rather than its average. Clothes are centred, so the position of a
  feature says what it is; that raised accuracy most, at no cost in time.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from twofold.errors import TwofoldError
from twofold.models.network import Network, scaled

_CHANNELS = (32, 64)


class PooledConv(nn.Module):
    """3x3 convolution, 2x2 max pooling, then batch normalisation and ReLU of what is left."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return a feature map of half the side."""
        return self.relu(self.bn(self.pool(self.conv(x))))


class Sprint(Network):
    """Two pooled convolutions, one residual convolution, one dense layer.

    Args:
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides the dense layer.
        width: multiplies every number of channels.

    Raises:
        TwofoldError: an image side below 4 px.
    """

    last_layer = "fc"
    stages = ("layer1", "layer2", "residual")

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: tuple[int, int] = (28, 28),
        width: float = 1.0,
    ) -> None:
        super().__init__(in_channels, image_size)
        map_height, map_width = image_size[0] // 4, image_size[1] // 4
        if min(map_height, map_width) < 1:
            raise TwofoldError(f"sprint needs images of at least 4x4 px, got {image_size[0]}x{image_size[1]}")
        narrow, wide = (scaled(channels, width) for channels in _CHANNELS)
        self.layer1 = PooledConv(in_channels, narrow)
        self.layer2 = PooledConv(narrow, wide)
        self.residual = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)
        )
        self.fc = nn.Linear(wide * map_height * map_width, num_classes)

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features h w"]:
        """Return the feature map of a batch of images."""
        x = self.layer2(self.layer1(x))
        return x + self.residual(x)

    def stage_maps(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the feature maps after each of the stages."""
        first = self.layer1(images)
        second = self.layer2(first)
        return [first, second, second + self.residual(second)]

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        # Flattened channels-last, as it is in memory, so that neither forward nor backward copies it.
        return self.fc(x.permute(0, 2, 3, 1).flatten(1))
