"""The figure of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twofold.figures.drawing import COLOURS, new_figure, plain_axes
from twofold.optim.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 1000


def draw_schedules(schedules: Sequence[tuple[str, Schedule]], *, epochs: int) -> Figure:
    """Return the learning rate over `epochs` epochs, a line for each labelled schedule.

    Each line goes through a thousand points, so that a step down looks like one.
    """
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    for (label, schedule), colour in zip(schedules, COLOURS, strict=False):
        at = [epochs * (point + 0.5) / _POINTS for point in range(_POINTS)]
        rates = [schedule.at(epoch / epochs, epoch) for epoch in at]
        axes.plot(at, rates, color=colour, linewidth=1.8, label=label)
    plain_axes(axes, "learning rate")
    axes.set_xlabel("epochs done")
    axes.set_xlim(0, epochs)
    axes.set_ylim(bottom=0)
    if schedules:
        axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
