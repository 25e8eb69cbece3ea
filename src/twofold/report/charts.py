"""The geometry of the report's curves: from numbers to SVG coordinates, ticks and paths.

The template draws what is computed here, by hand rather than through matplotlib: the colours are then CSS custom
properties that switch with the theme, text stays text in the page's own font, hovering needs no script, and a chart
weighs a few kilobytes. What we give up is matplotlib's many kinds of plot; the report needs two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.report.read import CalibrationBin, EpochRecord, StepRecord

# More points than this are thinner than a pixel, and only add weight.
_MOST_POINTS = 240
_MOST_READOUTS = 120
_MOST_DOTS = 24
# Values that differ by less than this share of themselves are drawn as one value.
_FLAT = 1e-9
# Below this the arithmetic of an axis underflows.
_SMALLEST = 1e-30

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


@dataclass(frozen=True)
class Chart:
    """A line chart, ready to draw."""

    slug: str
    title: str
    description: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
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
    """Return the charts that there are numbers for: loss, accuracy, learning rate, images a second.

    With `planned_epochs` the axis shows the whole plan, so that one sees how far an unfinished run got.
    """
    every_epoch = [float(record.epoch) for record in epochs]
    done = max([*every_epoch, *(record.epoch for record in steps)], default=0.0)
    axis = _Axis(done=done, end=max(done, planned_epochs or 0.0, 1e-9), best=best_epoch)
    steps_loss = _thinned([(record.epoch, record.loss) for record in steps])
    rates = [(record.epoch, record.lr) for record in steps] or [(float(r.epoch), r.lr) for r in epochs]
    speeds = _thinned([(record.epoch, record.images_per_second) for record in steps])
    made = [
        _line_chart(
            "loss",
            "Loss",
            [
                Series("train, each step", "faint", steps_loss, in_legend=bool(epochs)),
                Series("train", "train", [(float(r.epoch), r.train_loss) for r in epochs]),
                Series("validation", "val", [(float(r.epoch), r.val_loss) for r in epochs]),
            ],
            axis,
            significant,
        ),
        _line_chart(
            "accuracy",
            "Accuracy",
            [
                Series("train", "train", [(float(r.epoch), r.train_accuracy) for r in epochs]),
                Series("validation", "val", [(float(r.epoch), r.val_accuracy) for r in epochs]),
            ],
            axis,
            percent,
        ),
        _line_chart("lr", "Learning rate", [Series("learning rate", "ink", _strided(rates))], axis, significant, 170),
        _line_chart("speed", "Images a second", [Series("images/s", "ink", speeds)], axis, significant, 170),
    ]
    return tuple(chart for chart in made if chart is not None)


@dataclass(frozen=True)
class _Axis:
    """The x axis that all charts share, in epochs."""

    done: float
    end: float
    best: int | None


def _line_chart(
    slug: str,
    title: str,
    series: Sequence[Series],
    axis: _Axis,
    written: Callable[[float], str],
    height: float = 270,
) -> Chart | None:
    series = [one for one in series if any(value is not None for _, value in one.points)]
    if not series:
        return None
    frame = Frame(width=460, height=height)
    low, high, y_values = _value_axis(slug, series)

    def x_of(epoch: float) -> float:
        return round(frame.left + (frame.plot_right - frame.left) * epoch / axis.end, 1)

    def y_of(value: float) -> float:
        share = (value - low) / (high - low)
        # A loss that explodes leaves the plot at its edge instead of flattening all that came before it.
        return round(frame.plot_bottom - (frame.plot_bottom - frame.top) * min(1.03, max(0.0, share)), 1)

    curves = tuple(_curve(one, x_of, y_of) for one in series)
    best = axis.best if axis.best is not None and len(series) > 1 and 0 < axis.best <= axis.done else None
    best_value = None if best is None else dict(series[-1].points).get(float(best))
    x_values = [value for value in nice_ticks(0.0, axis.end, 6) if value <= axis.end]
    if axis.end >= 1:
        x_values = [value for value in x_values if value == int(value)]
    shows_plan = axis.end > axis.done + 0.02
    return Chart(
        slug=slug,
        title=title,
        description=_description(title, series, axis, written),
        frame=frame,
        x_ticks=tuple(Tick(x_of(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(y_of(value), _tick_label(slug, value)) for value in y_values),
        curves=curves,
        readouts=_readouts(series, x_of, written),
        best=None if best is None else x_of(best),
        best_dot=None if best is None or best_value is None else (x_of(best), y_of(best_value)),
        undone=x_of(axis.done) if shows_plan else None,
    )


def _value_axis(slug: str, series: Sequence[Series]) -> tuple[float, float, list[float]]:
    """Return the range of the y axis and its ticks."""
    # The step loss is noisy: its peaks may leave the plot, the epoch means may not.
    steady = [one for one in series if one.style != "faint"]
    values = [value for one in steady or series for _, value in one.points if value is not None]
    noisy = sorted(value for one in series if one.style == "faint" for _, value in one.points if value is not None)
    if noisy:
        values += [noisy[int(0.02 * (len(noisy) - 1))], noisy[int(0.98 * (len(noisy) - 1))]]
    low, high = min(values), max(values)
    if slug in {"lr", "speed"} or 0 <= low < 0.3 * high:
        low = min(0.0, low)
    margin = 0.06 * axis_span(low, high)
    bottom, top = low - (margin if low > 0 else 0.0), high + margin
    if slug == "accuracy":
        bottom, top = max(0.0, bottom), min(1.0, top)
    ticks = nice_ticks(bottom, top, 5 if slug in {"loss", "accuracy"} else 4)
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


def _tick_label(slug: str, value: float) -> str:
    if slug == "accuracy":
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
    shown = [one for one in series if one.style != "faint"] or series
    by_x: dict[float, list[str]] = {}
    for one in shown:
        for x, value in one.points:
            if value is not None:
                label = f"{one.name} {written(value)}" if len(shown) > 1 else written(value)
                by_x.setdefault(x, []).append(label)
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


def _description(title: str, series: Sequence[Series], axis: _Axis, written: Callable[[float], str]) -> str:
    """Say in words what the chart shows, for those who do not see it."""
    parts: list[str] = []
    for one in series:
        values = [value for _, value in one.points if value is not None]
        parts.append(f"{one.name} from {written(values[0])} to {written(values[-1])}")
    best = f" Best epoch: {axis.best}." if axis.best is not None else ""
    return f"{title} over {axis.done:.3g} epochs: {'; '.join(parts)}.{best}"


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return the means of groups of neighbouring points, at most about 240."""
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return list(points)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [_mean_point(group) for group in groups]


