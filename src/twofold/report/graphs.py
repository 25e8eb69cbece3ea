"""The geometry of plots whose axes both go from 0 to 1, such as precision over recall; see `charts` for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.report.charts import Frame, Readout, Tick, percent
from twofold.tasks.section import Panels, Plot, PlotLine

# How the lines of a plot are drawn, the first first. Each differs from the others in more than its colour.
STYLES = ("train", "val dashed", "ink dotted")
_MOST_READOUTS = 60


@dataclass(frozen=True)
class Line:
    """A line in SVG units: its name, how it is drawn, and its path."""

    name: str
    style: str
    path: str


@dataclass(frozen=True)
class Graph:
    """A plot, ready to draw.

    Attributes:
        slug: tells the plots of a page apart.
        words: what it shows, for those who do not see it.
        mark: where along x something stands out, and at what y if it is a point.
    """

    slug: str
    plot: Plot
    frame: Frame
    words: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    lines: tuple[Line, ...]
    readouts: tuple[Readout, ...]
    mark: tuple[float, float | None] | None


@dataclass(frozen=True)
class Panel:
    """A small plot: a name with a share beside it, the path of its line and that of the one to compare with."""

    name: str
    share: str
    path: str
    common: str


PANEL = Frame(width=150, height=84, left=1, right=1, top=2, bottom=2)
"""The rectangle of a small plot, without labels."""


def graph(plot: Plot) -> Graph:
    """Return a plot over the square from 0 to 1 in SVG units."""
    frame = Frame(width=460, height=290)
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    words = "; ".join(
        f"{line.name} from {percent(line.points[0][1])} to {percent(line.points[-1][1])}"
        for line in plot.lines
        if line.points
    )
    mark = None
    if plot.mark is not None:
        x, y = plot.mark
        mark = (frame.x(x), None if y is None else frame.y(y))
        words += f"; {plot.mark_name}: {x:.2f}"
    return Graph(
        slug="-".join(plot.title.lower().split()),
        plot=plot,
        frame=frame,
        words=f"{plot.title}: {words}.",
        ticks_x=tuple(Tick(frame.x(tick), f"{tick:g}") for tick in ticks),
        ticks_y=tuple(Tick(frame.y(tick), percent(tick, 0)) for tick in ticks),
        lines=tuple(
            Line(line.name, style, _path(line, frame)) for line, style in zip(plot.lines, STYLES, strict=False)
        ),
        readouts=_readouts(plot, frame),
        mark=mark,
    )


def panels(part: Panels) -> tuple[Panel, ...]:
    """Return small plots in SVG units, in the rectangle `PANEL`."""
    common = _path(part.common, PANEL)
    return tuple(Panel(line.name, percent(share), _path(line, PANEL), common) for line, share in part.lines)


def _path(line: PlotLine, frame: Frame) -> str:
    points = (f"{frame.x(x):g} {frame.y(y):g}" for x, y in _thinned(line.points, frame.width / 2))
    return "M" + "L".join(points) if line.points else ""


def _thinned(points: Sequence[tuple[float, float]], most: float) -> list[tuple[float, float]]:
    """Return every n-th point and the last, at most about `most`."""
    kept = list(points[:: max(1, round(len(points) / most))])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _readouts(plot: Plot, frame: Frame) -> tuple[Readout, ...]:
    by_x: dict[float, list[str]] = {}
    for line in plot.lines:
        for x, y in line.points:
            by_x.setdefault(round(x, 4), []).append(f"{line.name} {percent(y)}")
    every = sorted(by_x)
    every = every[:: max(1, -(-len(every) // _MOST_READOUTS))]
    readouts = []
    for place, x in enumerate(every):
        before = every[place - 1] if place else 2 * x - every[min(1, len(every) - 1)]
        after = every[place + 1] if place + 1 < len(every) else 2 * x - before
        left, right = frame.x(max(0.0, (before + x) / 2)), frame.x(min(1.0, (x + after) / 2))
        words = f"{plot.across} {x:.2f}: {', '.join(by_x[x])}"
        readouts.append(Readout(left, round(max(right - left, 1.0), 1), frame.x(x), words))
    return tuple(readouts)
