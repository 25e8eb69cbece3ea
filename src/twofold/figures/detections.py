"""Boxes drawn into an image: what a detector found, or what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twofold.figures.drawing import COLOURS, DPI, new_figure, without_warnings_of_glyphs
from twofold.figures.glyphs import Legible, families
from twofold.figures.labels import Rectangle, free_place
from twofold.names import shown_short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

# The longer side of a figure in pixels: small images are enlarged by whole factors, large ones made smaller.
_LEAST_SIDE, _MOST_SIDE = 640, 4000
_LONGEST_NAME = 40

Box = tuple[float, float, float, float]
"""Corners (x1, y1, x2, y2)."""


def draw_detections(image: Image.Image, objects: Sequence[tuple[str, float | None, Box]]) -> Figure:
    """Return an image with boxes, their names and probabilities, as large as the image itself where it is not small.

    Args:
        image: an upright image.
        objects: (class, probability, box) of each, the box in pixels of the image; None for a box without one.
    """
    longest = max(image.size)
    scale = max(1, -(-_LEAST_SIDE // longest)) if longest <= _MOST_SIDE else _MOST_SIDE / longest
    width, height = (side * scale / DPI for side in image.size)
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    small = image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)))
    show_image(axes, small, size=image.size)
    names = [f"{name} {100 * share:.0f}%" if share is not None else name for name, share, _ in objects]
    colours = colours_of([name for name, _, _ in objects])
    # Names are a sixtieth of the longer side, and never too small to be read.
    points = max(7.0, longest * scale / 60 * 72 / DPI)
    legible = Legible()
    draw_boxes(axes, [box for _, _, box in objects], names, colours, points=points, legible=legible)
    legible.say()
    return figure


def colours_of(names: Sequence[str]) -> list[str]:
    """Return a colour for each name, the same for the same name; of many names some share one."""
    order = list(dict.fromkeys(names))
    return [COLOURS[order.index(name) % len(COLOURS)] for name in names]


def show_image(axes: Axes, image: Any, *, size: tuple[int, int] | None = None) -> None:
    """Show an image, or its pixels as an array, over axes whose units are its pixels, from corner to corner.

    Args:
        axes: whose frame and ticks go.
        image: of Pillow or an array (height, width) or (height, width, 3), uint8.
        size: (width, height) of the image in the units of its boxes; its own if left out.
    """
    import numpy as np

    pixels = np.asarray(image)
    width, height = size or (pixels.shape[1], pixels.shape[0])
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if pixels.ndim == 2 else {}
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="nearest", aspect="auto", **grey)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()


def draw_boxes(
    axes: Axes,
    boxes: Sequence[Box],
    names: Sequence[str] = (),
    colours: Sequence[str] | str = COLOURS[0],
    *,
    points: float = 7.0,
    line: float = 1.6,
    dashed: bool = False,
    legible: Legible | None = None,
) -> None:
    """Draw boxes into axes that show an image, each name where it covers no other if there is room.

    Args:
        axes: from `show_image`.
        boxes: corners in the axes' units, the most important first.
        names: of the boxes; none are written if left out.
        colours: of the boxes, or one for all.
        points: the size of the names.
        line: the width of the lines in points.
        dashed: whether the lines are.
        legible: collects the characters that no font has.
    """
    from matplotlib.patches import Rectangle as Patch

    left, right = sorted(axes.get_xlim())
    top, bottom = sorted(axes.get_ylim())
    each = [colours] * len(boxes) if isinstance(colours, str) else list(colours)
    for (x1, y1, x2, y2), colour in reversed(list(zip(boxes, each, strict=True))):
        # Two frames, visible on light and dark.
        for edge, width in (("white", line + 1.6), (colour, line)):
            style = "--" if dashed and edge == colour else "-"
            axes.add_patch(Patch((x1, y1), x2 - x1, y2 - y1, fill=False, ec=edge, lw=width, ls=style))
    taken: list[Rectangle] = []
    with without_warnings_of_glyphs():
        for box, name, colour in zip(boxes, names, each, strict=False):
            size = _write(axes, name, (left, top), colour, points, legible)
            text = axes.texts[-1]
            frame = (left, top, right, bottom)
            own = max(left, min(box[0], right - size[0])), max(top, min(box[1], bottom - size[1]))
            place = free_place(box, size, frame, taken) or (*own, own[0] + size[0], own[1] + size[1])
            taken.append(place)
            text.set_position(((place[0] + place[2]) / 2, (place[1] + place[3]) / 2))


def _write(
    axes: Axes, name: str, at: tuple[float, float], colour: str, points: float, legible: Legible | None
) -> tuple[float, float]:
    """Write a name on a ground of its colour; return its width and height in the units of the axes."""
    words = shown_short(name, most=_LONGEST_NAME)
    words = words if legible is None else legible(words)
    ground = {"facecolor": colour, "edgecolor": "none", "pad": points * 0.15}
    text = axes.text(
        *at, words, color=_ink_on(colour), fontsize=points, ha="center", va="center", bbox=ground, parse_math=False,
        fontfamily=families(words), clip_on=True,
    )  # fmt: skip
    canvas: Any = axes.figure.canvas
    extent = text.get_window_extent(canvas.get_renderer())
    pad = 2 * points * 0.15 * axes.figure.dpi / 72
    inverse = axes.transData.inverted()
    (x1, y1), (x2, y2) = inverse.transform([(0, 0), (extent.width + pad, extent.height + pad)])
    return abs(x2 - x1), abs(y2 - y1)


def _ink_on(colour: str) -> str:
    """Return black or white, whichever can be read on a colour: by its relative luminance, as WCAG has it."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "black"
