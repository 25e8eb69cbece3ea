"""LeNet: convolutions that detect strokes, pooling that tolerates small shifts, dense layers that classify.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998. New then: the
layers keep the two dimensions of the image. A dense layer on pixels ignores which are neighbours and needs a weight
for every pair of input and output; a 5x5 convolution has 25 weights for each pair of channels and uses them at every
position.

Two forms. `lenet` in the registry is D2L's: sigmoid after each layer, 2x2 max pooling, no padding. Its sigmoids
saturate, so it learns slowly. `lenet-bn` puts batch normalisation before each activation (Ioffe and Szegedy, 2015) and
takes ReLU instead of the sigmoid: the same shapes, several times faster to train.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from twofold.errors import TwofoldError
from twofold.models.network import Network, scaled

_KERNEL = 5
_POOL = 2


def _side_after_features(pixels: int) -> int:
    for _ in range(2):
        pixels = (pixels - _KERNEL + 1) // _POOL
    return pixels


class LeNet(Network):
    """LeNet for images of any size from 16 px, any channels and classes.

    Args:
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: (height, width) in pixels; decides the first dense layer.
        activation: "sigmoid" (D2L's) or "relu".
        batch_norm: normalise before each activation.
        width: multiplies every number of channels.

    Raises:
        TwofoldError: an image side below 16 px.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: tuple[int, int] = (28, 28),
        activation: Literal["sigmoid", "relu"] = "sigmoid",
        batch_norm: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__(in_channels, image_size)
        height, width_px = (_side_after_features(side) for side in image_size)
        if min(height, width_px) < 1:
            raise TwofoldError(f"LeNet needs images of at least 16x16 px, got {image_size[0]}x{image_size[1]}")

        def activate(features: int, norm: type[nn.Module]) -> list[nn.Module]:
            function = nn.Sigmoid() if activation == "sigmoid" else nn.ReLU(inplace=True)
            return [norm(features), function] if batch_norm else [function]

        c6, c16, c120, c84 = (scaled(channels, width) for channels in (6, 16, 120, 84))
        # A bias right before batch normalisation would be subtracted again with the mean.
        bias = not batch_norm
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c6, _KERNEL, bias=bias),
            *activate(c6, nn.BatchNorm2d),
            nn.MaxPool2d(_POOL),
            nn.Conv2d(c6, c16, _KERNEL, bias=bias),
            *activate(c16, nn.BatchNorm2d),
            nn.MaxPool2d(_POOL),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(c16 * height * width_px, c120, bias=bias),
            *activate(c120, nn.BatchNorm1d),
            nn.Linear(c120, c84, bias=bias),
            *activate(c84, nn.BatchNorm1d),
            nn.Linear(c84, num_classes),
        )

        per_conv = 4 if batch_norm else 3
        self.stages = (f"features.{per_conv - 1}", f"features.{2 * per_conv - 1}")
        self.last_layer = f"classifier.{len(self.classifier) - 1}"

    def head(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of feature maps."""
        return self.classifier(x)
