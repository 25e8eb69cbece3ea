"""The figure of `twofold augment`: an image, what an augmentation makes of it, and the drawn parameters under each.

Everything is placed in inches from the top left corner of the page, so that images have one size and rows line up
whatever stands under them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twofold.figures.drawing import new_figure

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from matplotlib.figure import Figure
    from torch import Tensor

COLUMNS = 6
_CELL, _GAP, _MARGIN, _TOP = 1.75, 0.22, 0.4, 1.0
# From an image to its first line, from line to line, from the last line to the next image, all in inches.
_BELOW, _LINE, _NEXT = 0.14, 0.145, 0.2
_TEXT_SIZE = 7.5
_INK, _FAINT = "0.1", "0.4"
# Up to this many pixels a side, an image is drawn with its pixels as squares.
_SMALL = 64


def draw_gallery(
    original: UInt8[Tensor, "channels height width"],
    changed: Sequence[UInt8[Tensor, "channels out_h out_w"]],
    captions: Sequence[Sequence[str]],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """Return a figure with the original first, then each changed image with its caption, a phrase a line.

    The original is as training gets it; the changed images are all of one size.
    """
    height, width = original.shape[1:]
    cells = [(original, ["original", f"{width}×{height} px"])]
    cells += [(image, list(phrases) or ["unchanged"]) for image, phrases in zip(changed, captions, strict=True)]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    image_height = _CELL * min(1.0, height / width)
    depths = [image_height + _BELOW + _LINE * max(len(caption) for _, caption in row) + _NEXT for row in rows]

    page_width = 2 * _MARGIN + COLUMNS * (_CELL + _GAP) - _GAP
    page_height = _TOP + sum(depths) + _MARGIN - _NEXT
    figure = new_figure(page_width, page_height, layout=None)

    def text(left: float, top: float, words: str, **style: object) -> None:
        figure.text(left / page_width, 1 - top / page_height, words, va="center_baseline", parse_math=False, **style)  # type: ignore[arg-type]

    text(_MARGIN, 0.42, title, fontsize=15, weight="bold", color=_INK)
    text(_MARGIN, 0.7, subtitle, fontsize=9, color=_FAINT)
    top = _TOP
    for row, depth in zip(rows, depths, strict=True):
        for column, (image, caption) in enumerate(row):
            left = _MARGIN + column * (_CELL + _GAP)
            bottom = 1 - (top + image_height) / page_height
            box = (left / page_width, bottom, _CELL / page_width, image_height / page_height)
            axes = figure.add_axes(box)
            axes.set_axis_off()
            # An image stands at the left of its cell, in its own shape.
            axes.set_anchor("NW")
            pixels = image.cpu().expand(3, -1, -1).permute(1, 2, 0).numpy()
            axes.imshow(pixels, interpolation="nearest" if max(image.shape[1:]) <= _SMALL else None)
            for line, phrase in enumerate(caption):
                first = image is original and line == 0
                style = {"color": _INK, "weight": "bold"} if first else {"color": _FAINT if image is original else _INK}
                text(left, top + image_height + _BELOW + line * _LINE, phrase, fontsize=_TEXT_SIZE, **style)
        top += depth
    return figure
