"""Curves that grow while a network trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt

from twofold.d2l.display import LiveFigure, in_notebook, use_svg_display
from twofold.d2l.measures import as_float
from twofold.d2l.objects import HyperParameters
from twofold.d2l.plots import set_axes
from twofold.terminal import note


class Animator:
    """Curves that grow: `add(x, (y1, y2, None))` adds a point to each that has a value.

    Their points are `X` and `Y`, a list for each curve. In a script, whole steps of x are printed as well.
    """

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        legend: Sequence[str] | None = None,
        xlim: Any = None,
        ylim: Any = None,
        xscale: str = "linear",
        yscale: str = "linear",
        fmts: Sequence[str] = ("-", "m--", "g-.", "r:"),
        nrows: int = 1,
        ncols: int = 1,
        figsize: tuple[float, float] = (3.5, 2.5),
    ) -> None:
        use_svg_display()
        self.fig, axes = plt.subplots(nrows, ncols, figsize=figsize, squeeze=False)
        self.axes = list(axes.flatten())
        self.fmts = fmts
        self.X: list[list[float]] = []
        self.Y: list[list[float]] = []
        self._set_axes = lambda: set_axes(self.axes[0], xlabel, ylabel, xlim, ylim, xscale, yscale, legend)
        self._lines: list[Any] = []
        self._names = (xlabel or "x", *(legend or ()))
        self._live = LiveFigure(self.fig)

    def add(self, x: Any, y: Any) -> None:
        """Add a point to each curve: `x` and `y` are values, or one for each; None leaves a curve as it is."""
        ys = y if hasattr(y, "__len__") else [y]
        xs = x if hasattr(x, "__len__") else [x] * len(ys)
        if not self.X:
            self.X, self.Y = [[] for _ in ys], [[] for _ in ys]
            self._lines = [self.axes[0].plot([], [], fmt)[0] for _, fmt in zip(ys, self.fmts, strict=False)]
            self._set_axes()
        for index, (a, b) in enumerate(zip(xs, ys, strict=True)):
            if a is not None and b is not None:
                self.X[index].append(as_float(a))
                self.Y[index].append(as_float(b))
        for line, *points in zip(self._lines, self.X, self.Y, strict=False):
            line.set_data(*points)
        self.axes[0].relim()
        self.axes[0].autoscale_view()
        self._live.update()
        self._print()

    def _print(self) -> None:
        """Print the values of a whole step of x, once all curves have reached it."""
        reached = {each[-1] for each in self.X if each}
        is_whole = len(reached) == 1 and all(self.X) and reached.pop().is_integer()
        if is_whole and len(self._names) > 1 and not in_notebook():
            values = (f"{name} {each[-1]:.3f}" for name, each in zip(self._names[1:], self.Y, strict=False))
            note(f"{self._names[0]} {self.X[0][-1]:g}  {'  '.join(values)}")


class Point(NamedTuple):
    """A point of a curve."""

    x: float
    y: float


class ProgressBoard(HyperParameters):
    """Curves that grow, each by its label; `every_n` points are averaged into one."""

    xlabel: str | None
    xlim: Any

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        xlim: Any = None,
        ylim: Any = None,
        xscale: str = "linear",
        yscale: str = "linear",
        ls: Sequence[str] = ["-", "--", "-.", ":"],
        colors: Sequence[str] = ["C0", "C1", "C2", "C3"],
        fig: Any = None,
        axes: Any = None,
        figsize: tuple[float, float] = (3.5, 2.5),
        display: bool = True,
    ) -> None:
        self.save_hyperparameters()
        self.raw_points: dict[str, list[Point]] = {}
        self.data: dict[str, list[Point]] = {}
        self._lines: dict[str, Any] = {}

    def draw(self, x: Any, y: Any, label: str, every_n: int = 1) -> None:
        """Add a point to the curve `label`; it is seen once `every_n` have come, as their mean."""
        waiting = self.raw_points.setdefault(label, [])
        curve = self.data.setdefault(label, [])
        waiting.append(Point(x, y))
        if len(waiting) < every_n:
            return
        xs, ys = ([as_float(part) for part in parts] for parts in zip(*waiting, strict=True))
        curve.append(Point(float(np.mean(xs)), float(np.mean(ys))))
        waiting.clear()
        if self.display:
            self._show(label)

    def _show(self, label: str) -> None:
        use_svg_display()
        if self.fig is None:
            self.fig = plt.figure(figsize=self.figsize) if self.axes is None else self.axes.figure
        if not self._lines:
            self._live = LiveFigure(self.fig)
            self._on = self.fig.gca() if self.axes is None else self.axes
        axes = self._on
        if label not in self._lines:
            look = len(self._lines)
            style = {"linestyle": self.ls[look % len(self.ls)], "color": self.colors[look % len(self.colors)]}
            self._lines[label] = axes.plot([], [], label=label, **style)[0]
            axes.set(xlabel=self.xlabel or "x", ylabel=self.ylabel or "", xscale=self.xscale, yscale=self.yscale)
            axes.legend()
        self._lines[label].set_data(*zip(*self.data[label], strict=True))
        axes.relim()
        axes.autoscale_view()
        # Last, and each time: the limits may have been set after the first point.
        if self.xlim:
            axes.set_xlim(self.xlim)
        if self.ylim:
            axes.set_ylim(self.ylim)
        self._live.update()
