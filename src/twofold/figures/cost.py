"""Time and memory of both forms of each idea, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.figures.drawing import new_figure, save_figure

if TYPE_CHECKING:
    from twofold.proof.cost import Cost

_READ, _RUN = "#c8553d", "#2f6690"


def draw_costs(costs: Sequence[Cost], path: Path, conditions: str) -> None:
    """Draw time and peak memory of both forms, an idea a row, into `path` (.png, .svg or .pdf)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = list(range(len(costs)))
    figure = new_figure(10, 1.6 + 0.32 * len(costs))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, values, ratios in (
        (
            panels[0],
            "time of one call, ms",
            [(c.read.seconds * 1e3, c.run.seconds * 1e3) for c in costs],
            [c.time_ratio for c in costs],
        ),
        (
            panels[1],
            "peak memory, MiB",
            [(c.read.peak_bytes / 2**20, c.run.peak_bytes / 2**20) for c in costs],
            [c.memory_ratio for c in costs],
        ),
    ):
        for row, (read, run) in zip(rows, values, strict=True):
            axes.plot([read, run], [row, row], color="0.75", linewidth=2, zorder=1)
        axes.scatter([run for _, run in values], rows, color=_RUN, s=36, zorder=2, label="to run")
        axes.scatter([read for read, _ in values], rows, color=_READ, s=36, marker="D", zorder=3, label="to read")
        axes.set_xscale("log")
        low, high = min(map(min, values)), max(map(max, values))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if low > 0 and high / low < 1e3 else (1,), numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, fontsize=11, loc="left")
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
        twin = axes.secondary_yaxis("right")
        twin.set_yticks(rows, [f"{ratio:.1f}x" for ratio in ratios], fontsize=9, color="0.35")
        twin.spines["right"].set_visible(False)
        twin.tick_params(right=False)
    panels[0].set_yticks(rows, [c.idea.name for c in costs])
    panels[0].set_ylim(len(costs) - 0.3, -0.7)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper right", ncols=2, frameon=False, fontsize=10)
    figure.suptitle("What the readable form costs", x=0.01, ha="left", fontsize=13)
    figure.text(0.005, -0.01, conditions, fontsize=8, color="0.4", va="top")
    save_figure(figure, path, tight=True)
