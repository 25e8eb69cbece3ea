"""Figures of optimisers on a surface: contours or a curve, and the paths over it; still or moving.

Contours are drawn where the surface has as much to show in its valley as on its slopes: evenly spaced where its values
are spread evenly, else closer and closer to the lowest value. Each path has a colour of Okabe and Ito's, which people
with any kind of colour vision can tell apart, and a marker of its own for print in grey.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from twofold.errors import TwofoldError
from twofold.figures.drawing import COLOURS, new_figure
from twofold.figures.glyphs import make_legible
from twofold.files import atomic_path
from twofold.landscape.surfaces import Box, Surface
from twofold.landscape.tracing import Trace, evaluate
from twofold.terminal import track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from PIL import Image

MOST_FRAMES = 1000
MOST_PATHS = 8

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_HIGH, _CONTOUR, _CURVE, _INK, _FAINT = "#ccd5dd", "#a3afba", "#8793a0", "0.15", "0.45"
_GRID = 101
_CURVE_POINTS = 401
_NUM_LEVELS = 14
# A path that leaves the surface's view widens it, up to this many times its size; then it is cut off at the frame.
_WIDEST = 3.0
_FRAME_MS, _LAST_FRAME_MS = 150, 2500
_GIF_DPI = 100


def draw_traces(traces: Sequence[Trace], *, title: str | None = None, view: Box | None = None) -> Figure:
    """Return the figure of one or several paths over one surface.

    Args:
        traces: at most `MOST_PATHS`, all on the same surface.
        title: above the figure; name and formula if left out.
        view: the box to draw; the surface's own, widened to hold the paths, if left out.

    Raises:
        TwofoldError: there are no traces, too many, or they are on several surfaces.
    """
    return _draw(traces, title, view)[0]


def _draw(traces: Sequence[Trace], title: str | None, view: Box | None) -> tuple[Figure, Axes, list[Line2D]]:
    surface = _common_surface(traces)
    figure = new_figure(7.2, 5.2 if surface.dimension == 2 else 4.4)
    axes = figure.subplots()
    draw_surface(axes, surface, view or fitting_view(surface, traces))
    lines = _draw_paths(axes, traces)
    if title is None:
        shown = surface.formula if len(surface.formula) <= 70 else f"{surface.formula[:67]}..."
        title = shown if surface.name == surface.formula else f"{surface.name}: {shown}"
    # A formula is the user's text: a dollar sign starts nothing.
    axes.set_title(title, loc="left", fontsize=10, color=_INK, parse_math=False)
    # The legend stands below the axes, where it covers nothing.
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=1 if len(traces) == 1 else 2,
        frameon=False,
        fontsize=9,
    )
    return figure, axes, lines


def draw_panels(panels: Sequence[tuple[str, Sequence[Trace], Box | None]]) -> Figure:
    """Return a figure with panels side by side, (title, paths, view) each; the view as for `draw_traces`."""
    flat = all(_common_surface(traces).dimension == 1 for _, traces, _ in panels)
    figure, axes_of_panels = new_panels(len(panels), width=4.6 if len(panels) < 3 else 3.8, height=3.0 if flat else 3.4)
    for axes, (title, traces, view) in zip(axes_of_panels, panels, strict=True):
        surface = _common_surface(traces)
        draw_surface(axes, surface, view or fitting_view(surface, traces))
        _draw_paths(axes, traces)
        axes.set_title(title, loc="left", fontsize=10, color=_INK)
        if len(traces) > 1:
            axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=9, loc="lower right")
    return figure


def new_panels(
    num_panels: int,
    *,
    columns: int = 3,
    width: float = 3.8,
    height: float = 3.2,
    sharey: bool = False,
    three_d: Sequence[int] = (),
) -> tuple[Figure, list[Any]]:
    """Return a new figure and its panels, in rows of `columns`, `width` by `height` inches each; `three_d` in space."""
    columns = min(columns, num_panels)
    rows = math.ceil(num_panels / columns)
    figure = new_figure(width * columns, height * rows)
    panels: list[Any] = []
    for index in range(num_panels):
        options: dict[str, Any] = {"projection": "3d"} if index in three_d else {}
        panels.append(
            figure.add_subplot(rows, columns, index + 1, sharey=panels[0] if sharey and panels else None, **options)
        )
    return figure, panels


def save_animation(traces: Sequence[Trace], path: Path, *, title: str | None = None, view: Box | None = None) -> None:
    """Write the paths as an animated GIF to `path`: a frame a step, then a pause, for ever.

    Raises:
        TwofoldError: as for `draw_traces`; or there are more than `MOST_FRAMES` steps.
        RunError: it cannot be written.
    """
    from PIL import Image

    _common_surface(traces)
    num_frames = max(len(trace.path) for trace in traces)
    if num_frames > MOST_FRAMES:
        raise TwofoldError(
            f"an animation has {MOST_FRAMES:,} frames at most, and this one would have {num_frames:,}; "
            "take fewer steps, or draw a still figure"
        )
    frames: list[Image.Image] = []
    figure, axes, lines = _draw(traces, title, view)
    figure.set_dpi(_GIF_DPI)
    canvas: Any = figure.canvas
    make_legible(figure)
    for line in lines:
        line.set_animated(True)
    # The surface is drawn once; what moves is drawn over a copy of it.
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for frame in track(range(num_frames), total=num_frames, label="drawing frames"):
        canvas.restore_region(background)
        for trace, line in zip(traces, lines, strict=True):
            line.set_data(*_drawn(trace, frame + 1))
            axes.draw_artist(line)
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    palette = _palette(frames[-1], COLOURS[: len(traces)])
    quantised = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [_FRAME_MS] * (num_frames - 1) + [_LAST_FRAME_MS]
    with atomic_path(path) as temporary:
        quantised[0].save(
            temporary, format="GIF", save_all=True, append_images=quantised[1:], duration=durations, loop=0
        )


def _palette(last: Image.Image, colours: Sequence[str]) -> Image.Image:
    """Return one palette for all frames, or colours would flicker; a path that others cover keeps its colour."""
    from PIL import Image

    strip = 24
    sheet = Image.new("RGB", (last.width, last.height + strip * len(colours)), "white")
    sheet.paste(last, (0, 0))
    for index, colour in enumerate(colours):
        sheet.paste(colour, (0, last.height + index * strip, last.width, last.height + (index + 1) * strip))
    return sheet.quantize(128, dither=Image.Dither.NONE)


def fitting_view(surface: Surface, traces: Sequence[Trace]) -> Box:
    """Return the surface's view, widened as far as sensible to hold the paths."""
    sides = []
    for index, (left, right) in enumerate(surface.view):
        values = torch.cat([trace.path[:, index] for trace in traces])
        start = float(traces[0].path[0, index])
        margin, reach = 0.04 * (right - left), (_WIDEST - 1) / 2 * (right - left)
        low, high = min(left, start - margin), max(right, start + margin)
        lowest, highest = float(values.min()) - margin, float(values.max()) + margin
        sides.append((min(low, max(lowest, low - reach)), max(high, min(highest, high + reach))))
    return tuple(sides)


