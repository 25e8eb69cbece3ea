"""The shapes of anchors, by convention or spelled out. Imports no torch: a mistake in a command is answered at once.

- D2L's: of n sizes and m ratios the n + m − 1 shapes with the first size or the first ratio;
- SSD's (Liu et al., "SSD: single shot multibox detector", 2016), as torchvision has it: a square of the map's scale, a
  square between this scale and the next map's, and for each ratio r the shape r : 1 and the shape 1 : r.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from twofold.errors import TwofoldError

Shapes = tuple[tuple[float, float], ...]  # (width, height) in parts of the image's


def d2l_shapes(sizes: Sequence[float], ratios: Sequence[float]) -> Shapes:
    """Return (s √r, s / √r) of the pairs of size and ratio with the first size or the first ratio: n + m − 1 shapes.

    >>> d2l_shapes([0.5, 0.25], [1.0, 4.0])
    ((0.5, 0.5), (0.25, 0.25), (1.0, 0.25))
    """
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    return tuple((size * math.sqrt(ratio), size / math.sqrt(ratio)) for size, ratio in pairs)


def ssd_shapes(scale: float, next_scale: float, ratios: Sequence[float]) -> Shapes:
    """Return the squares of `scale` and of √(scale · next_scale), and for each ratio r the shapes r : 1 and 1 : r.

    >>> ssd_shapes(0.2, 0.45, [4.0])
    ((0.2, 0.2), (0.30000000000000004, 0.30000000000000004), (0.4, 0.1), (0.1, 0.4))
    """
    between = math.sqrt(scale * next_scale)
    shapes = [(scale, scale), (between, between)]
    for ratio in ratios:
        w, h = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        shapes += [(w, h), (h, w)]
    return tuple(shapes)


def ssd_scales(num_maps: int, low: float = 0.15, high: float = 0.9) -> list[float]:
    """Return a scale a map, from `low` to `high` in even steps, and one more for the squares between scales.

    >>> ssd_scales(3, 0.2, 0.8)
    [0.2, 0.5, 0.8, 1.0]
    """
    steps = [low + (high - low) * k / max(1, num_maps - 1) for k in range(num_maps)]
    return [*(round(step, 4) for step in steps), 1.0]


def shapes_in_words(shapes: Sequence[Shapes]) -> str:
    """Return the shapes of each map as `parse_shapes` takes them.

    >>> shapes_in_words([((0.1, 0.2),), ((0.5, 0.5), (0.9, 0.3))])
    '0.1x0.2|0.5x0.5,0.9x0.3'
    """
    return "|".join(",".join(f"{w:.4g}x{h:.4g}" for w, h in own) for own in shapes)


def parse_shapes(text: str) -> list[Shapes]:
    """Return the shapes of each map that `text` spells: WIDTHxHEIGHT in parts of the image, a comma, | between maps.

    Raises:
        TwofoldError: it is spelled otherwise, or a side is not above 0 and at most 2.
    """
    try:
        maps = [
            tuple((float(w), float(h)) for w, h in (shape.split("x") for shape in own.split(",")))
            for own in text.split("|")
        ]
    except ValueError:
        maps = []
    if not maps or not all(0 < side <= 2 for own in maps for shape in own for side in shape):
        raise TwofoldError(
            f"anchors {text!r} must be shapes in parts of the image, such as 0.1x0.2,0.2x0.1|0.5x0.5: a comma between "
            "shapes, | between feature maps"
        )
    return maps
