"""The figures of `twofold explain`: what a network sees in an image, and what excites a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from twofold.figures.drawing import without_warnings_of_glyphs
from twofold.figures.page import (
    ACCENT,
    BAR,
    BELOW,
    CELL,
    FAINT,
    GAP,
    HEADING,
    LABEL,
    LINE,
    MARGIN,
    STEP,
    Page,
    chunks,
    number,
    percent,
    show_pixels,
    size_words,
)
from twofold.interpret import ChannelView, ClassHeat, Example, Explanation, StageView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_TOP_CLASSES = 5


def draw_explanation(explanation: Explanation, *, title: str) -> Figure:
    """Return the figure of an explanation; `title` names the image.

    Its panels are, in this order: the image, the prediction, a Grad-CAM for each class, the maps of each stage.
    """
    with without_warnings_of_glyphs():
        beside = _COLUMNS - 3
        rows_of_heats = [explanation.heats[:beside], *chunks(explanation.heats[beside:], _COLUMNS)]
        row = LABEL + _panel_height(explanation.pixels) + BELOW
        first_row = LABEL + CELL + BELOW
        num_stages = len(explanation.stages)
        top = 1.05
        height = top + HEADING + first_row + row * (len(rows_of_heats) - 1) + (HEADING + row) * num_stages + 0.4
        page = Page(2 * MARGIN + _COLUMNS * STEP - GAP, height)
        full = page.width - 2 * MARGIN
        best = explanation.prediction
        page.text(MARGIN, 0.4, f"{title}: {', '.join(best.answers)}", size=15, fit=full, weight="bold")
        page.text(MARGIN, 0.68, f"as {explanation.architecture} sees it", size=9, fit=full, color=FAINT)

        _draw_prediction(page, explanation, top)
        left = MARGIN + (_COLUMNS - beside) * STEP
        heat_stage = explanation.heat_stage
        words = f"what speaks for a class, in the {size_words(heat_stage.map_size)} maps of {heat_stage.name}"
        page.text(left, top, "Grad-CAM", size=10, fit=CELL, weight="bold")
        page.text(left + STEP, top, words, size=9, fit=(beside - 1) * STEP - GAP, color=FAINT)
        top += HEADING
        for index, heats in enumerate(rows_of_heats):
            _draw_heats(page, explanation, heats, left, top)
            left, top = MARGIN, top + (first_row if index == 0 else row)
        for stage in explanation.stages:
            _draw_stage(page, stage, top)
            top += HEADING + row
        legend = (
            "Grad-CAM: the redder, the more it raises the class's logit; each image in its own scale. Maps: the most "
            "active on average, a row in one scale, from its least (or 0) in violet to its most in yellow."
        )
        page.text(MARGIN, top, legend, fit=full, color=FAINT)
        if explanation.flip_average:
            text = "The prediction is the mean over the image and its mirror image; the rest is the image's own."
            page.text(MARGIN, top + LINE, text, fit=full, color=FAINT)
    page.legible.say()
    return page.figure


def draw_channel(view: ChannelView) -> Figure:
    """Return the figure of the images that excite a channel: the user's own first, where there is one."""
    with without_warnings_of_glyphs():
        columns = 3
        own_width = 0.0 if view.own is None else STEP + GAP
        band = LINE + LABEL + _panel_height(view.examples[0].pixels) + BELOW
        rows = chunks(view.examples, columns)
        first_top = 1.2
        width = 2 * MARGIN + own_width + columns * STEP - GAP
        page = Page(width, first_top + band * len(rows) + 0.3)
        full = page.width - 2 * MARGIN
        channel = view.channel
        page.text(
            MARGIN, 0.4, f"What excites channel {channel.index} of {channel.stage}", size=13, fit=full, weight="bold"
        )
        seen = f"{view.architecture}, {view.num_images:,} images of {view.data} {view.split}"
        page.text(MARGIN, 0.68, seen, size=9, fit=full, color=FAINT)
        left = MARGIN
        if view.own is not None:
            _draw_example(page, view.own, left, first_top)
            left += own_width
        for row, examples in enumerate(rows):
            for column, example in enumerate(examples):
                _draw_example(page, example, left + column * STEP, first_top + row * band)
        boxed = "Number: the largest activation in the map. Frame: the pixels that it depends on; none: all."
        page.text(MARGIN, page.height - 0.3, boxed, fit=full, color=FAINT)
        if max(example.peak.activation for example in view.examples) <= 0:
            page.text(MARGIN, 0.9, "it is active in none of them", size=9, fit=full, color=ACCENT)
    page.legible.say()
    return page.figure


