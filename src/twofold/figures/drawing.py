"""What all figures share: a page that needs no display, plain axes, colours, and saving, by matplotlib.

The same figure gives the same bytes of SVG and PDF: no date, no random identifiers.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twofold.figures.glyphs import make_legible
from twofold.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color universal design" (2008), the ones that are dark enough for a line on white.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f6000")
DPI = 150
_STYLE: dict[Any, Any] = {"svg.hashsalt": "twofold", "svg.fonttype": "path"}


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of so many inches, drawn without a display.

    The layout "constrained" keeps panels and labels apart; None leaves everything where it was put.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, title: str) -> None:
    """Take away what is no data: two spines, the minor grid; set the title on the left."""
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)


def save_figure(figure: Figure, path: Path, *, tight: bool = False) -> None:
    """Write a figure to `path` (.png, .svg or .pdf), atomically; the same figure gives the same bytes.

    Names in its texts may hold anything: see `twofold.names`.

    `tight` widens the page to what was written outside of it, such as a line below.

    Raises:
        RunError: it cannot be written.
    """
    from matplotlib import rc_context

    kind = path.suffix[1:].lower()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    make_legible(figure)
    with atomic_path(path) as temporary, rc_context(_STYLE), without_warnings_of_glyphs():
        figure.savefig(
            temporary, dpi=DPI, format=kind, metadata=dates.get(kind), bbox_inches="tight" if tight else None
        )
        if kind == "svg":
            # Lines to a hundredth of a point: half the bytes, and no eye sees the rest.
            svg = temporary.read_text(encoding="utf-8")
            svg = re.sub(r'(?s) d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
            temporary.write_text(svg, encoding="utf-8")


@contextlib.contextmanager
def without_warnings_of_glyphs() -> Iterator[None]:
    """Draw without warnings about fonts, which the user can do nothing about: `glyphs` has done what can be done."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def spread(positions: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Return positions at least `gap` apart, in the same order, from `low` to `high` if there is room, moved little.

    >>> spread([10.0, 11.0, 50.0], gap=4.0, low=0.0, high=60.0)
    [8.5, 12.5, 50.0]
    """
    order = sorted(range(len(positions)), key=lambda index: (positions[index], index))
    # Neighbours that are too close become one block, centred where its members would be on average.
    blocks: list[list[int]] = []

    def top(block: list[int]) -> float:
        height = gap * (len(block) - 1)
        wanted = sum(positions[index] for index in block) / len(block) - height / 2
        return max(low, min(wanted, high - height))

    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and top(blocks[-1]) < top(blocks[-2]) + gap * len(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    moved = [0.0] * len(positions)
    for block in blocks:
        for offset, index in enumerate(block):
            moved[index] = round(top(block) + gap * offset, 1)
    return moved
