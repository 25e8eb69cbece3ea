"""The figures of `twofold explain`: what a network sees in an image, and what excites a channel.

Everything is placed in inches from the top left corner of the page, not by a layout engine: panels have one size, rows
line up whatever stands in them, and text that does not fit is cut instead of moving a panel.

Names of classes, files and data are the user's, so they are drawn as they are: a dollar sign starts no formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from twofold.figures.drawing import new_figure, without_warnings_of_glyphs
from twofold.figures.glyphs import JOINERS, Legible, families
from twofold.interpret import ChannelView, ClassHeat, Example, Explanation, StageView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL, _GAP, _MARGIN = 1.7, 0.2, 0.4
_STEP = _CELL + _GAP
_COLUMNS = 6
_TOP_CLASSES = 5
# From a heading to the labels under it, from a label to its panel, from a panel to the next heading or labels.
_HEADING, _LABEL, _BELOW = 0.25, 0.12, 0.3
_LINE = 0.17
_INK, _FAINT, _ACCENT, _BAR = "0.1", "0.45", "#c8553d", "#2f6690"


class _Page:
    """A page on which panels and text are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height, layout=None)
        self.legible = Legible()

    def panel(self, left: float, top: float, width: float = _CELL, height: float = _CELL) -> Axes:
        """Return new axes without ticks and frame."""
        bottom = 1 - (top + height) / self.height
        axes = self.figure.add_axes((left / self.width, bottom, width / self.width, height / self.height))
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, *, fit: float, size: float = 8, **style: Any) -> None:
        """Write a line, its middle at `top`, cut to `fit` inches; `style` is matplotlib's."""
        shown = self.legible(_printable(text))
        written = self.figure.text(
            left / self.width,
            1 - top / self.height,
            shown,
            fontsize=size,
            va="center_baseline",
            parse_math=False,
            fontfamily=families(shown),
            **{"color": _INK, **style},
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


def draw_explanation(explanation: Explanation, *, title: str) -> Figure:
    """Return the figure of an explanation; `title` names the image.

    Its panels are, in this order: the image, the prediction, a Grad-CAM for each class, the maps of each stage.
    """
    with without_warnings_of_glyphs():
        beside = _COLUMNS - 3
        rows_of_heats = [explanation.heats[:beside], *_chunks(explanation.heats[beside:], _COLUMNS)]
        row = _LABEL + _panel_height(explanation.pixels) + _BELOW
        first_row = _LABEL + _CELL + _BELOW
        num_stages = len(explanation.stages)
        top = 1.05
        height = top + _HEADING + first_row + row * (len(rows_of_heats) - 1) + (_HEADING + row) * num_stages + 0.4
        page = _Page(2 * _MARGIN + _COLUMNS * _STEP - _GAP, height)
        full = page.width - 2 * _MARGIN
        best = explanation.prediction
        page.text(_MARGIN, 0.4, f"{title}: {', '.join(best.answers)}", size=15, fit=full, weight="bold")
        page.text(_MARGIN, 0.68, f"as {explanation.architecture} sees it", size=9, fit=full, color=_FAINT)

        _draw_prediction(page, explanation, top)
        left = _MARGIN + (_COLUMNS - beside) * _STEP
        heat_stage = explanation.heat_stage
        words = f"what speaks for a class, in the {_size(heat_stage.map_size)} maps of {heat_stage.name}"
        page.text(left, top, "Grad-CAM", size=10, fit=_CELL, weight="bold")
        page.text(left + _STEP, top, words, size=9, fit=(beside - 1) * _STEP - _GAP, color=_FAINT)
        top += _HEADING
        for index, heats in enumerate(rows_of_heats):
            _draw_heats(page, explanation, heats, left, top)
            left, top = _MARGIN, top + (first_row if index == 0 else row)
        for stage in explanation.stages:
            _draw_stage(page, stage, top)
            top += _HEADING + row
        legend = (
            "Grad-CAM: the redder, the more it raises the class's logit; each image in its own scale. Maps: the most "
            "active on average, a row in one scale, from its least (or 0) in violet to its most in yellow."
        )
        page.text(_MARGIN, top, legend, fit=full, color=_FAINT)
        if explanation.flip_average:
            text = "The prediction is the mean over the image and its mirror image; the rest is the image's own."
            page.text(_MARGIN, top + _LINE, text, fit=full, color=_FAINT)
    page.legible.say()
    return page.figure


def draw_channel(view: ChannelView) -> Figure:
    """Return the figure of the images that excite a channel: the user's own first, where there is one."""
    with without_warnings_of_glyphs():
        columns = 3
        own_width = 0.0 if view.own is None else _STEP + _GAP
        band = _LINE + _LABEL + _panel_height(view.examples[0].pixels) + _BELOW
        rows = _chunks(view.examples, columns)
        first_top = 1.2
        width = 2 * _MARGIN + own_width + columns * _STEP - _GAP
        page = _Page(width, first_top + band * len(rows) + 0.3)
        full = page.width - 2 * _MARGIN
        channel = view.channel
        page.text(
            _MARGIN, 0.4, f"What excites channel {channel.index} of {channel.stage}", size=13, fit=full, weight="bold"
        )
        seen = f"{view.architecture}, {view.num_images:,} images of {view.data} {view.split}"
        page.text(_MARGIN, 0.68, seen, size=9, fit=full, color=_FAINT)
        left = _MARGIN
        if view.own is not None:
            _draw_example(page, view.own, left, first_top)
            left += own_width
        for row, examples in enumerate(rows):
            for column, example in enumerate(examples):
                _draw_example(page, example, left + column * _STEP, first_top + row * band)
        boxed = "Number: the largest activation in the map. Frame: the pixels that it depends on; none: all."
        page.text(_MARGIN, page.height - 0.3, boxed, fit=full, color=_FAINT)
        if max(example.peak.activation for example in view.examples) <= 0:
            page.text(_MARGIN, 0.9, "it is active in none of them", size=9, fit=full, color=_ACCENT)
    page.legible.say()
    return page.figure


def _draw_prediction(page: _Page, explanation: Explanation, top: float) -> None:
    channels, height, width = explanation.pixels.shape
    page.text(_MARGIN, top, "the image", size=10, fit=_CELL, weight="bold")
    colour = "grey" if channels == 1 else "colour"
    page.text(_MARGIN, top + _HEADING, f"{height}x{width} px, {colour}", fit=_CELL)
    _show_image(page.panel(_MARGIN, top + _HEADING + _LABEL), explanation.pixels)

    left, span = _MARGIN + _STEP, _STEP + _CELL - 0.1
    page.text(left, top, "prediction", size=10, fit=span, weight="bold")
    axes = page.panel(left, top + _HEADING + _LABEL, width=span)
    axes.set(xlim=(0, 1), ylim=(_TOP_CLASSES, 0))
    line = _CELL / _TOP_CLASSES
    for rank, (name, probability) in enumerate(explanation.prediction.ranked[:_TOP_CLASSES]):
        axes.barh(rank + 0.75, 1, height=0.16, color="0.92")
        axes.barh(rank + 0.75, probability, height=0.16, color=_ACCENT if rank == 0 else _BAR)
        middle = top + _HEADING + _LABEL + (rank + 0.42) * line
        page.text(left, middle, name, fit=span - 0.6, size=9)
        page.text(left + span, middle, _percent(probability), fit=0.6, size=9, ha="right")


def _draw_heats(page: _Page, explanation: Explanation, heats: Sequence[ClassHeat], left: float, top: float) -> None:
    """Draw one row of images with their Grad-CAM, from `left` on."""
    from matplotlib import colormaps

    for column, heat in enumerate(heats):
        at = left + column * _STEP
        most = float(heat.heat.max())
        page.text(at, top, heat.class_name, fit=_CELL - 0.5)
        page.text(at + _CELL, top, _percent(heat.probability), fit=0.5, ha="right")
        axes = page.panel(at, top + _LABEL)
        _show_image(axes, explanation.pixels)
        if most > 0:
            # Laid over the image: the cooler, the more transparent.
            values = (heat.heat / most).numpy()
            colours = colormaps["autumn_r"](values)
            colours[..., 3] = 0.7 * np.sqrt(values)
            axes.imshow(colours, interpolation="nearest")
            axes.set_anchor("NW")
        else:
            axes.text(
                0.5, 0.5, "nothing does", transform=axes.transAxes, ha="center", fontsize=9, color="white",
                bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none"},
            )  # fmt: skip


def _draw_stage(page: _Page, stage: StageView, top: float) -> None:
    """Draw the most active maps of one stage, all in one scale."""
    page.text(_MARGIN, top, stage.name, size=10, fit=_STEP - 0.05, weight="bold")
    words = (
        f"{stage.num_maps} maps of {_size(stage.map_size)}; an element sees up to {_size(stage.sees)} px of the image"
    )
    if stage.map_size != (1, 1):
        words += f", the next one as much, {_size(stage.step)} px further"
    page.text(_MARGIN + _STEP, top, words, size=9, fit=page.width - 2 * _MARGIN - _STEP, color=_FAINT)
    # What is below 0 is cut by the ReLU that follows; sigmoids, which are never near 0, keep their contrast.
    low, high = max(0.0, float(stage.maps.min())), float(stage.maps.max())
    for column, (channel, values) in enumerate(zip(stage.channels, stage.maps, strict=True)):
        left = _MARGIN + column * _STEP
        page.text(left, top + _HEADING, f"channel {channel}, mean {_number(float(values.mean()))}", fit=_CELL)
        axes = page.panel(left, top + _HEADING + _LABEL)
        axes.imshow(values.numpy(), cmap="viridis", vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
        axes.set_anchor("NW")


def _draw_example(page: _Page, example: Example, left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    label = _number(example.peak.activation) + ("" if example.class_name is None else f"  {example.class_name}")
    page.text(left, top, label, size=9, fit=_CELL, weight="bold")
    page.text(left, top + _LINE, example.source, size=7, fit=_CELL, color=_FAINT)
    axes = page.panel(left, top + _LINE + _LABEL)
    _show_image(axes, example.pixels)
    if example.peak.box is not None:
        top, bottom, left, right = example.peak.box
        # Two frames, visible on light and dark.
        for colour, width in (("white", 3.0), (_ACCENT, 1.6)):
            frame = {"fill": False, "edgecolor": colour, "linewidth": width, "clip_on": False}
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame))


def _show_image(axes: Axes, pixels: UInt8[Tensor, "channels height width"]) -> None:
    array = pixels.cpu().permute(1, 2, 0).numpy()
    axes.imshow(array[..., 0] if array.shape[2] == 1 else array, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_anchor("NW")


def _panel_height(pixels: UInt8[Tensor, "channels height width"]) -> float:
    """Return the height in inches of panels for images of this shape; tall ones are made narrower instead."""
    return _CELL * min(1.0, pixels.shape[1] / pixels.shape[2])


def _number(value: float) -> str:
    """Return a number with three digits.

    >>> _number(4.4), _number(123.4), _number(0.01234)
    ('4.40', '123', '0.0123')
    """
    return f"{value:#.3g}".rstrip(".")


def _percent(probability: float) -> str:
    """Return a probability for a person.

    >>> _percent(0.9434), _percent(0.0001), _percent(0.0)
    ('94.3%', '<0.1%', '<0.1%')
    """
    return "<0.1%" if probability < 0.0005 else f"{100 * probability:.1f}%"


def _size(sides: Sequence[float]) -> str:
    """Return height and width.

    >>> _size((28, 28)), _size((2.15384, 2.0))
    ('28x28', '2.2x2')
    """
    return "x".join(f"{side:.1f}".removesuffix(".0") for side in sides)


def _printable(text: str) -> str:
    """Return `text` on one line, without what no font can draw, such as half of a broken character.

    >>> _printable("a\\tb\\ud800")
    'a\ufffdb\ufffd'
    """
    # No page is wider than this.
    return "".join(letter if letter.isprintable() or letter in JOINERS else "\ufffd" for letter in text[:300])


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