def _draw_prediction(page: Page, explanation: Explanation, top: float) -> None:
    channels, height, width = explanation.pixels.shape
    page.text(MARGIN, top, "the image", size=10, fit=CELL, weight="bold")
    colour = "grey" if channels == 1 else "colour"
    page.text(MARGIN, top + HEADING, f"{height}x{width} px, {colour}", fit=CELL)
    show_pixels(page.panel(MARGIN, top + HEADING + LABEL), explanation.pixels)

    left, span = MARGIN + STEP, STEP + CELL - 0.1
    page.text(left, top, "prediction", size=10, fit=span, weight="bold")
    axes = page.panel(left, top + HEADING + LABEL, width=span)
    axes.set(xlim=(0, 1), ylim=(_TOP_CLASSES, 0))
    line = CELL / _TOP_CLASSES
    for rank, (name, probability) in enumerate(explanation.prediction.ranked[:_TOP_CLASSES]):
        axes.barh(rank + 0.75, 1, height=0.16, color="0.92")
        axes.barh(rank + 0.75, probability, height=0.16, color=ACCENT if rank == 0 else BAR)
        middle = top + HEADING + LABEL + (rank + 0.42) * line
        page.text(left, middle, name, fit=span - 0.6, size=9)
        page.text(left + span, middle, percent(probability), fit=0.6, size=9, ha="right")


def _draw_heats(page: Page, explanation: Explanation, heats: Sequence[ClassHeat], left: float, top: float) -> None:
    """Draw one row of images with their Grad-CAM, from `left` on."""
    from matplotlib import colormaps

    for column, heat in enumerate(heats):
        at = left + column * STEP
        most = float(heat.heat.max())
        page.text(at, top, heat.class_name, fit=CELL - 0.5)
        page.text(at + CELL, top, percent(heat.probability), fit=0.5, ha="right")
        axes = page.panel(at, top + LABEL)
        show_pixels(axes, explanation.pixels)
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


def _draw_stage(page: Page, stage: StageView, top: float) -> None:
    """Draw the most active maps of one stage, all in one scale."""
    page.text(MARGIN, top, stage.name, size=10, fit=STEP - 0.05, weight="bold")
    sees = f"an element sees up to {size_words(stage.sees)} px of the image"
    words = f"{stage.num_maps} maps of {size_words(stage.map_size)}; {sees}"
    if stage.map_size != (1, 1):
        words += f", the next one as much, {size_words(stage.step)} px further"
    page.text(MARGIN + STEP, top, words, size=9, fit=page.width - 2 * MARGIN - STEP, color=FAINT)
    # What is below 0 is cut by the ReLU that follows; sigmoids, which are never near 0, keep their contrast.
    low, high = max(0.0, float(stage.maps.min())), float(stage.maps.max())
    for column, (channel, values) in enumerate(zip(stage.channels, stage.maps, strict=True)):
        left = MARGIN + column * STEP
        page.text(left, top + HEADING, f"channel {channel}, mean {number(float(values.mean()))}", fit=CELL)
        axes = page.panel(left, top + HEADING + LABEL)
        axes.imshow(values.numpy(), cmap="viridis", vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
        axes.set_anchor("NW")


def _draw_example(page: Page, example: Example, left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    label = number(example.peak.activation) + ("" if example.class_name is None else f"  {example.class_name}")
    page.text(left, top, label, size=9, fit=CELL, weight="bold")
    page.text(left, top + LINE, example.source, size=7, fit=CELL, color=FAINT)
    axes = page.panel(left, top + LINE + LABEL)
    show_pixels(axes, example.pixels)
    if example.peak.box is not None:
        top, bottom, left, right = example.peak.box
        # Two frames, visible on light and dark.
        for colour, width in (("white", 3.0), (ACCENT, 1.6)):
            frame = {"fill": False, "edgecolor": colour, "linewidth": width, "clip_on": False}
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame))


def _panel_height(pixels: UInt8[Tensor, "channels height width"]) -> float:
    """Return the height in inches of panels for images of this shape; tall ones are made narrower instead."""
    return CELL * min(1.0, pixels.shape[1] / pixels.shape[2])
