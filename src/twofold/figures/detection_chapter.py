"""The figures of D2L's chapters on boxes and anchors, on a scene of fashion-scenes: `FIGURES` maps a name to each.

Everything is computed by the forms to read, `scratch.boxes` and `scratch.detection`. What a detector would find is
made up from the true boxes, moved about and scored by chance from a fixed seed, so that no network is needed and the
same code gives the same figure. `draw_scenes` draws what a network really finds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from twofold.data.sources.scenes import open_scenes
from twofold.data.targets import BoxTargets
from twofold.figures.detections import Box, draw_boxes, show_image
from twofold.figures.drawing import COLOURS, new_figure, plain_axes
from twofold.scratch.boxes import anchors, iou, match, nms_by_class
from twofold.scratch.detection import (
    AREAS,
    RECALLS,
    THRESHOLDS,
    Detected,
    Truth,
    average_precision,
    curve,
    evaluate,
    judge,
    overlaps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _SCENE, _NUM_SCENES, _FEW_SCENES = 160, 19, 40, 8
_INK, _FAINT = "0.15", "0.45"
_HEADING: dict[str, Any] = {"loc": "left", "fontsize": 10, "color": _INK}


@dataclass(frozen=True)
class _Scene:
    """An image (height, width) with its boxes in pixels and their names."""

    pixels: np.ndarray
    boxes: Tensor
    names: tuple[str, ...]


@functools.cache
def _scenes() -> tuple[_Scene, ...]:
    found = open_scenes(f"fashion-scenes?train=1&test={_NUM_SCENES}&side={_SIDE}", show_progress=False)
    test = found.splits["test"]
    scenes = []
    for index in range(_NUM_SCENES):
        own = test.targets.take(torch.tensor([index]))
        assert isinstance(own, BoxTargets)
        names = tuple(found.class_names[label] for label in own.labels.tolist())
        scenes.append(_Scene(test.load(torch.tensor([index]))[0, 0].numpy(), own.boxes.float(), names))
    return tuple(scenes)


def _scene() -> _Scene:
    return _scenes()[_SCENE]


def _panels(count: int, *, width: float = 3.1, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    figure = new_figure(count * width, height)
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _show(axes: Axes, title: str, pixels: np.ndarray | None = None) -> None:
    """Show the scene, with its pixels counted along both sides."""
    show_image(axes, _scene().pixels if pixels is None else pixels)
    axes.set_axis_on()
    axes.set_aspect("equal")
    axes.set_title(title, **_HEADING)
    axes.set(xticks=range(0, _SIDE + 1, 40), yticks=range(0, _SIDE + 1, 40))
    axes.tick_params(labelsize=8, color=_FAINT)
    axes.set_xlabel("x, px", fontsize=8.5)


def _list(boxes: Tensor) -> list[Box]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]


def boxes() -> Figure:
    """Draw the two forms of a box: two corners; centre, width and height."""
    figure, (corners, centres) = _panels(2)
    scene = _scene()
    _show(corners, "Two corners: x1, y1, x2, y2")
    _show(centres, "Centre, width, height: cx, cy, w, h")
    for axes in (corners, centres):
        draw_boxes(axes, _list(scene.boxes), scene.names, COLOURS[:2])
    for (x1, y1, x2, y2), colour in zip(_list(scene.boxes), COLOURS, strict=False):
        mark: dict[str, Any] = {"color": colour, "markeredgecolor": "white", "clip_on": False, "zorder": 5}
        corners.plot([x1, x2], [y1, y2], "o", **mark)
        words: dict[str, Any] = {"fontsize": 8, "color": _INK, "ha": "center"}
        corners.text((x1 + x2) / 2, y2 + 4, f"({x1:.0f}, {y1:.0f}) ({x2:.0f}, {y2:.0f})", va="top", **words)
        cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        centres.plot([cx], [cy], "o", **mark)
        arrow: dict[str, Any] = {"arrowprops": {"arrowstyle": "<->", "color": colour, "linewidth": 1.2}}
        centres.annotate("", (x1, cy), (x2, cy), **arrow)
        centres.annotate("", (cx, y1), (cx, y2), **arrow)
        centres.text(cx, y2 + 4, f"({cx:.0f}, {cy:.0f}), {w:.0f} x {h:.0f}", va="top", **words)
    return figure


def anchors_of_a_pixel() -> Figure:
    """Draw the anchors of one pixel of a feature map: n + m − 1 of n sizes and m ratios."""
    figure, panels = _panels(2)
    rows, row, column = 8, 3, 4
    for axes, sizes, ratios, title in (
        (panels[0], [0.6, 0.4, 0.2], [1.0], "Three sizes, ratio 1"),
        (panels[1], [0.6, 0.4, 0.2], [1.0, 2.0, 0.5], "The first size in two more ratios"),
    ):
        _show(axes, title)
        step = _SIDE / rows
        for line in range(1, rows):
            grid: dict[str, Any] = {"color": "white", "linewidth": 0.6, "alpha": 0.8}
            axes.axhline(line * step, **grid)
            axes.axvline(line * step, **grid)
        axes.fill_between([column * step, (column + 1) * step], row * step, (row + 1) * step, color=COLOURS[4])
        num = len(sizes) + len(ratios) - 1
        own = anchors(rows, rows, sizes, ratios)[(row * rows + column) * num :][:num] * _SIDE
        pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
        names = [f"s={size:g}, r={ratio:g}" for size, ratio in pairs]
        draw_boxes(axes, _list(own), names, [COLOURS[k] for k in (0, 1, 2, 3, 6)[:num]], points=6.5)
    return figure


def scales() -> Figure:
    """Draw anchors at three scales: many small ones on a fine map, few large ones on a coarse map."""
    figure, panels = _panels(3)
    for axes, rows, size in zip(panels, (4, 2, 1), (0.15, 0.4, 0.8), strict=True):
        _show(axes, f"{rows} x {rows} map, size {size:g}")
        every = anchors(rows, rows, [size], [1.0, 2.0, 0.5]) * _SIDE
        colours = [COLOURS[k] for k in range(3)] * (rows * rows)
        draw_boxes(axes, _list(every), (), colours, line=1.1)
    return figure


def matching() -> Figure:
    """Draw which true box each anchor must learn, and the overlaps that decide it."""
    scene = _scene()
    start, size = scene.boxes[:, :2], scene.boxes[:, 2:] - scene.boxes[:, :2]
    # Where the anchors lie, in parts of a true box.
    parts = [
        (0, (-0.05, 0.05, 0.95, 1.1)),
        (0, (0.1, -0.1, 1.15, 0.75)),
        (0, (0.5, 0.4, 1.4, 1.2)),
        (1, (-0.25, 0.1, 0.6, 0.8)),
        (1, (0.55, 0.5, 1.25, 1.5)),
    ]
    tried = torch.stack(
        [torch.cat([start[k], start[k]]) + torch.tensor(part) * torch.cat([size[k], size[k]]) for k, part in parts]
    )
    overlap, matched = iou(tried, scene.boxes), match(tried, scene.boxes).tolist()
    figure, (before, table, after) = _panels(3, width=3.3)
    _show(before, "Two true boxes, five anchors")
    _show(after, "What each anchor must learn")
    colours = [COLOURS[truth] if truth >= 0 else "0.45" for truth in matched]
    for axes, own in ((before, ["0.45"] * len(tried)), (after, colours)):
        draw_boxes(axes, _list(tried), (), own, line=1.2, dashed=True)
        draw_boxes(axes, _list(scene.boxes), scene.names, COLOURS[:2], line=2.2)
        for number, (_, _, x2, y2) in enumerate(_list(tried)):
            axes.text(x2 + 3, y2, str(number), fontsize=9, weight="bold", color=own[number], va="center")
    table.imshow(overlap.numpy(), cmap="Greys", vmin=0, vmax=1.4, aspect="auto")
    for row, values in enumerate(overlap.tolist()):
        for column, value in enumerate(values):
            taken = matched[row] == column
            style: dict[str, Any] = {"color": COLOURS[column], "weight": "bold"} if taken else {"color": _INK}
            table.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9, **style)
    table.set_title("Intersection over union", **_HEADING)
    table.set(xticks=range(len(scene.names)), yticks=range(len(tried)), ylabel="anchor")
    table.set_xticklabels(scene.names)
    table.set_xlabel("bold: taken; 0.5 is enough, and no box goes without", fontsize=8.5)
    table.tick_params(labelsize=8.5, length=0)
    return figure


def suppression() -> Figure:
    """Draw detections before and after suppression: of those that overlap, the one with the highest score stays."""
    scene = _scene()
    found = [
        (0, (0.0, 0.02, 1.02, 1.0), 0.9),
        (0, (-0.12, 0.1, 0.9, 1.1), 0.8),
        (0, (0.15, -0.1, 1.1, 0.9), 0.7),
        (1, (0.02, 0.0, 1.0, 1.05), 0.95),
        (1, (-0.2, -0.2, 0.95, 1.0), 0.6),
    ]
    start, size = scene.boxes[:, :2], scene.boxes[:, 2:] - scene.boxes[:, :2]
    moved = torch.stack([start[k].repeat(2) + torch.tensor(part) * size[k].repeat(2) for k, part, _ in found])
    scores, labels = torch.tensor([score for *_, score in found]), torch.tensor([k for k, *_ in found])
    kept = nms_by_class(moved, scores, labels, 0.5).tolist()
    figure, (before, after) = _panels(2)
    for axes, rows, title in (
        (before, list(range(len(found))), "Before suppression"),
        (after, kept, "After it: an overlap of 0.5 at most"),
    ):
        _show(axes, title)
        order = sorted(rows, key=lambda row: -float(scores[row]))
        names = [f"{scene.names[labels[row]]} {float(scores[row]):.2f}" for row in order]
        draw_boxes(axes, _list(moved[order]), names, [COLOURS[int(labels[row])] for row in order], points=6.5)
    return figure


def _made_up() -> tuple[list[Detected], list[Truth]]:
    """Return what a detector of one class, garments, might find in all scenes, and what is there."""
    generator = torch.Generator().manual_seed(4)
    found, truths = [], []
    for scene in _scenes():
        count = len(scene.boxes)
        size = (scene.boxes[:, 2:] - scene.boxes[:, :2]).repeat(1, 2)
        chance = torch.rand(count, generator=generator)
        noise = torch.randn(count, 4, generator=generator) * (0.02 + 0.2 * chance**3)[:, None]
        # The better a detection fits, the surer it is, on the whole. A seventh is missed.
        score = (0.95 - 0.5 * chance + 0.12 * torch.randn(count, generator=generator)).clamp(0.05, 0.99)
        there = torch.rand(count, generator=generator) < 6 / 7
        wrong = torch.rand(2, 4, generator=generator) * _SIDE / 2
        wrong[:, 2:] += wrong[:, :2] + 5
        own = torch.cat([(scene.boxes + noise * size)[there], wrong])
        scores = torch.cat([score[there], 0.85 * torch.rand(2, generator=generator)])
        none = torch.zeros(len(own), dtype=torch.int64)
        found.append(Detected(own, scores, none))
        areas = size[:, 0] * size[:, 1]
        truths.append(Truth(scene.boxes, none.new_zeros(count), none.new_zeros(count).bool(), areas))
    return found, truths


def precision_recall() -> Figure:
    """Draw how average precision comes about: precision over recall, its envelope, and the curves of three overlaps."""
    found, truths = _made_up()
    figure, (one, three) = _panels(2, width=4.2, height=3.4)
    # A few scenes, so that each detection is a step that can be seen.
    few = list(zip(found, truths, strict=True))[:_FEW_SCENES]
    judged = [judge(d, t, overlaps(d.boxes, t.boxes, t.crowd), 0.5, AREAS["all"]) for d, t in few]
    scores = torch.cat([detected.scores for detected, _ in few])
    right, counts = (torch.cat(parts) for parts in zip(*judged, strict=True))
    order = scores.argsort(descending=True, stable=True)
    plain = right[order].cumsum(dim=0) / torch.arange(1, len(order) + 1)
    envelope, recall, _ = curve(scores, right, counts, sum(len(truth.boxes) for _, truth in few))
    one.plot(recall, plain, color=COLOURS[0], linewidth=1.2, marker=".", label="of the first 1, 2, 3, … detections")
    one.step(recall, envelope, where="pre", color=COLOURS[1], linewidth=1.8, label="the best from there on")
    one.legend(frameon=False, fontsize=8, loc="lower left")
    evaluated = evaluate(found, truths, num_classes=1)
    for threshold, style, colour in ((0.5, "-", COLOURS[1]), (0.75, "--", COLOURS[0]), (0.9, ":", COLOURS[2])):
        step = min(range(len(THRESHOLDS)), key=lambda k: abs(THRESHOLDS[k] - threshold))
        precision = evaluated.precision[step, :, 0, 0, -1]
        three.plot(RECALLS, precision, style, color=colour, linewidth=1.8)
        end = RECALLS[int((precision > 0).sum()) - 1]
        words = f"overlap\n{threshold:g}\nAP {float(average_precision(evaluated, threshold)):.2f}"
        three.text(end + 0.02, 0.16, words, fontsize=8, color=_INK)
    plain_axes(one, f"{_FEW_SCENES} scenes, at an overlap of 0.5")
    plain_axes(three, f"{_NUM_SCENES} scenes; the mean over ten overlaps: AP {float(average_precision(evaluated)):.2f}")
    for axes in (one, three):
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
    return figure


def draw_scenes(images: Sequence[np.ndarray], found: Sequence[Sequence[tuple[str, float, Box]]], title: str) -> Figure:
    """Draw what a network finds in a few images of one size, four in a row.

    Args:
        images: grey, (height, width).
        found: of each image (class, probability, box) of each object.
        title: above them all.
    """
    columns, rows = 4, -(-len(images) // 4)
    figure = new_figure(columns * 2.6, rows * 2.6 + 0.4)
    figure.suptitle(title, fontsize=11, ha="left", x=0.01)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    order = sorted({name for own in found for name, _, _ in own})
    for axes in panels:
        axes.set_axis_off()
    for axes, pixels, own in zip(figure.axes, images, found, strict=False):
        show_image(axes, pixels)
        axes.set_aspect("equal")
        names = [f"{name} {100 * share:.0f}%" for name, share, _ in own]
        colours = [COLOURS[order.index(name) % len(COLOURS)] for name, _, _ in own]
        draw_boxes(axes, [box for _, _, box in own], names, colours, points=5.5, line=1.2)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "boxes": boxes,
    "anchors": anchors_of_a_pixel,
    "scales": scales,
    "matching": matching,
    "suppression": suppression,
    "precision-recall": precision_recall,
}
