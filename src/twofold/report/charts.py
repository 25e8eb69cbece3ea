"""The geometry of the report's curves: from numbers to SVG coordinates, ticks and paths.

The template draws what is computed here, by hand rather than through matplotlib: the colours are then CSS custom
properties that switch with the theme, text stays text in the page's own font, hovering needs no script, and a chart
weighs a few kilobytes. What we give up is matplotlib's many kinds of plot; the report needs two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twofold.records import EpochRecord, StepRecord
from twofold.tasks.metrics import METRICS

# More points than this are thinner than a pixel, and only add weight.
_MOST_POINTS = 240
_MOST_READOUTS = 120
_MOST_DOTS = 24
# Values that differ by less than this share of themselves are drawn as one value.
_FLAT = 1e-9
# Below this the arithmetic of an axis underflows.
_SMALLEST = 1e-30
# Those of every task, the loss included.
_METRICS = {metric.name for metrics in METRICS.values() for metric in metrics}

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Series:
    """One curve in data coordinates; a point whose value is None breaks the line."""

    name: str
    style: str
    points: Sequence[Point]
    in_legend: bool = True


@dataclass(frozen=True)
class Tick:
    """A tick: where along its axis, in SVG units, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """One curve in SVG units: a path, and dots where the points are few enough to be seen one by one."""

    name: str
    style: str
    path: str
    dots: tuple[tuple[float, float], ...]
    in_legend: bool


@dataclass(frozen=True)
class Readout:
    """A strip that shows a guide line at `at` and `text` while the pointer is over it."""

    left: float
    width: float
    at: float
    text: str


@dataclass(frozen=True)
class Frame:
    """The plot's rectangle in the SVG's own units, and the drawing's size."""

    width: float
    height: float
    left: float = 46
    right: float = 14
    top: float = 26
    bottom: float = 38

    @property
    def plot_right(self) -> float:
        """The x coordinate of the plot's right edge."""
        return self.width - self.right

    @property
    def plot_bottom(self) -> float:
        """The y coordinate of the plot's lower edge."""
        return self.height - self.bottom

    def x(self, share: float) -> float:
        """Return the x coordinate at a share, 0 to 1, of the plot's width."""
        return round(self.left + (self.plot_right - self.left) * share, 1)

    def y(self, share: float) -> float:
        """Return the y coordinate at a share, 0 to 1, of the plot's height; SVG counts downwards."""
        return round(self.plot_bottom - (self.plot_bottom - self.top) * share, 1)


@dataclass(frozen=True)
class Plot:
    """What every chart has: its rectangle, its ticks, and what it shows in words."""

    description: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Chart(Plot):
    """A line chart, ready to draw."""

    slug: str
    title: str
    curves: tuple[Curve, ...]
    readouts: tuple[Readout, ...]
    best: float | None
    best_dot: tuple[float, float] | None
    # Where the plan goes on but the run did not.
    undone: float | None


@dataclass(frozen=True)
class ReliabilityDot:
    """One bin: the dot, its radius by the number of images, and the y where accuracy equals confidence."""

    x: float
    y: float
    ideal: float
    radius: float
    text: str


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram, ready to draw."""

    frame: Frame
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    dots: tuple[ReliabilityDot, ...]


def percent(share: float, digits: int = 1) -> str:
    """Return a share as per cent, with a space that does not break.

    >>> percent(0.9125)
    '91.2\\xa0%'
    """
    return f"{100 * share:.{digits}f}\u00a0%"


def significant(value: float) -> str:
    """Return a number in three significant digits, without an exponent where that is easier to read.

    >>> significant(0.31239), significant(1834.2), significant(0.00002), significant(0)
    ('0.312', '1,834', '2e-05', '0')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def charts(
    steps: Sequence[StepRecord], epochs: Sequence[EpochRecord], planned_epochs: float | None, best_epoch: int | None
) -> tuple[Chart, ...]:
    """Return the charts that there are values for: the loss, each metric of the task, learning rate, images a second.

    With `planned_epochs` the axis shows the whole plan, so that one sees how far an unfinished run got.
    """
    done = max([*(float(line.epoch) for line in epochs), *(line.epoch for line in steps)], default=0.0)
    axis: dict[str, Any] = {"done": done, "end": max(done, planned_epochs or 0.0, 1e-9), "best_epoch": best_epoch}
    names = dict.fromkeys(name for line in epochs for name in (*line.val, *line.train) if name.isidentifier())
    made = []
    for name in ["loss", *(name for name in names if name != "loss")]:
        series = [
            Series("train", "train", [(float(line.epoch), line.train.get(name)) for line in epochs]),
            Series("validation", "val", [(float(line.epoch), line.val.get(name)) for line in epochs]),
        ]
        if name == "loss":
            every_step = _thinned([(line.epoch, line.loss) for line in steps])
            series.insert(0, Series("train, each step", "faint", every_step, in_legend=bool(epochs)))
        values = [value for curve in series for _, value in curve.points if value is not None]
        is_share = name != "loss" and all(0 <= value <= 1 for value in values)
        title = name.replace("_", " ").capitalize() if name.islower() else name  # mAP keeps its letters
        title = title.replace(" f1", " F1")
        if name not in _METRICS and not any(name in line.val for line in epochs):
            title = f"Loss: {name.replace('_', ' ')}"  # a part of it, which is watched in training alone
        made.append(_line_chart(name, title, series, percent if is_share else significant, **axis))
    rates = _strided([(line.epoch, line.lr) for line in steps] or [(float(line.epoch), line.lr) for line in epochs])
    speeds = _thinned([(line.epoch, line.images_per_second) for line in steps])
    for slug, title, name, points in (
        ("lr", "Learning rate", "learning rate", rates),
        ("speed", "Images a second", "images/s", speeds),
    ):
        made.append(_line_chart(slug, title, [Series(name, "ink", points)], significant, is_small=True, **axis))
    return tuple(chart for chart in made if chart is not None)


