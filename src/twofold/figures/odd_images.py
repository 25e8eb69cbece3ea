"""The figure of `twofold data check`: the odd images of a folder, to be looked at by a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.data.box_inspection import ODD_BOXES, BoxInspection, OddBoxes
from twofold.data.decode import BrokenImageError, open_image
from twofold.data.inspection import KINDS, Finding, Inspection
from twofold.figures.detections import draw_boxes
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
_WITHOUT_IMAGE = (
    "class imbalance",
    "class name",
    "folder problem",
    "box problem",
    "not for training",
    "format not read",
)


def draw_odd_images(inspection: Inspection) -> Figure:
    """Return the odd images by kind, at most 16 of each, with their names and what is odd about them.

    Copies stand side by side, joined by a line above them. A file that cannot be read is an empty frame.
    """
    sections = [*_box_sections(inspection)]
    for kind, meaning in KINDS.items():
        if kind not in _WITHOUT_IMAGE and (findings := inspection.of(kind)):
            num_found, cells = sum(len(finding.paths) for finding in findings), _cells(findings)
            some = f", {len(cells)} shown" if num_found > len(cells) else ""
            sections.append((f"{kind}: {num_found:,} file{'s' if num_found > 1 else ''}{some}", meaning, cells))
    longest = max((len(cells) for _, _, cells in sections), default=0)
    columns = min(_MOST_COLUMNS, max(_FEWEST_COLUMNS, longest))
    rows = sum(-(-len(cells) // columns) for _, _, cells in sections)
    height = 0.75 + len(sections) * _HEADING + rows * (_CELL + _CAPTION)
    width = columns * (_CELL + 0.1) + 0.3
    figure = new_figure(width, height, layout=None)
    title = f"{shown(inspection.root.resolve().name)}: {inspection.num_files:,} files"
    if isinstance(inspection, BoxInspection):
        legend = "the boxes that a line is about are orange, others blue"
        figure.text(0.15 / width, 1 - 0.43 / height, legend, fontsize=8, va="top", color="0.35")
    figure.text(0.15 / width, 1 - 0.2 / height, title, fontsize=12, weight="bold", va="top", parse_math=False)
    if not sections:
        figure.text(0.15 / width, 1 - 0.5 / height, "nothing odd was found", fontsize=10, va="top")
    top = 0.62
    for heading, meaning, cells in sections:
        at = 1 - top / height
        figure.text(0.15 / width, at, heading, fontsize=10, weight="bold", va="top")
        figure.text(0.15 / width, at - 0.18 / height, meaning, fontsize=8, va="top", color="0.35")
        top += _HEADING
        for index, cell in enumerate(cells):
            row, column = divmod(index, columns)
            left = 0.15 + column * (_CELL + 0.1)
            bottom = height - top - row * (_CELL + _CAPTION) - _CELL
            axes = figure.add_axes((left / width, bottom / height, _CELL / width, _CELL / height))
            joined = column > 0 and cell.group is not None and cell.group == cells[index - 1].group
            _draw_cell(axes, inspection.root / cell.path, cell, joined=joined)
        top += -(-len(cells) // columns) * (_CELL + _CAPTION)
    return figure


@dataclass(frozen=True)
class _Cell:
    """An image: its path, what is odd about it, the group that it is a copy in, and its boxes."""

    path: str
    message: str
    group: int | None = None
    odd: OddBoxes | None = None


def _box_sections(inspection: Inspection) -> list[tuple[str, str, list[_Cell]]]:
    """Return the heading, the meaning and the cells of each kind of odd boxes."""
    odd = inspection.odd if isinstance(inspection, BoxInspection) else {}
    cells = {kind: [_Cell(each.path, each.message, None, each) for each in found] for kind, found in odd.items()}
    return [(kind, ODD_BOXES[kind], cells[kind]) for kind in ODD_BOXES if cells.get(kind)]


def _cells(findings: Sequence[Finding]) -> list[_Cell]:
    """Return the files of findings; those of one finding are copies."""
    cells: list[_Cell] = []
    for group, finding in enumerate(findings):
        copies = len(finding.paths) > 1
        for path in finding.paths:
            # Among copies the folder is what tells them apart.
            words = "/".join(path.split("/")[:-1]) if copies else finding.message
            cells.append(_Cell(path, words, group if copies else None))
        if len(cells) >= _MOST:
            break
    return cells[:_MOST]


def _draw_cell(axes: Axes, path: Path, cell: _Cell, *, joined: bool) -> None:
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
        if cell.odd is not None:
            _draw_boxes(axes, cell.odd, wide / cell.odd.size[0], (left, top))
    if joined:
        axes.plot([-0.55, 0.5], [1.03, 1.03], transform=axes.transAxes, color=COLOURS[1], linewidth=2, clip_on=False)
    name = shown(path.name)
    if len(name) > _LONGEST_NAME:
        # Start and suffix tell more than the middle.
        end = _LONGEST_NAME // 2
        name = f"{name[: _LONGEST_NAME - end - 1]}…{name[-end:]}"
    words = textwrap.wrap(shown(cell.message), 25, max_lines=2, placeholder=" …")
    with without_warnings_of_glyphs():
        caption = "\n".join([name, *words])
        axes.set_xlabel(caption, fontsize=6.2, labelpad=2, linespacing=1.1, parse_math=False)


def _draw_boxes(axes: Axes, odd: OddBoxes, scale: float, corner: tuple[float, float]) -> None:
    """Draw the boxes of an image that begins at a corner of the axes: those that it is about in a colour of their own.

    A box that leads out of the image is drawn as far as the cell reaches.
    """
    order = sorted(range(len(odd.boxes)), key=lambda index: index not in odd.marked)
    left, top = corner
    boxes = []
    for index in order:
        x1, y1, x2, y2 = (value * scale for value in odd.boxes[index])
        boxes.append((left + x1, top + y1, left + x2, top + y2))
    colours = [COLOURS[0] if index in odd.marked else COLOURS[1] for index in order]
    draw_boxes(axes, boxes, (), colours, line=0.8)
