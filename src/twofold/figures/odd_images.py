"""The figure of `twofold data check`: the odd images of a folder, to be looked at by a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.data.decode import BrokenImageError, open_image
from twofold.data.inspection import KINDS, Finding, Inspection
from twofold.figures.drawing import COLOURS, new_figure, without_warnings_of_glyphs
from twofold.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEWEST_COLUMNS, _MOST_COLUMNS = 5, 8
_MOST = 16
_CELL = 1.25
_CAPTION = 0.5
_HEADING = 0.47
_PIXELS = 240
_LONGEST_NAME = 22
# Classes and folders have no image of their own.
_WITHOUT_IMAGE = ("class imbalance", "class name", "folder problem", "not for training", "format not read")


def draw_odd_images(inspection: Inspection) -> Figure:
    """Return the odd images by kind, at most 16 of each, with their names and what is odd about them.

    Copies stand side by side, joined by a line above them. A file that cannot be read is an empty frame.
    """
    sections = [
        (kind, _cells(inspection.of(kind))) for kind in KINDS if kind not in _WITHOUT_IMAGE and inspection.of(kind)
    ]
    longest = max((len(cells) for _, cells in sections), default=0)
    columns = min(_MOST_COLUMNS, max(_FEWEST_COLUMNS, longest))
    rows = sum(-(-len(cells) // columns) for _, cells in sections)
    height = 0.75 + len(sections) * _HEADING + rows * (_CELL + _CAPTION)
    width = columns * (_CELL + 0.1) + 0.3
    figure = new_figure(width, height, layout=None)
    title = f"{shown(inspection.root.resolve().name)}: {inspection.num_files:,} files"
    figure.text(0.15 / width, 1 - 0.2 / height, title, fontsize=12, weight="bold", va="top", parse_math=False)
    if not sections:
        figure.text(0.15 / width, 1 - 0.5 / height, "nothing odd was found", fontsize=10, va="top")
    top = 0.62
    for kind, cells in sections:
        num_found = sum(len(finding.paths) for finding in inspection.of(kind))
        some = f", {len(cells)} shown" if num_found > len(cells) else ""
        heading = f"{kind}: {num_found:,} file{'s' if num_found > 1 else ''}{some}"
        at = 1 - top / height
        figure.text(0.15 / width, at, heading, fontsize=10, weight="bold", va="top")
        figure.text(0.15 / width, at - 0.18 / height, KINDS[kind], fontsize=8, va="top", color="0.35")
        top += _HEADING
        for index, (path, message, group) in enumerate(cells):
            row, column = divmod(index, columns)
            left = 0.15 + column * (_CELL + 0.1)
            bottom = height - top - row * (_CELL + _CAPTION) - _CELL
            axes = figure.add_axes((left / width, bottom / height, _CELL / width, _CELL / height))
            joined = column > 0 and group is not None and group == cells[index - 1][2]
            _draw_cell(axes, inspection.root / path, message, joined=joined)
        top += -(-len(cells) // columns) * (_CELL + _CAPTION)
    return figure


def _cells(findings: Sequence[Finding]) -> list[tuple[str, str, int | None]]:
    """Return for each file its path, what is odd, and the number of the group that it is a copy in."""
    cells: list[tuple[str, str, int | None]] = []
    for group, finding in enumerate(findings):
        copies = len(finding.paths) > 1
        for path in finding.paths:
            # Among copies the folder is what tells them apart.
            words = "/".join(path.split("/")[:-1]) if copies else finding.message
            cells.append((path, words, group if copies else None))
        if len(cells) >= _MOST:
            break
    return cells[:_MOST]


def _draw_cell(axes: Axes, path: Path, message: str, *, joined: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("0.96")
    axes.spines[:].set_color("0.8")
    try:
        image = open_image(path)
    except BrokenImageError:
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.8)
        axes.plot([0, 1], [1, 0], color="0.8", linewidth=0.8)
    else:
        image.thumbnail((_PIXELS, _PIXELS))
        grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.mode == "L" else {}
        wide, high = image.size
        longer = max(wide, high)
        # The image in the middle of a square, whatever its shape.
        left, top = (longer - wide) / 2, (longer - high) / 2
        axes.imshow(image, extent=(left, left + wide, top + high, top), interpolation="antialiased", **grey)
        axes.set_xlim(0, longer)
        axes.set_ylim(longer, 0)
    if joined:
        axes.plot([-0.55, 0.5], [1.03, 1.03], transform=axes.transAxes, color=COLOURS[1], linewidth=2, clip_on=False)
    name = shown(path.name)
    if len(name) > _LONGEST_NAME:
        # Start and suffix tell more than the middle.
        end = _LONGEST_NAME // 2
        name = f"{name[: _LONGEST_NAME - end - 1]}…{name[-end:]}"
    words = textwrap.wrap(shown(message), 25, max_lines=2, placeholder=" …")
    with without_warnings_of_glyphs():
        caption = "\n".join([name, *words])
        axes.set_xlabel(caption, fontsize=6.2, labelpad=2, linespacing=1.1, parse_math=False)
