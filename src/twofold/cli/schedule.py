"""`twofold schedule NAME…`: how the learning rate moves, as a table and a figure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from twofold.cli.parse import parse, write_figure
from twofold.cli.settings import settings_form
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.errors import TwofoldError, check_known
from twofold.optim.schedule import SCHEDULES, Schedule
from twofold.terminal import print_table

_MOST = 8
_ROWS = 11
_SETTINGS = tuple(name for name, (chooser, _) in DEPENDENT_SETTINGS.items() if chooser == "schedule")


@dataclasses.dataclass(kw_only=True)
class _ScheduleArguments:
    """Print and draw how the learning rate moves while a network trains."""

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """Schedules: constant, step, power, exponential, one-cycle, warmup-cosine; all if left out."""
    lr: float = 0.1
    epochs: int = 10
    figure: Path | None = None
    """The figure to write, .png, .svg or .pdf; schedule-NAME.png here if left out."""
    json: bool = False
    """Print one JSON object a schedule, with its learning rate at each epoch; draws only with --figure."""


def arguments_form() -> type[_ScheduleArguments]:
    """Return the type of this command's arguments: its own, and the settings of a recipe that some schedule has."""
    return settings_form("ScheduleArguments", _ScheduleArguments, None, _SETTINGS)


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold schedule`."""
    parsed: Any = parse(arguments_form(), arguments, verb="schedule")
    names = parsed.names or list(SCHEDULES)
    for name in names:
        check_known("schedule", name, SCHEDULES)
    if len(names) > _MOST:
        raise TwofoldError(f"at most {_MOST} schedules fit into a figure, got {len(names)}")
    schedules = _schedules(names, parsed)
    figure = parsed.figure
    if figure is None and not parsed.json:
        figure = Path(f"schedule-{names[0] if len(names) == 1 else 'several'}.png")
    if parsed.json:
        for name, schedule in zip(names, schedules, strict=True):
            rates = [schedule.at(epoch / parsed.epochs, epoch) for epoch in range(parsed.epochs + 1)]
            print(json.dumps({"schedule": name, **dataclasses.asdict(schedule), "learning_rates": rates}))
    else:
        _print_table(names, schedules, parsed.epochs)
    if figure is not None:
        from twofold.figures.schedule import draw_schedules

        write_figure(draw_schedules(list(zip(names, schedules, strict=True)), epochs=parsed.epochs), figure)
    return 0


def _schedules(names: Sequence[str], parsed: Any) -> list[Schedule]:
    """Return the schedules, each with those settings that it has; one that none of them has is an error."""
    given = {name: getattr(parsed, name) for name in _SETTINGS if getattr(parsed, name) is not None}
    own = {name: {s for s in given if name in DEPENDENT_SETTINGS[s][1]} for name in names}
    for setting in given:
        if not any(setting in settings for settings in own.values()):
            using = " or ".join(DEPENDENT_SETTINGS[setting][1])
            flag = "--" + setting.replace("_", "-")
            raise TwofoldError(f"{flag} has no effect on {', '.join(names)} (it is for {using}); leave it out")
    common = {"lr": parsed.lr, "epochs": parsed.epochs}
    recipes = [Recipe(schedule=name, **common, **{setting: given[setting] for setting in own[name]}) for name in names]
    return [recipe.learning_rate() for recipe in recipes]


def _print_table(names: Sequence[str], schedules: Sequence[Schedule], epochs: int) -> None:
    num_rows = min(epochs + 1, _ROWS)
    marks = [epochs * row / (num_rows - 1) for row in range(num_rows)]
    rows = [(f"{epoch:g}", *(f"{schedule.at(epoch / epochs, epoch):.3g}" for schedule in schedules)) for epoch in marks]
    print_table((">epoch", *(f">{name}" for name in names)), rows, title="learning rate")
