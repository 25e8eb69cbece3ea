"""Where an image lies in a network's input, so that boxes go from one to the other."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from twofold.data.spec import PixelSpec


def placement(sizes: Int64[Tensor, "n 2"], spec: PixelSpec) -> Float64[Tensor, "n 4"]:
    """Return where `data.pixels.to_pixels` puts images: scale_x, scale_y, shift_x, shift_y; x' = x · scale_x + shift_x.

    Coordinates are in pixels from the left and upper edges, before in the images and after in the result.

    Args:
        sizes: (height, width) of each image as it is stored, upright.
        spec: the size, and how an image of another shape is made to fit.
    """
    wanted = torch.tensor(spec.image_size, dtype=torch.float64)
    given = sizes.double()
    if spec.resize == "stretch":
        scale, shift = wanted / given, torch.zeros_like(given)
    elif spec.resize == "crop":
        scale = (wanted / given).amax(dim=1, keepdim=True).expand(-1, 2)
        shift = (wanted - given * scale) / 2
        # Where nothing is scaled, whole pixels are cut off.
        shift = torch.where(scale == 1, -((given - wanted) / 2).floor(), shift)
    else:
        inner = (given * (wanted / given).amin(dim=1, keepdim=True)).round().clamp(min=1)
        scale, shift = inner / given, ((wanted - inner) / 2).floor()
    return torch.cat([scale.flip(1), shift.flip(1)], dim=1)
