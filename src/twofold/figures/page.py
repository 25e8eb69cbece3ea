"""A page on which panels and text are placed in inches from the top left corner, and what is written on it.

It is not placed by a layout engine: panels have one size, rows line up whatever stands in them, and text that does not
fit is cut instead of moving a panel. Names of classes, files and data are the user's, so they are drawn as they are: a
dollar sign starts no formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8
from torch import Tensor

from twofold.figures.drawing import new_figure
from twofold.figures.glyphs import JOINERS, Legible, families

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL, GAP, MARGIN = 1.7, 0.2, 0.4
STEP = CELL + GAP
# From a heading to the labels under it, from a label to its panel, from a panel to the next heading or labels.
HEADING, LABEL, BELOW = 0.25, 0.12, 0.3
LINE = 0.17
INK, FAINT, ACCENT, BAR = "0.1", "0.45", "#c8553d", "#2f6690"


class Page:
    """A page on which panels and text are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height, layout=None)
        self.legible = Legible()

    def panel(self, left: float, top: float, width: float = CELL, height: float = CELL) -> Axes:
        """Return new axes without ticks and frame."""
        bottom = 1 - (top + height) / self.height
        axes = self.figure.add_axes((left / self.width, bottom, width / self.width, height / self.height))
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, *, fit: float, size: float = 8, **style: Any) -> None:
        """Write a line, its middle at `top`, cut to `fit` inches; `style` is matplotlib's."""
        shown = self.legible(printable(text))
        written = self.figure.text(
            left / self.width,
            1 - top / self.height,
            shown,
            fontsize=size,
            va="center_baseline",
            parse_math=False,
            fontfamily=families(shown),
            **{"color": INK, **style},
        )

        canvas: Any = self.figure.canvas

        def width() -> float:
            return written.get_window_extent(canvas.get_renderer()).width / self.figure.dpi

        if width() <= fit:
            return
        fits, too_long = 0, len(shown)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            written.set_text(f"{shown[:middle].rstrip()}…")
            fits, too_long = (middle, too_long) if width() <= fit else (fits, middle)
        written.set_text(f"{shown[:fits].rstrip()}…")


def show_pixels(axes: Axes, pixels: UInt8[Tensor, "channels height width"]) -> None:
    """Show an image, grey or in colour, its pixels as squares."""
    array = pixels.cpu().permute(1, 2, 0).numpy()
    axes.imshow(array[..., 0] if array.shape[2] == 1 else array, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_anchor("NW")


def number(value: float) -> str:
    """Return a number with three digits.

    >>> number(4.4), number(123.4), number(0.01234)
    ('4.40', '123', '0.0123')
    """
    return f"{value:#.3g}".rstrip(".")


def percent(probability: float) -> str:
    """Return a probability for a person.

    >>> percent(0.9434), percent(0.0001), percent(0.0)
    ('94.3%', '<0.1%', '<0.1%')
    """
    return "<0.1%" if probability < 0.0005 else f"{100 * probability:.1f}%"


def size_words(sides: Sequence[float]) -> str:
    """Return height and width.

    >>> size_words((28, 28)), size_words((2.15384, 2.0))
    ('28x28', '2.2x2')
    """
    return "x".join(f"{side:.1f}".removesuffix(".0") for side in sides)


def printable(text: str) -> str:
    """Return `text` on one line, without what no font can draw, such as half of a broken character.

    >>> printable("a\\tb\\ud800")
    'a\ufffdb\ufffd'
    """
    # No page is wider than this.
    return "".join(letter if letter.isprintable() or letter in JOINERS else "\ufffd" for letter in text[:300])


def chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return the items in groups of `size`, the last with what is left."""
    return [items[start : start + size] for start in range(0, len(items), size)]
