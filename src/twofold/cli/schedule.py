"""`twofold schedule NAME…`: how the learning rate moves, as a table and a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twofold.cli.parse import Names, parse, write_figure
from twofold.cli.settings import settings_form
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.errors import TwofoldError, check_known
from twofold.optim.schedule import SCHEDULES
from twofold.terminal import print_json, print_table

_MOST = 8
_ROWS = 11
_SETTINGS = tuple(name for name, (chooser, _) in DEPENDENT_SETTINGS.items() if chooser == "schedule")


@dataclasses.dataclass(kw_only=True)
class _ScheduleArguments:
    """Print and draw how the learning rate moves while a network trains."""

    names: Names = ()
    """Schedules: constant, step, power, exponential, one-cycle, warmup-cosine; all if left out."""
    lr: float = 0.1
    epochs: int = 10
    figure: Path | None = None
    """The figure to write, .png, .svg or .pdf; schedule-NAME.png here if left out."""
    json: bool = False
    """Print one JSON object a schedule, with its learning rate at each epoch; draws only with --figure."""


def arguments_form() -> type[_ScheduleArguments]:
    return settings_form("ScheduleArguments", _ScheduleArguments, None, _SETTINGS)


def run(arguments: Sequence[str]) -> int:
    parsed: Any = parse(arguments_form(), arguments, verb="schedule")
    names = parsed.names or SCHEDULES
    for name in names:
        check_known("schedule", name, SCHEDULES)
    if len(names) > _MOST:
        raise TwofoldError(f"at most {_MOST} schedules fit into a figure, got {len(names)}")
    epochs, figure = parsed.epochs, parsed.figure
    given = {name: getattr(parsed, name) for name in _SETTINGS if getattr(parsed, name) is not None}
    for setting in given:
        using = DEPENDENT_SETTINGS[setting][1]
        if not set(names) & set(using):
            flag = "--" + setting.replace("_", "-")
            raise TwofoldError(
                f"{flag} has no effect on {', '.join(names)} (it is for {' or '.join(using)}); leave it out"
            )
    schedules = []
    for name in names:
        own = {setting: value for setting, value in given.items() if name in DEPENDENT_SETTINGS[setting][1]}
        schedules.append(Recipe(schedule=name, lr=parsed.lr, epochs=epochs, **own).learning_rate())
    if parsed.json:
        for name, schedule in zip(names, schedules, strict=True):
            rates = [schedule.at(epoch / epochs, epoch) for epoch in range(epochs + 1)]
            print_json({"schedule": name, **dataclasses.asdict(schedule), "learning_rates": rates})
    else:
        figure = figure or Path(f"schedule-{names[0] if len(names) == 1 else 'several'}.png")
        num_rows = min(epochs + 1, _ROWS)
        rows = []
        for epoch in (epochs * row / (num_rows - 1) for row in range(num_rows)):
            rows.append((f"{epoch:g}", *(f"{schedule.at(epoch / epochs, epoch):.3g}" for schedule in schedules)))
        print_table((">epoch", *(f">{name}" for name in names)), rows, title="learning rate")
    if figure is not None:
        from twofold.figures.schedule import draw_schedules

        write_figure(draw_schedules(list(zip(names, schedules, strict=True)), epochs=epochs), figure)
    return 0
