"""Figures of curvature over training, and of the claims about gradients and steps that were measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from twofold.figures.drawing import new_figure, plain_axes, save_figure
from twofold.landscape.averaging import Memory
from twofold.landscape.gradient_noise import Variance
from twofold.landscape.hessian import Extremes

# Apart in lightness too, so that they differ in grey print and for every kind of colour vision.
_RED, _BLUE, _GREY, _INK = "#c8553d", "#2f6690", "0.55", "0.15"


def draw_curvature(
    steps: Sequence[int],
    losses: Sequence[float],
    extremes: Sequence[Extremes],
    edge: float,
    path: Path,
    *,
    title: str,
    edge_name: str = "2/η",
) -> None:
    """Draw loss, largest and smallest eigenvalue over training into `path` (.png, .svg or .pdf).

    Losses and eigenvalues are those at each of `steps`; `edge` is the largest eigenvalue at which a quadratic would
    still be stable, `edge_name` its formula.
    """
    figure = new_figure(7.5, 6.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.9))
    above.plot(steps, losses, color=_INK, linewidth=1.8, marker="o", markersize=3.5)
    above.set_ylim(bottom=0)
    plain_axes(above, "loss")
    below.axhline(edge, color=_GREY, linewidth=1.4, linestyle=(0, (5, 3)))
    below.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    # Names stand to the right of the last point, where no curve can run through them.
    labels: list[tuple[float, str, str]] = []
    for name, colour, marker in (("largest", _RED, "o"), ("smallest", _BLUE, "s")):
        values = [getattr(found, name) for found in extremes]
        errors = [getattr(found, f"{name}_error") for found in extremes]
        below.errorbar(
            steps, values, yerr=errors,
            color=colour, linewidth=1.8, marker=marker, markersize=4, elinewidth=1, capsize=2,
        )  # fmt: skip
        labels.append((values[-1], name, colour))
    labels.append((edge, f"{edge_name} = {edge:.3g}", "0.35"))
    low, high = below.get_ylim()
    for at, (_, text, colour) in zip(_apart([y for y, _, _ in labels], (high - low) * 0.06), labels, strict=True):
        below.annotate(
            text, (1.01, at), xycoords=("axes fraction", "data"),
            color=colour, fontsize=10, va="center", annotation_clip=False,
        )  # fmt: skip
    below.set_xlabel("step")
    plain_axes(below, "eigenvalues of the Hessian")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    save_figure(figure, path, tight=True)


def draw_claims(
    with_replacement: Sequence[Variance],
    without: Sequence[Variance],
    num_images: int,
    bounds: Sequence[tuple[str, float, float]],
    memories: Sequence[tuple[float, Memory]],
    path: Path,
) -> None:
    """Draw what `twofold claims` measured, points for what was measured on lines of what theory says.

    Args:
        with_replacement, without: variances of the gradient, by batch size, of batches with and without replacement.
        num_images: images that the batches are drawn from.
        bounds: rule, measured and expected learning rate times λ_max at which it begins to diverge.
        memories: decays γ, and what averages with them hold.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = new_figure(12.5, 4.2)
    noise, stability, memory = figure.subplots(1, 3, width_ratios=(1.15, 0.95, 1.15))

    for variances, colour, marker, name in (
        (with_replacement, _RED, "o", "with replacement"),
        (without, _BLUE, "s", "without replacement"),
    ):
        shown = [variance for variance in variances if variance.theory > 0]
        sizes = [variance.batch_size for variance in shown]
        noise.plot(sizes, [variance.theory for variance in shown], color=colour, linewidth=1.4)
        noise.errorbar(
            sizes, [variance.measured for variance in shown], yerr=[2 * variance.error for variance in shown],
            color=colour, linestyle="none", marker=marker, markersize=5, capsize=2, label=name,
        )  # fmt: skip
    noise.set_xscale("log", base=2)
    noise.set_yscale("log")
    noise.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    noise.xaxis.set_minor_formatter(NullFormatter())
    noise.set_xlabel("batch size; lines: theory, bars: two standard errors")
    noise.legend(frameon=False, fontsize=9, loc="lower left")
    plain_axes(noise, f"variance of the gradient, {num_images} images")

    rows = list(range(len(bounds)))
    stability.barh(rows, [expected for _, _, expected in bounds], height=0.5, color="0.88")
    stability.plot(
        [measured for _, measured, _ in bounds], rows, color=_RED, linestyle="none", marker="D", markersize=6
    )
    for row, (_, measured, _) in zip(rows, bounds, strict=True):
        stability.annotate(
            f"{measured:.3f}", (measured, row), (9, 0), textcoords="offset points", va="center", fontsize=9
        )
    stability.set_yticks(rows, [rule for rule, _, _ in bounds])
    stability.invert_yaxis()
    stability.set_xlim(0, 1.22 * max(expected for _, _, expected in bounds))
    stability.set_xlabel("learning rate · λ_max; bar: theory")
    stability.tick_params(left=False)
    plain_axes(stability, "where it begins to diverge")

    reach = 5.0
    limit = [reach * index / 200 for index in range(201)]
    memory.plot(
        limit, [1 - math.exp(-x) for x in limit], color=_GREY, linewidth=1.2, linestyle=(0, (5, 3)), label="1 − exp(−x)"
    )
    memory.axvline(1, color="0.8", linewidth=1, zorder=0)
    for (decay, held), colour, marker in zip(memories, (_BLUE, _RED, _INK), ("s", "o", "^"), strict=False):
        lasting = [index for index in range(len(held.weights)) if (index + 1) * (1 - decay) <= reach]
        sums = list(itertools.accumulate(held.weights))
        memory.plot(
            [(index + 1) * (1 - decay) for index in lasting],
            [sums[index] / held.total for index in lasting],
            color=colour, linestyle="none", marker=marker, markersize=5,
            markevery=max(1, held.horizon // 4),
            label=f"γ = {decay:g}: the last {held.horizon} hold {100 * held.recent_share:.0f}%",
        )  # fmt: skip
    memory.set_xlim(0, reach)
    memory.set_ylim(0, 1.05)
    memory.set_xlabel("number of gradients · (1 − γ)")
    memory.legend(frameon=False, fontsize=9, loc="lower right")
    plain_axes(memory, "share of momentum in its last gradients")
    save_figure(figure, path, tight=True)


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Return the heights in their order, moved up where two are nearer than `least`.

    >>> _apart([1.0, 5.0, 1.1], 0.5)
    [1.0, 5.0, 1.5]
    """
    moved = list(heights)
    previous = float("-inf")
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        moved[index] = previous = max(heights[index], previous + least)
    return moved
