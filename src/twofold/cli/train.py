"""`twofold train MODEL --data NAME_OR_PATH`: the recipe as options, and nothing more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from twofold.cli.parse import check_least, parse
from twofold.cli.settings import given_settings, on_command_line, settings_form, words_of_setting
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.recipes import find_recipe
from twofold.errors import TwofoldError
from twofold.memory import freed_memory_is_kept
from twofold.terminal import command, loading, note, say


@dataclasses.dataclass(kw_only=True)
class RunArguments:
    """What a run has beside its recipe, in `train` and `finetune` alike."""

    SECTION = "this run"

    out: Path = Path("runs")
    """Where the run folder is made."""
    name: str | None = None
    """Name of the run folder; made from time, model and data if left out."""
    skip_broken: bool = False
    checkpoint_seconds: float = 60.0
    """Seconds between two saves of the state."""
    save_every: int | None = None
    """Keep the weights of every N-th epoch too, as checkpoints/epoch-NNNN.safetensors."""
    keep_best: int | None = None
    """Keep the weights of the N best epochs, as checkpoints/best-NNNN.safetensors."""
    memory_limit_mb: int | None = None
    """Decoded images kept in memory, in MB; a quarter of what is free if left out."""
    quiet: bool = False

    def options(self) -> Options:
        """As the engine takes them."""
        check_least(1, save_every=self.save_every, keep_best=self.keep_best)
        check_least(0, checkpoint_seconds=self.checkpoint_seconds, memory_limit_mb=self.memory_limit_mb)
        return Options(
            show=not self.quiet,
            checkpoint_seconds=self.checkpoint_seconds,
            skip_broken=self.skip_broken,
            save_every=self.save_every,
            keep_best=self.keep_best,
            memory_limit=None if self.memory_limit_mb is None else self.memory_limit_mb * 1_000_000,
        )


@dataclasses.dataclass(kw_only=True)
class _TrainArguments(RunArguments):
    """Train a network as a recipe says, and leave a run folder with its weights and a report.

    A setting that is left out comes from --recipe, or has the default shown. A setting that the chosen optimizer or
    schedule would ignore is an error.
    """

    model: tyro.conf.Positional[str | None] = None
    """A network (see twofold models); left out where --recipe or --resume names it."""
    recipe: str | None = None
    """A named recipe (see twofold recipes), or a .json file such as a run's recipe.json."""
    resume: Path | None = None
    """Go on with the run in this folder instead of starting one."""
    lab: bool = False
    """Open the lab of training with these settings, instead of training here."""


def arguments_form() -> type[Any]:
    return settings_form("TrainArguments", _TrainArguments, Recipe())


def run(arguments: Sequence[str]) -> int:
    parsed = parse(arguments_form(), arguments, verb="train")
    changes = given_settings(parsed, arguments)
    options = parsed.options()
    if parsed.lab and parsed.resume is not None:
        raise TwofoldError("the lab begins a run of its own; leave --lab or --resume out")
    if parsed.resume is not None:
        _check_resumed(parsed, changes)
        return start(None, parsed, options)
    if parsed.model is None and parsed.recipe is None:
        raise TwofoldError("say what to train: twofold train MODEL, or twofold train --recipe NAME; see twofold models")
    base = Recipe() if parsed.recipe is None else find_recipe(parsed.recipe)
    recipe = base.override(**changes)
    if parsed.lab:
        written = {word.partition("=")[0] for word in arguments}
        fields = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(RunArguments)}
        return open_training_lab(recipe, sorted(written & fields))
    return start(recipe, parsed, options)


def open_training_lab(recipe: Recipe, others: Sequence[str] = ()) -> int:
    """Open the lab of training with the settings of a recipe; say which of them, and which options, it does not take.

    Raises:
        TwofoldError: the lab has not its network, or a value lies beyond what it takes.
    """
    from twofold.cli.lab import open_lab
    from twofold.labs.given import NOTHING, Given

    with loading("torch"):
        from twofold.labs.lab import setting_words
        from twofold.labs.training import settings_like

        settings, left_out = settings_like(recipe)
    if left_out or others:
        ignored = [on_command_line({name: getattr(recipe, name)}) for name in left_out]
        note(f"the lab does not take {', '.join([*ignored, *others])}")
    given = NOTHING if recipe.data == Recipe.model_fields["data"].default else Given(data=(recipe.data,))
    return open_lab("training", setting_words(settings), given)


def start(recipe: Recipe | None, parsed: Any, options: Options) -> int:
    """Train by `recipe`, or go on with the run in `parsed.resume` if it is None, and say where the run is."""
    with loading("torch"):
        from twofold import api

    with freed_memory_is_kept():
        if recipe is None:
            finished = api.resume(parsed.resume, options=options)
        else:
            finished = api.train(recipe, out=parsed.out, name=parsed.name, options=options)
    if options.show:
        note(f"report   {finished.report}")
        note(f"use it   {command('predict', finished.folder, 'IMAGE')}")
    say(str(finished.folder), *([f"{finished.score[0]} {finished.score[1]:.4f}"] if finished.score else []))
    return 0


def _check_resumed(parsed: Any, changes: dict[str, Any]) -> None:
    for what, name in (("recipe", "recipe"), ("folder", "name")):
        if getattr(parsed, name) is not None:
            raise TwofoldError(f"--resume keeps the {what} of its run; leave --{name} out")
    from twofold.engine.run import RunFolder

    run_folder = RunFolder.open(parsed.resume)
    stored = run_folder.recipe()
    other = {setting: value for setting, value in changes.items() if getattr(stored, setting) != value}
    if other:
        words = [word for setting, value in other.items() for word in words_of_setting(setting, value)]
        kept = on_command_line({setting: getattr(stored, setting) for setting in other})
        raise TwofoldError(
            f"a resumed run keeps its recipe, which has {kept}, not {on_command_line(other)}; "
            f"start a new run with: {command('train', *run_folder.again(), *words)}"
        )
