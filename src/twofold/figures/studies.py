"""The figures of the studies: the learning-rate range test, and what a batch size costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twofold.figures.drawing import new_figure, plain_axes, save_figure, spread

_INK, _FAINT = "0.15", "0.4"
_LINE, _ACCENT = "#2f6690", "#c8553d"


@dataclass(frozen=True)
class Mark:
    """A learning rate that the figure points out."""

    lr: float
    loss: float
    label: str
    is_suggestion: bool = False


def draw_range_test(
    path: Path,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Sequence[Mark],
    *,
    title: str,
    caption: str,
) -> None:
    """Draw loss against learning rate into `path` (.png, .svg or .pdf), with `marks` pointed out."""
    figure = new_figure(7.6, 4.6)
    axes = figure.subplots()
    axes.plot(rates, losses, color="0.75", linewidth=0.9, zorder=1)
    axes.plot(rates, smoothed, color=_LINE, linewidth=2.2, zorder=2)
    axes.set_xscale("log")
    # A loss that diverges may leave the plot: what matters lies before it.
    low, first = min(smoothed), smoothed[0]
    top = first + 0.6 * (first - low) if first > low else first * 1.5
    bottom = max(0.0, low - 0.3 * (first - low)) if low >= 0 else low - 0.3 * (first - low)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("learning rate", fontsize=10, color=_FAINT)
    axes.set_ylabel("training loss", fontsize=10, color=_FAINT)
    plain_axes(axes, title)
    # Labels stand in a row above the curve, pushed apart along the axis.
    span = math.log10(rates[-1] / rates[0]) or 1.0
    wanted = [math.log10(mark.lr / rates[0]) / span for mark in marks]
    for mark, at in zip(marks, spread(wanted, gap=0.235, low=0.08, high=0.92), strict=True):
        colour = _ACCENT if mark.is_suggestion else _INK
        axes.axvline(
            mark.lr, color=colour, linewidth=1.4 if mark.is_suggestion else 0.9, linestyle=(0, (4, 3)), zorder=1.5
        )
        axes.plot([mark.lr], [mark.loss], marker="o", markersize=6, color=colour, zorder=3)
        axes.annotate(
            f"{mark.label}\n{mark.lr:.2g}",
            xy=(mark.lr, top),
            xytext=(rates[0] * 10 ** (at * span), top - 0.03 * (top - bottom)),
            textcoords="data",
            ha="center",
            va="top",
            fontsize=9,
            color=colour,
            fontweight="bold" if mark.is_suggestion else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 2},
            zorder=4,
        )
    figure.supxlabel(caption, fontsize=8, color=_FAINT, x=0.01, ha="left")
    save_figure(figure, path)


@dataclass(frozen=True)
class BatchCurve:
    """One batch size: its learning rate, points of (seconds, loss), and the time of an epoch in seconds."""

    batch_size: int
    lr: float
    points: Sequence[tuple[float, float]]
    epoch_seconds: float


def draw_batch_curves(
    path: Path, curves: Sequence[BatchCurve], *, title: str, loss_label: str, full: int, caption: str
) -> None:
    """Draw loss against seconds, a curve a batch size, and the time of an epoch, into `path` (.png, .svg or .pdf).

    The curves come by growing batch size; `full` is the size of the full set, `caption` the conditions.
    """
    import matplotlib
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = new_figure(10.4, 4.7)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = matplotlib.colormaps["viridis"](
        [0.0 + 0.85 * index / max(1, len(curves) - 1) for index in range(len(curves))]
    )
    for curve, colour in zip(curves, colours, strict=True):
        name = f"{curve.batch_size:,}{' (all)' if curve.batch_size == full else ''}"
        left.plot(*zip(*curve.points, strict=True), color=colour, linewidth=1.9, label=name)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlabel("seconds of training", fontsize=10, color=_FAINT)
    plain_axes(left, loss_label)
    left.legend(fontsize=9, frameon=False, title="batch size", title_fontsize=9, loc="upper right")
    sizes = [curve.batch_size for curve in curves]
    right.plot(sizes, [curve.epoch_seconds * 1e3 for curve in curves], color="0.7", linewidth=1.5, zorder=1)
    right.scatter(sizes, [curve.epoch_seconds * 1e3 for curve in curves], color=colours, s=52, zorder=2)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("batch size", fontsize=10, color=_FAINT)
    right.set_xticks(sizes, [str(size) for size in sizes])
    plain_axes(right, "time of an epoch, ms")
    for axes in (left, right):
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    figure.supxlabel(caption, fontsize=8, color=_FAINT, x=0.01, ha="left")
    save_figure(figure, path)