def _line_chart(
    slug: str,
    title: str,
    series: Sequence[Series],
    written: Callable[[float], str],
    *,
    done: float,
    end: float,
    best_epoch: int | None,
    is_small: bool = False,
) -> Chart | None:
    """Return a chart over epochs, `done` of which are drawn and `end` of which the x axis shows."""
    series = [curve for curve in series if any(value is not None for _, value in curve.points)]
    if not series:
        return None
    frame = Frame(width=460, height=170 if is_small else 270)
    low, high, y_values = _value_axis(series, is_share=written is percent, is_small=is_small)

    def x_of(epoch: float) -> float:
        return frame.x(epoch / end)

    def y_of(value: float) -> float:
        # A loss that explodes leaves the plot at its edge instead of flattening all that came before it.
        return frame.y(min(1.03, max(0.0, (value - low) / (high - low))))

    has_validation = any(curve.style == "val" for curve in series)
    best = best_epoch if best_epoch is not None and has_validation and 0 < best_epoch <= done else None
    best_value = None if best is None else dict(series[-1].points).get(float(best))
    x_values = [value for value in nice_ticks(0.0, end, 6) if value <= end]
    if end >= 1:
        x_values = [value for value in x_values if value == int(value)]
    # What the chart shows in words, for those who do not see it.
    shown = [(curve.name, [value for _, value in curve.points if value is not None]) for curve in series]
    parts = [f"{name} from {written(values[0])} to {written(values[-1])}" for name, values in shown]
    best_words = f" Best epoch: {best_epoch}." if best_epoch is not None else ""
    return Chart(
        slug=slug,
        title=title,
        description=f"{title} over {done:.3g} epochs: {'; '.join(parts)}.{best_words}",
        frame=frame,
        x_ticks=tuple(Tick(x_of(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(y_of(value), tick_label(value, is_share=written is percent)) for value in y_values),
        curves=tuple(_curve(curve, x_of, y_of) for curve in series),
        readouts=_readouts(series, x_of, written),
        best=None if best is None else x_of(best),
        best_dot=None if best is None or best_value is None else (x_of(best), y_of(best_value)),
        undone=x_of(done) if end > done + 0.02 else None,
    )


def _value_axis(series: Sequence[Series], *, is_share: bool, is_small: bool) -> tuple[float, float, list[float]]:
    # The step loss is noisy: its peaks may leave the plot, the epoch means may not.
    steady = [curve for curve in series if curve.style != "faint"]
    values = [value for curve in steady or series for _, value in curve.points if value is not None]
    noisy = sorted(
        value for curve in series if curve.style == "faint" for _, value in curve.points if value is not None
    )
    if noisy:
        values += [noisy[int(0.02 * (len(noisy) - 1))], noisy[int(0.98 * (len(noisy) - 1))]]
    low, high = min(values), max(values)
    # A single value, as of one epoch, would make its neighbourhood look like all there is.
    is_single = low >= 0 and high - low <= _FLAT * high
    if is_small or is_single or 0 <= low < 0.3 * high:
        low = min(0.0, low)
    margin = 0.06 * axis_span(low, high)
    bottom, top = low - (margin if low > 0 else 0.0), high + margin
    if is_share:
        bottom, top = max(0.0, bottom), min(1.0, top)
    ticks = nice_ticks(bottom, top, 4 if is_small else 5)
    bottom = min(bottom, ticks[0]) if ticks[0] >= 0 else bottom
    return bottom, top, [tick for tick in ticks if bottom <= tick <= top]


def axis_span(low: float, high: float) -> float:
    """Return what the margins of an axis from `low` to `high` are a share of; never zero.

    >>> axis_span(1.0, 3.0), axis_span(2.0, 2.0), axis_span(0.0, 0.0)
    (2.0, 2.0, 1.0)
    """
    width = high - low if high - low > _FLAT * abs(high) else abs(high)
    return width if width > _SMALLEST else 1.0


def nice_ticks(low: float, high: float, num_steps: int) -> list[float]:
    """Return ticks at 1, 2 or 5 times a power of ten that cover `low` to `high` in about `num_steps` steps.

    >>> nice_ticks(0, 9.3, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = (high - low) / num_steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if rough <= 1.0001 * factor * power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]


def tick_label(value: float, *, is_share: bool = False) -> str:
    """Return the label of a tick, a share as per cent.

    >>> tick_label(0.5, is_share=True), tick_label(20_000)
    ('50\\xa0%', '20k')
    """
    if is_share:
        return f"{100 * value:g}\u00a0%"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _curve(series: Series, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> Curve:
    commands: list[str] = []
    pen_is_up = True
    for x, value in series.points:
        if value is None:
            pen_is_up = True
            continue
        commands.append(f"{'M' if pen_is_up else 'L'}{x_of(x):g} {y_of(value):g}")
        pen_is_up = False
    shown = [(x_of(x), y_of(value)) for x, value in series.points if value is not None]
    # A path of one point is invisible, so a run of one epoch needs its dots.
    dots = tuple(shown) if (series.style in {"train", "val"} and len(shown) <= _MOST_DOTS) or len(shown) == 1 else ()
    return Curve(series.name, series.style, "".join(commands), dots, series.in_legend)


def _readouts(
    series: Sequence[Series], x_of: Callable[[float], float], written: Callable[[float], str]
) -> tuple[Readout, ...]:
    shown = [curve for curve in series if curve.style != "faint"] or series
    by_x: dict[float, list[str]] = {}
    for curve in shown:
        for x, value in curve.points:
            if value is not None:
                by_x.setdefault(x, []).append(f"{curve.name} {written(value)}" if len(shown) > 1 else written(value))
    every = sorted(by_x)
    every = every[:: max(1, math.ceil(len(every) / _MOST_READOUTS))]
    readouts: list[Readout] = []
    for index, x in enumerate(every):
        at = x_of(x)
        left = (x_of(every[index - 1]) + at) / 2 if index else max(x_of(0.0), at - (x_of(every[-1]) - at) - 12)
        right = (at + x_of(every[index + 1])) / 2 if index + 1 < len(every) else at + 8
        text = f"epoch {x:.4g}: {', '.join(by_x[x])}"
        readouts.append(Readout(round(left, 1), round(max(right - left, 1.0), 1), at, text))
    return tuple(readouts)


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return the means of groups of neighbouring points, at most about 240."""
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return list(points)
    means: list[Point] = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        values = [value for _, value in group if value is not None]
        # A step without a finite loss must stay a gap: it is what the reader looks for.
        mean = sum(values) / len(values) if len(values) == len(group) else None
        means.append((sum(x for x, _ in group) / len(group), mean))
    return means


def _strided(points: Sequence[Point]) -> list[Point]:
    """Return every n-th point and the last: a schedule is smooth, and means would move its corners."""
    stride = max(1, math.ceil(len(points) / _MOST_POINTS))
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def reliability(bins: Sequence[tuple[float, float, int]]) -> Reliability | None:
    """Return the reliability diagram: how often the model is right against how sure it says it is.

    The bins are (confidence, accuracy, number of images), the number above 0.
    """
    if not bins:
        return None
    frame = Frame(width=300, height=292, left=46, right=16, top=14, bottom=40)
    low = max(0.0, math.floor(5 * min(min(confidence, accuracy) for confidence, accuracy, _ in bins) - 0.1) / 5)
    span = 1.0 - low if low < 1 else 1.0
    most = max(count for _, _, count in bins)
    ticks = [tick for tick in nice_ticks(low, 1.0, 5) if low <= tick <= 1]
    dots = tuple(
        ReliabilityDot(
            x=frame.x((confidence - low) / span),
            y=frame.y((accuracy - low) / span),
            ideal=frame.y((confidence - low) / span),
            radius=round(3.0 + 7.0 * math.sqrt(count / most), 1),
            text=f"{count:,} images: {percent(confidence)} sure, {percent(accuracy)} right",
        )
        for confidence, accuracy, count in sorted(bins, key=lambda bin: -bin[2])
    )
    return Reliability(
        frame=frame,
        ticks_x=tuple(Tick(frame.x((tick - low) / span), f"{100 * tick:g}") for tick in ticks),
        ticks_y=tuple(Tick(frame.y((tick - low) / span), tick_label(tick, is_share=True)) for tick in ticks),
        dots=dots,
    )
