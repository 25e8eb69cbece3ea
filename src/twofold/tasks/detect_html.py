"""Boxes in an image as HTML that needs nothing else, for notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from twofold.names import shown_short

# Dark enough for white text, told apart by most eyes; of more classes some share one.
_COLOURS = ("#1450b8", "#b3261e", "#18734a", "#7a3fa0", "#8a5600", "#00696f")
_LEAST_WIDTH = 360
_LONGEST_NAME = 30


def boxes_in_html(
    image: Image.Image,
    size: tuple[int, int],
    objects: Sequence[tuple[str, float, tuple[float, float, float, float]]],
) -> str:
    """Return an SVG with an image, boxes, and the class and probability of each.

    Args:
        image: the image, in any size.
        size: (height, width) of it in the pixels of the boxes.
        objects: (class, probability, box) of each, the most certain first.
    """
    height, width = size
    content = io.BytesIO()
    is_small = max(image.size) <= 256
    image.save(content, "PNG" if is_small else "JPEG", **({} if is_small else {"quality": 85}))
    uri = f"data:image/{'png' if is_small else 'jpeg'};base64,{base64.b64encode(content.getvalue()).decode()}"
    shown_width = max(_LEAST_WIDTH, image.width)
    unit = width / shown_width  # a pixel of the page, in those of the image
    names = list(dict.fromkeys(name for name, _, _ in objects))
    look = ' style="image-rendering:pixelated"' if is_small else ""
    parts = [f'<image href="{uri}" width="{width}" height="{height}" preserveAspectRatio="none"{look}/>']
    for name, probability, (x1, y1, x2, y2) in reversed(objects):
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        box = f'x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" height="{y2 - y1:.2f}" fill="none"'
        words = escape(f"{shown_short(name, most=_LONGEST_NAME)} {100 * probability:.0f}%")
        at = f'x="{x1 + 3 * unit:.2f}" y="{max(y1, 0) + 13 * unit:.2f}"'
        parts.append(
            f'<rect {box} stroke="#fff" stroke-width="{4 * unit:.2f}"/>'
            f'<rect {box} stroke="{colour}" stroke-width="{2 * unit:.2f}"><title>{words}</title></rect>'
            f'<text {at} font-size="{12 * unit:.2f}" font-family="sans-serif" fill="{colour}" stroke="#fff" '
            f'stroke-width="{3 * unit:.2f}" paint-order="stroke">{words}</text>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{shown_width}" style="max-width:100%;height:auto;display:block">'
        f"{''.join(parts)}</svg>"
    )