def draw_surface(axes: Axes, surface: Surface, view: Box) -> None:
    """Draw the contours, or the curve, and mark the minima and the saddles that are known."""
    if surface.dimension == 1:
        _draw_curve(axes, surface, view)
    else:
        _draw_contours(axes, surface, view)
    for known in surface.stationary:
        if known.kind == "maximum":
            continue
        is_minimum = known.kind == "minimum"
        height = (known.value,) if surface.dimension == 1 else ()
        axes.plot(
            *([coordinate] for coordinate in (*known.point, *height)),
            marker="*" if is_minimum else "x",
            markersize=11 if is_minimum else 7,
            markerfacecolor="white",
            markeredgecolor=_INK,
            markeredgewidth=1.0 if is_minimum else 1.6,
            linestyle="none",
            zorder=5,
        )
    axes.tick_params(labelsize=9, color=_FAINT, labelcolor=_INK)
    axes.spines[:].set_color("0.7")


def _common_surface(traces: Sequence[Trace]) -> Surface:
    if not traces:
        raise TwofoldError("there is no trace to draw")
    if len(traces) > MOST_PATHS:
        raise TwofoldError(f"a figure has room for {MOST_PATHS} paths, got {len(traces)}")
    surfaces = {trace.surface.name: trace.surface for trace in traces}
    if len(surfaces) > 1:
        raise TwofoldError(f"the traces of a figure must be on one surface, got {', '.join(surfaces)}")
    return traces[0].surface


