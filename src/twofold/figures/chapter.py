"""The figures of D2L's chapter on optimisation, each made anew from a trace: `FIGURES` maps a name to its drawing.

All paths on the quadratic start at (-5, -2) and have 20 steps, in D2L's convention. `make figures` writes them;
the same code gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.figures.drawing import COLOURS
from twofold.figures.trace import draw_panels, draw_surface, draw_traces, new_panels
from twofold.landscape.surfaces import SURFACES, Box
from twofold.landscape.tracing import Trace, trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VIEW: Box = ((-5.5, 1.0), (-3.0, 2.0))
_WIDE: Box = ((-5.5, 2.5), (-3.0, 3.2))  # for rules that shoot past the minimum
_INK, _FAINT = "0.15", "0.45"
_HEADING: dict[str, Any] = {"loc": "left", "fontsize": 10, "color": _INK}
_RIM: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
_PATH: dict[str, Any] = {"color": COLOURS[0], "linewidth": 1.5, "zorder": 3, **_RIM}


def saddle() -> Figure:
    """Draw what a point without slope can be: x³, and x1² − x2² as a surface in space and with a path over it."""
    figure, (curve, space, contours) = new_panels(3, height=3.6, three_d=(1,))
    cubic = trace("cubic", "sgd", steps=20, lr=0.1)
    draw_surface(curve, cubic.surface, cubic.surface.view)
    curve.plot(cubic.path[:, 0].numpy(), cubic.values.numpy(), **_PATH)
    curve.set_title("x³: gradient descent stops at 0,\nwhere the curve is flat, though it falls on", **_HEADING)

    grid = np.linspace(-1.0, 1.0, 21)
    x, y = np.meshgrid(grid, grid)
    space.plot_surface(x, y, x**2 - y**2, cmap="Greys", vmin=-1.5, vmax=2.5, edgecolor="white", linewidth=0.3)
    line, zeros = np.linspace(-1.0, 1.0, 41), np.zeros(41)
    space.plot(line, zeros, line**2, color=COLOURS[0], linewidth=2, zorder=10)
    space.plot(zeros, line, -(line**2), color=COLOURS[2], linewidth=2, zorder=10)
    space.plot([0], [0], [0], marker="x", color=_INK, markersize=7, markeredgewidth=1.8, zorder=11)
    space.set(xlabel="x1", ylabel="x2", xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[-1, 0, 1])
    space.tick_params(labelsize=8, pad=-2)
    space.view_init(elev=28, azim=-58)
    space.set_title("x1² − x2²: at 0 a minimum along x1\nand a maximum along x2", **_HEADING)

    down = trace("saddle", "sgd", steps=20, lr=0.2)
    draw_surface(contours, down.surface, down.surface.view)
    contours.plot(*down.path.T.numpy(), **_PATH)
    contours.set_title("gradient descent comes near,\nand leaves along x2", **_HEADING)
    return figure


def step_sizes() -> Figure:
    """Draw ten steps of gradient descent on x² from 10: too small, right, and too large."""
    panels = []
    for lr, words in ((0.05, "still far away"), (0.2, "nearly there"), (1.1, "further off at each step")):
        path = trace("parabola", "sgd", start=(10.0,), steps=10, lr=lr)
        panels.append((f"x², η = {lr:g}: {words}", [path], None))
    return draw_panels(panels)


def all_rules() -> Figure:
    """Draw every rule of the chapter in one figure."""
    return draw_traces(_each_rule(), title="Twenty steps from (-5, -2) down 0.1 x1² + 2 x2²", view=_WIDE)


def effective_rates() -> Figure:
    """Draw the learning rate that each coordinate really has at each step, rule by rule."""
    figure, panels = new_panels(4, columns=4, width=3.0, height=2.9, sharey=True)
    rules = [path for path in _each_rule() if path.optimizer in ("sgd", "adagrad", "rmsprop", "adam")]
    for axes, path in zip(panels, rules, strict=True):
        rates = path.effective_rates.numpy()
        steps = np.arange(1, path.num_steps + 1)
        for index, (marker, size) in enumerate((("o", 5.5), ("s", 2.8))):
            shown = np.where(rates[:, index] > 0, rates[:, index], np.nan)
            axes.plot(steps, shown, color=COLOURS[index], marker=marker, markersize=size, label=f"x{index + 1}")
        if path.optimizer == "adam":
            words = "gaps: steps up the slope,\nby its own velocity"
            axes.text(0.05, 0.96, words, transform=axes.transAxes, fontsize=8, color=_FAINT, va="top")
        axes.set_yscale("log")
        axes.set_ylim(0.01, 100)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.label_outer()
        axes.set_title(path.optimizer, **_HEADING)
        axes.set_xlabel("step", fontsize=9)
        axes.set_xticks([1, 10, 20])
        axes.tick_params(labelsize=8, color=_FAINT)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("step / (−gradient)", fontsize=9)
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def _each_rule() -> list[Trace]:
    return [
        _on_quadratic("sgd", lr=0.4),
        _on_quadratic("momentum", lr=0.4, momentum=0.5),
        _on_quadratic("adagrad", lr=0.4),
        _on_quadratic("rmsprop", lr=0.4, gamma=0.9),
        _on_quadratic("adam", lr=0.4),
        _on_quadratic("adadelta", rho=0.9, eps=1e-5),
    ]


def _on_quadratic(optimizer: str, **settings: Any) -> Trace:
    return trace(SURFACES["quadratic"], optimizer, (-5.0, -2.0), 20, **settings)


def _pair(*panels: tuple[str, Trace], view: Box = _VIEW) -> Figure:
    return draw_panels([(title, [path], view) for title, path in panels])


FIGURES: dict[str, Callable[[], Figure]] = {
    "saddle": saddle,
    "step-sizes": step_sizes,
    # What is right along x2 is too small along x1.
    "steepest-descent": lambda: draw_panels(
        [
            ("Gradient descent, η = 0.4: slow along x1", [_on_quadratic("sgd", lr=0.4)], _VIEW),
            ("Gradient descent, η = 0.6: diverges along x2", [_on_quadratic("sgd", lr=0.6)], (_VIEW[0], (-12.0, 12.0))),
        ]
    ),
    "momentum": lambda: _pair(
        ("Momentum, η = 0.4, γ = 0.5: faster along x1", _on_quadratic("momentum", lr=0.4, momentum=0.5)),
        ("Momentum, η = 0.6, γ = 0.5: comes back", _on_quadratic("momentum", lr=0.6, momentum=0.5)),
        view=_WIDE,
    ),
    "adagrad": lambda: _pair(
        ("AdaGrad, η = 0.4: its steps shrink too soon", _on_quadratic("adagrad", lr=0.4)),
        ("AdaGrad, η = 2: large enough", _on_quadratic("adagrad", lr=2.0)),
    ),
    "rmsprop": lambda: _pair(
        ("AdaGrad, η = 0.4: its rates only fall", _on_quadratic("adagrad", lr=0.4)),
        ("RMSProp, η = 0.4, γ = 0.9: they rise again", _on_quadratic("rmsprop", lr=0.4, gamma=0.9)),
    ),
    # Its first steps are about the root of ε.
    "adadelta": lambda: _pair(
        ("AdaDelta, ρ = 0.9, ε = 0.00001: hardly begun", _on_quadratic("adadelta", rho=0.9, eps=1e-5)),
        ("AdaDelta, ρ = 0.9, ε = 0.1: longer first steps", _on_quadratic("adadelta", rho=0.9, eps=0.1)),
    ),
    "adam": lambda: _pair(
        ("Adam, η = 0.4: shoots past the minimum", _on_quadratic("adam", lr=0.4)),
        ("Adam, η = 1: further past it, and back", _on_quadratic("adam", lr=1.0)),
        view=_WIDE,
    ),
    "all-rules": all_rules,
    "effective-rates": effective_rates,
}