def _mean_point(group: Sequence[Point]) -> Point:
    values = [value for _, value in group if value is not None]
    x = sum(x for x, _ in group) / len(group)
    # A step without a finite loss must stay a gap: it is what the reader looks for.
    return (x, sum(values) / len(values)) if len(values) == len(group) else (x, None)


def _strided(points: Sequence[Point]) -> list[Point]:
    """Return every n-th point and the last: a schedule is smooth, and means would move its corners."""
    stride = max(1, math.ceil(len(points) / _MOST_POINTS))
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def reliability(bins: Sequence[CalibrationBin]) -> Reliability | None:
    """Return the reliability diagram: how often the model is right against how sure it says it is."""
    if not bins:
        return None
    frame = Frame(width=300, height=292, left=46, right=16, top=14, bottom=40)
    lowest = min(min(one.confidence, one.accuracy) for one in bins)
    low = max(0.0, math.floor(5 * lowest - 0.1) / 5)
    span = 1.0 - low if low < 1 else 1.0

    def x_of(share: float) -> float:
        return round(frame.left + (frame.plot_right - frame.left) * (share - low) / span, 1)

    def y_of(share: float) -> float:
        return round(frame.plot_bottom - (frame.plot_bottom - frame.top) * (share - low) / span, 1)

    most = max(one.count for one in bins)
    ticks = [tick for tick in nice_ticks(low, 1.0, 5) if low <= tick <= 1]
    dots = tuple(
        ReliabilityDot(
            x=x_of(one.confidence),
            y=y_of(one.accuracy),
            ideal=y_of(one.confidence),
            radius=round(3.0 + 7.0 * math.sqrt(one.count / most), 1),
            text=f"{one.count:,} images: {percent(one.confidence)} sure, {percent(one.accuracy)} right",
        )
        for one in sorted(bins, key=lambda one: -one.count)
    )
    return Reliability(
        frame=frame,
        ticks_x=tuple(Tick(x_of(tick), f"{100 * tick:g}") for tick in ticks),
        ticks_y=tuple(Tick(y_of(tick), f"{100 * tick:g}\u00a0%") for tick in ticks),
        dots=dots,
    )
