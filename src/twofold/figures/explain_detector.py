"""The figure of `twofold explain` for a detector: how anchors become objects, and what each level sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from twofold.figures.detections import Box, colours_of, draw_boxes, show_image
from twofold.figures.drawing import COLOURS, without_warnings_of_glyphs
from twofold.figures.page import BELOW, FAINT, GAP, HEADING, LABEL, LINE, MARGIN, STEP, Page, number, size_words
from twofold.interpret import DetectorExplanation, LevelView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 6
_STEPS = 4
# Of more anchors than this, the best are drawn: the others would cover them.
_MOST_BOXES = 60


def draw_detector(explanation: DetectorExplanation, *, title: str) -> Figure:
    """Return the figure of how a detector comes to its objects; `title` names the image.

    Its panels are, in this order: the image, the anchors with a score from the threshold on, where these are moved to,
    what suppression leaves; and of each level its anchors, its best scores, and its most active maps.
    """
    width = 2 * MARGIN + _COLUMNS * STEP - GAP
    full = width - 2 * MARGIN
    large = (full + GAP) / _STEPS - GAP
    shape = explanation.pixels.shape[1] / explanation.pixels.shape[2]
    step_height, level_height = large * min(1.0, shape), (STEP - GAP) * min(1.0, shape)
    top = 1.05
    height = top + HEADING + LABEL + step_height + BELOW
    height += len(explanation.levels) * (2 * HEADING + LABEL + level_height + BELOW) + 0.3
    with without_warnings_of_glyphs():
        page = Page(width, height)
        objects = explanation.objects
        counts = {name: [one for one, _, _ in objects].count(name) for name, _, _ in objects}
        found = ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts.items()) or "no object"
        page.text(MARGIN, 0.4, f"{title}: {found}", size=15, fit=full, weight="bold")
        only = f", {' and '.join(explanation.classes)} alone" if explanation.classes else ""
        page.text(MARGIN, 0.68, f"as {explanation.architecture} sees it{only}", size=9, fit=full, color=FAINT)
        _draw_steps(page, explanation, top, (large, step_height))
        top += HEADING + LABEL + step_height + BELOW
        for level in explanation.levels:
            _draw_level(page, level, explanation.pixels, top, level_height)
            top += 2 * HEADING + LABEL + level_height + BELOW
        legend = (
            "Anchors: those at the pixel in the middle of the level. Best score: of any class at each pixel, 0 in "
            "violet to 1 in yellow. Maps: the most active on average, a row in one scale."
        )
        page.text(MARGIN, top, legend, fit=full, color=FAINT)
    page.legible.say()
    return page.figure


def _draw_steps(page: Page, explanation: DetectorExplanation, top: float, size: tuple[float, float]) -> None:
    candidates, objects = len(explanation.scores), explanation.objects
    some = f", {_MOST_BOXES} drawn" if candidates > _MOST_BOXES else ""
    few = min(candidates, _MOST_BOXES)
    colours = colours_of(explanation.class_names)
    names = [f"{name} {100 * share:.0f}%" for name, share, _ in objects]
    kept = [colours[row] for row in explanation.kept.tolist()]
    height, width = explanation.pixels.shape[1:]
    steps: list[tuple[str, str, Sequence[Box], Sequence[str], Sequence[str]]] = [
        ("the image", f"{height}x{width} px, as the network gets it", [], [], []),
        (
            f"{candidates:,} anchors",
            f"with a score of {explanation.threshold:.2f} or more{some}",
            _boxes(explanation.raw[:few]),
            [],
            colours[:few],
        ),
        ("moved and stretched", "each to where it sees an object", _boxes(explanation.moved[:few]), [], colours[:few]),
        (
            f"{len(objects):,} after suppression",
            f"of overlaps above {explanation.overlap:g}, the best",
            [box for _, _, box in objects],
            names,
            kept,
        ),
    ]
    for place, (heading, words, boxes, written, own) in enumerate(steps):
        left = MARGIN + place * (size[0] + GAP)
        page.text(left, top - 0.08, heading, size=10, fit=size[0], weight="bold")
        page.text(left, top + HEADING - 0.1, words, fit=size[0], color=FAINT)
        axes = page.panel(left, top + HEADING + LABEL, *size)
        _show(axes, explanation.pixels)
        draw_boxes(axes, boxes, written, own, line=1.4 if written else 0.9, legible=page.legible)
        if place and not boxes:
            axes.text(
                0.5, 0.5, "none", transform=axes.transAxes, ha="center", fontsize=9, color="white",
                bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none"},
            )  # fmt: skip


def _draw_level(page: Page, level: LevelView, pixels: Tensor, top: float, height: float) -> None:
    page.text(MARGIN, top, level.name, size=10, fit=STEP - 0.05, weight="bold")
    sides = (level.anchors[:, 2:] - level.anchors[:, :2]).flip(1).tolist()
    shapes = ", ".join(size_words([round(side) for side in one]) for one in sides)
    words = f"{level.num_maps} maps of {size_words(level.map_size)}; at each pixel {len(sides)} anchors of {shapes} px"
    page.text(MARGIN + STEP, top, words, size=9, fit=page.width - 2 * MARGIN - STEP, color=FAINT)
    counts = f"{level.num_candidates:,} of its anchors reach the threshold, and {level.num_found:,} of these are kept"
    page.text(MARGIN + STEP, top + LINE, counts, size=9, fit=page.width - 2 * MARGIN - STEP, color=FAINT)
    top += 2 * HEADING

    size = (STEP - GAP, height)
    page.text(MARGIN, top, "anchors", fit=size[0])
    axes = page.panel(MARGIN, top + LABEL, *size)
    _show(axes, pixels)
    draw_boxes(axes, _boxes(level.anchors), (), COLOURS[0], line=1.2)
    page.text(MARGIN + STEP, top, f"best score, at most {float(level.best.max()):.2f}", fit=size[0])
    axes = page.panel(MARGIN + STEP, top + LABEL, *size)
    axes.imshow(level.best.numpy(), cmap="viridis", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    low, high = max(0.0, float(level.maps.min())), float(level.maps.max())
    for place, (channel, values) in enumerate(zip(level.channels, level.maps, strict=True), 2):
        left = MARGIN + place * STEP
        page.text(left, top, f"channel {channel}, mean {number(float(values.mean()))}", fit=size[0])
        axes = page.panel(left, top + LABEL, *size)
        span: dict[str, Any] = {"vmin": low, "vmax": max(high, low + 1e-12)}
        axes.imshow(values.numpy(), cmap="viridis", interpolation="nearest", aspect="auto", **span)


def _show(axes: Axes, pixels: Tensor) -> None:
    array = pixels.cpu().permute(1, 2, 0).numpy()
    show_image(axes, array[..., 0] if array.shape[2] == 1 else array)


def _boxes(corners: Tensor) -> list[Box]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in corners.tolist()]