def _draw_contours(axes: Axes, surface: Surface, view: Box) -> None:
    (left, right), (bottom, top) = view
    x, y = (torch.linspace(low, high, _GRID, dtype=torch.float64) for low, high in view)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    with torch.no_grad():
        values = evaluate(surface, points).numpy()
    levels = contour_levels(values, [point.value for point in surface.minima])
    shown = np.ma.masked_invalid(values)
    names = ("x", "y") if re.search(r"\by\b", surface.formula) else ("x1", "x2")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=names[0], ylabel=names[1])
    if len(levels) > 1:
        from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

        # White at the bottom of the valley, and a shade of its own for each band: pale, for the paths have the colours.
        shades = LinearSegmentedColormap.from_list("slope", ["white", _HIGH], N=len(levels) + 1)
        norm = BoundaryNorm(levels, len(levels) + 1, extend="both")
        bands = axes.contourf(x.numpy(), y.numpy(), shown, levels=levels, cmap=shades, extend="both", norm=norm)
        # The edges of the bands are the contours; this also closes the gaps that viewers leave between bands.
        bands.set(edgecolor=_CONTOUR, linewidth=0.6, antialiased=True)


def contour_levels(values: np.ndarray, known: Sequence[float] = ()) -> np.ndarray:
    """Return at which values to draw contours, ascending.

    Values are those of the surface over the view, and count where they are finite; `known` are those of minima, which
    may lie between the points of a grid.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return np.array([])
    lowest, highest = min(float(finite.min()), *known, math.inf), float(finite.max())
    above = finite - lowest
    middle = float(np.median(above))
    low = float(np.quantile(above, 0.02))
    # Half of the view within the lowest quarter: steep walls, on which even steps would all be drawn.
    if low > 0 and middle < (highest - lowest) / 4:
        return lowest + np.geomspace(low, 0.95 * (highest - lowest), _NUM_LEVELS)
    return lowest + (highest - lowest) * (np.arange(_NUM_LEVELS) + 0.5) / _NUM_LEVELS


def _draw_curve(axes: Axes, surface: Surface, view: Box) -> None:
    ((left, right),) = view
    x = torch.linspace(left, right, _CURVE_POINTS, dtype=torch.float64)
    with torch.no_grad():
        values = evaluate(surface, x[:, None]).numpy()
    axes.plot(x.numpy(), np.ma.masked_invalid(values), color=_CURVE, linewidth=2, zorder=1)
    finite = values[np.isfinite(values)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set(xlim=(left, right), xlabel="x", ylabel="f(x)")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_paths(axes: Axes, traces: Sequence[Trace]) -> list[Line2D]:
    lines = []
    for trace, colour, marker in zip(traces, COLOURS, _MARKERS, strict=False):
        # Markers have a rim unless the points are too many, or too near to each other.
        spans = [high - low for low, high in trace.surface.view]
        lengths = (trace.updates / torch.tensor(spans, dtype=torch.float64)).norm(dim=1)
        few = trace.num_steps == 0 or (trace.num_steps <= 60 and float(lengths.mean()) >= 0.006)
        (line,) = axes.plot(
            *_drawn(trace),
            color=colour,
            marker=marker,
            markersize=4.5 if few else 2.5,
            markeredgecolor="white" if few else colour,
            markeredgewidth=0.5 if few else 0.0,
            linewidth=1.5 if few else 1.2,
            label=describe(trace),
            zorder=3,
        )
        lines.append(line)
    return lines


def _drawn(trace: Trace, num_points: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return a path's coordinates in the figure; a curve's second one is the value."""
    path = trace.path[:num_points].numpy()
    return (path[:, 0], path[:, 1]) if trace.surface.dimension == 2 else (path[:, 0], trace.values[:num_points].numpy())


# Symbols of the settings that decide a path; ε does so for AdaDelta alone, whose first steps are about √ε.
_SIGNS = {"lr": "η", "momentum": "γ", "gamma": "γ", "rho": "ρ", "beta1": "β₁", "beta2": "β₂", "weight_decay": "λ"}


def describe(trace: Trace, *, end: bool = True) -> str:
    """Return a path's name: the rule, its settings and, with `end`, whether it came to a bad end."""
    settings = {**trace.settings}
    if trace.optimizer == "adadelta" and settings.get("lr") == 1.0:
        del settings["lr"]
    signs = {**_SIGNS, "eps": "ε"} if trace.optimizer == "adadelta" else _SIGNS
    words = ", ".join(f"{sign} = {settings[name]:g}" for name, sign in signs.items() if name in settings)
    name = f"{trace.optimizer}, {words}" if words else trace.optimizer
    return f"{name} ({trace.ended})" if end and trace.ended else name
