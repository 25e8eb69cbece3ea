"""Anchors: the boxes of fixed shapes that a detector looks for objects near, at every pixel of its feature maps.

`scratch.boxes.anchors` has the book's, to be read. Here `shapes` says which shapes the pixels of each map have, by the
book's convention or by SSD's, and `grid_anchors` lays them out for all maps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from twofold.detect.shapes import Shapes


@dataclass(frozen=True)
class AnchorMap:
    """The anchors of one feature map.

    Attributes:
        size: (height, width) of the map.
        shapes: of the anchors at each of its pixels.
        step: distance of the centres of two pixels in parts of the image's (height, width); 1 / size if left out.
    """

    size: tuple[int, int]
    shapes: Shapes
    step: tuple[float, float] | None = None


def grid_anchors(maps: Sequence[AnchorMap], *, clip: bool = False) -> Float32[Tensor, "anchors 4"]:
    """Return the anchors of several maps as corners in parts of the image: map by map, row by row, pixel by pixel.

    Args:
        maps: the finest first.
        clip: let no anchor be wider or higher than the image, as SSD does.
    """
    parts = []
    for one in maps:
        height, width = one.size
        down, right = one.step or (1 / height, 1 / width)
        shapes = torch.tensor(one.shapes, dtype=torch.float32)
        if clip:
            shapes = shapes.clamp(max=1.0)
        cy, cx = torch.meshgrid(
            (torch.arange(height, dtype=torch.float32) + 0.5) * down,
            (torch.arange(width, dtype=torch.float32) + 0.5) * right,
            indexing="ij",
        )
        centers = torch.stack([cx, cy], dim=2).view(-1, 1, 2)
        half = shapes.expand(height * width, -1, 2) / 2
        parts.append(torch.cat([centers - half, centers + half], dim=2).flatten(0, 1))
    return torch.cat(parts)
