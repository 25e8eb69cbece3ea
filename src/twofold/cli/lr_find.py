"""`twofold lr-find MODEL --data …`: the largest learning rate at which a network still learns."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from twofold.cli.parse import parse, say_written
from twofold.cli.settings import given_settings, on_command_line, settings_form
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.errors import SettingError, TwofoldError
from twofold.terminal import loading, note, print_json

# The settings of a recipe that mean something in a range test.
_SETTINGS = (
    *("data", "images", "columns", "image_size", "channels", "resize", "augment", "model_options", "label_smoothing"),
    *("optimizer", "weight_decay", "momentum", "nesterov", "gamma", "rho", "beta1", "beta2", "epsilon", "convention"),
    *("batch_size", "seed", "device", "precision"),
)


@dataclasses.dataclass(kw_only=True)
class _RangeArguments:
    """Raise the learning rate from step to step until the loss diverges, and suggest one that stays well below.

    Give the optimizer, batch size and augmentation of the training that the learning rate is for.
    """

    SECTION = "this test"

    model: tyro.conf.Positional[str]
    min: float = 1e-6
    """The first learning rate."""
    max: float = 10.0
    """The last learning rate, unless the loss diverges before."""
    steps: int = 300
    """Steps from the first to the last."""
    smoothing: float = 0.9
    """Share of the average loss that is kept from step to step; 0 takes each loss as it is."""
    skip_broken: bool = False
    figure: Path | None = None
    json: bool = False
    quiet: bool = False


def arguments_form() -> type[_RangeArguments]:
    return settings_form("LrFindArguments", _RangeArguments, Recipe(), _SETTINGS)


def run(arguments: Sequence[str]) -> int:
    parsed: Any = parse(arguments_form(), arguments, verb="lr-find")
    recipe = Recipe().override(**given_settings(parsed, arguments))
    with loading("torch"):
        from twofold.study.lr_find import lr_find

    test = {"low": parsed.min, "high": parsed.max, "steps": parsed.steps, "smoothing": parsed.smoothing}
    try:
        found = lr_find(recipe, **test, skip_broken=parsed.skip_broken, show=not parsed.quiet)
    except SettingError as error:
        ours = {"low": "--min", "high": "--max"}
        raise TwofoldError(error.written(lambda setting: ours.get(str(setting)) or on_command_line(setting))) from None
    steepest = None if found.steepest is None else found.rates[found.steepest]
    if parsed.json:
        own = {"model": recipe.model, "data": recipe.data, "lowest_lr": found.rates[found.lowest]}
        print_json(own | {"steepest_lr": steepest, "optimizer": recipe.optimizer} | dataclasses.asdict(found))
    elif found.suggestion is None:
        print(found.reason)
    else:
        default = f"--lr {DEPENDENT_SETTINGS['lr'][1][recipe.optimizer]:g}, that of {recipe.optimizer}"
        rows = [("suggestion", f"--lr {found.suggestion:.2g}"), ("default", default), ("reason", found.reason)]
        if steepest is not None:
            fall = "where the loss falls fastest, which others suggest; it moves with the number of steps"
            rows.append(("steepest fall", f"{steepest:.2g}, {fall}"))
        for name, text in rows:
            print(textwrap.fill(f"{name:<15}{text}", 80, subsequent_indent=" " * 15, break_on_hyphens=False))
    if parsed.figure is not None:
        from twofold.figures.studies import Mark, draw_range_test

        marks = []
        if found.suggestion is not None:
            nearest = min(
                range(len(found.rates)), key=lambda index: abs(found.rates[index] - (found.suggestion or 0.0))
            )
            if found.steepest is not None:
                marks.append(Mark(found.rates[found.steepest], found.smoothed[found.steepest], "steepest fall"))
            marks.append(Mark(found.suggestion, found.smoothed[nearest], "suggestion", is_suggestion=True))
            marks.append(Mark(found.rates[found.lowest], found.smoothed[found.lowest], "lowest loss"))
        title = f"Learning-rate range test: {recipe.model} on {Path(recipe.data).name}, {recipe.optimizer}"
        curves = (found.rates, found.losses, found.smoothed)
        draw_range_test(parsed.figure, *curves, marks, title=title, caption=found.reason)
        say_written(parsed.figure)
    elif not parsed.quiet and not parsed.json:
        note("--figure FILE draws the curve")
    return 0 if found.suggestion is not None else 1
