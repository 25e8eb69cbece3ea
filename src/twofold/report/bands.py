"""The geometry of charts that compare: a curve with a band for each series, labelled where it ends.

As in `charts`, values become SVG coordinates here and the template draws them. What is added: bands from the lowest
to the highest of several runs, labels beside the curves instead of a legend (pushed apart where curves end close
together), and axes that need not be epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.figures.drawing import spread
from twofold.report.charts import Frame, Plot, Tick, axis_span, nice_ticks, percent, significant, tick_label

_LABEL_HEIGHT = 14.0


@dataclass(frozen=True)
class BandPoint:
    """A point of a series: where, the mean, and the lowest and highest of the runs."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class BandSeries:
    """A series in data coordinates; `style` is a CSS class that gives its colour."""

    name: str
    style: str
    points: Sequence[BandPoint]


@dataclass(frozen=True)
class BandCurve:
    """A series in SVG units: the mean's path, the band's outline, and where its label stands."""

    name: str
    style: str
    path: str
    band: str
    end: tuple[float, float]
    label: tuple[float, float]
    text: str


@dataclass(frozen=True)
class BandChart(Plot):
    """A chart of several curves, ready to draw."""

    slug: str
    title: str
    x_label: str
    curves: tuple[BandCurve, ...]


def band_chart(
    slug: str, title: str, x_label: str, series: Sequence[BandSeries], *, as_percent: bool = False
) -> BandChart | None:
    """Return a chart of the `series` in the order in which they are drawn, or None without any point.

    `slug` names it in the page, `title` says what the y axis shows; `as_percent` writes shares as per cent.
    """
    series = [line for line in series if line.points]
    if not series:
        return None
    frame = Frame(width=460, height=290, right=88, top=14)
    written = percent if as_percent else significant
    right = max(point.x for line in series for point in line.points) or 1.0
    low = min(point.low for line in series for point in line.points)
    high = max(point.high for line in series for point in line.points)
    margin = 0.04 * axis_span(low, high)
    low, high = low - margin, high + margin
    if as_percent:
        low, high = max(0.0, low), min(1.0, high)
    elif 0 < low < 0.3 * high:
        low = 0.0
    y_values = [value for value in nice_ticks(low, high, 6) if low <= value <= high]
    x_values = [value for value in nice_ticks(0.0, right, 5) if value <= right]

    def x_of(value: float) -> float:
        return frame.x(value / right)

    def y_of(value: float) -> float:
        return frame.y((value - low) / (high - low))

    ends = [y_of(line.points[-1].mean) for line in series]
    labels = spread(ends, gap=_LABEL_HEIGHT, low=frame.top + 4, high=frame.plot_bottom - 2)
    curves = [
        _curve(line, x_of, y_of, (frame.plot_right + 14, label), written)
        for line, label in zip(series, labels, strict=True)
    ]
    return BandChart(
        slug=slug,
        title=title,
        x_label=x_label,
        description=f"{title} against {x_label}. At the end: {', '.join(curve.text for curve in curves)}.",
        frame=frame,
        x_ticks=tuple(Tick(x_of(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(y_of(value), tick_label(value, is_share=as_percent)) for value in y_values),
        curves=tuple(curves),
    )


def _curve(
    series: BandSeries,
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    label: tuple[float, float],
    written: Callable[[float], str],
) -> BandCurve:
    points = series.points
    path = "M" + "L".join(f"{x_of(point.x):g} {y_of(point.mean):g}" for point in points)
    above = [f"{x_of(point.x):g} {y_of(point.high):g}" for point in points]
    below = [f"{x_of(point.x):g} {y_of(point.low):g}" for point in reversed(points)]
    last = points[-1]
    between = f" ({written(last.low)} to {written(last.high)})" if last.high > last.low else ""
    return BandCurve(
        name=series.name,
        style=series.style,
        path=path,
        band="M" + "L".join([*above, *below]) + "Z",
        end=(x_of(last.x), y_of(last.mean)),
        label=label,
        text=f"{series.name} {written(last.mean)}{between}",
    )


@dataclass(frozen=True)
class SearchDot:
    """A trial: where, whether it was chosen, and what to say about it; one that diverged stands at the top edge."""

    x: float
    y: float
    chosen: bool
    diverged: bool
    text: str


@dataclass(frozen=True)
class SearchChart(Plot):
    """The trials of one rule: validation loss against learning rate."""

    name: str
    style: str
    caption: str
    path: str
    dots: tuple[SearchDot, ...]


def search_chart(
    name: str,
    style: str,
    trials: Sequence[tuple[float, float | None]],
    chosen: float | None,
    lr_range: tuple[float, float],
    value_range: tuple[float, float],
    caption: str,
) -> SearchChart:
    """Return the chart of one rule's search.

    The trials are (learning rate, validation loss, or None where it diverged), `chosen` is the learning rate that was
    taken, of `lr_range`; `value_range` is that of the y axis, the same for all rules.
    """
    frame = Frame(width=300, height=190, left=40, right=12, top=16, bottom=36)
    left, right = math.log10(lr_range[0]), math.log10(lr_range[1])
    low, high = value_range

    def x_of(lr: float) -> float:
        return frame.x((math.log10(lr) - left) / (right - left))

    def y_of(value: float) -> float:
        return frame.y((min(value, high) - low) / ((high - low) or 1.0))

    dots = [
        SearchDot(
            x=x_of(lr),
            y=frame.top if value is None else y_of(value),
            chosen=lr == chosen,
            diverged=value is None,
            text=f"{lr:.3g}: {'diverged' if value is None else f'validation loss {significant(value)}'}",
        )
        for lr, value in trials
    ]
    reached = sorted((dot.x, dot.y) for dot in dots if not dot.diverged)
    powers = range(math.ceil(left), math.floor(right) + 1)
    y_values = [value for value in nice_ticks(low, high, 5) if low <= value <= high]
    return SearchChart(
        name=name,
        style=style,
        caption=caption,
        description=f"{name}: {'; '.join(dot.text for dot in dots)}. {caption}.",
        frame=frame,
        x_ticks=tuple(Tick(x_of(10.0**power), f"{10.0**power:g}") for power in powers),
        y_ticks=tuple(Tick(y_of(value), f"{value:g}") for value in y_values),
        path="M" + "L".join(f"{x:g} {y:g}" for x, y in reached) if reached else "",
        dots=tuple(dots),
    )


@dataclass(frozen=True)
class Range:
    """A result as a strip: dots for runs and the mean, in per cent of the strip's width."""

    low: float
    width: float
    mean: float
    dots: tuple[float, ...]


def ranges(values: Sequence[Sequence[float]]) -> tuple[Range | None, ...]:
    """Return, for each group of results, where it lies on a scale that all groups share; None for an empty one."""
    every = [value for group in values for value in group]
    if not every:
        return tuple(None for _ in values)
    low, high = min(every), max(every)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(3 + 94 * (value - low) / span, 2)

    def of(group: Sequence[float]) -> Range:
        left, right = at(min(group)), at(max(group))
        return Range(left, round(right - left, 2), at(sum(group) / len(group)), tuple(map(at, group)))

    return tuple(of(group) if group else None for group in values)
