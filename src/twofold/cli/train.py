"""`twofold train MODEL --data NAME_OR_PATH`: the recipe as options, and nothing more."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from twofold.cli.memory import freed_memory_is_kept
from twofold.cli.parse import parse, typed
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.recipes import RECIPES, find_recipe
from twofold.errors import TwofoldError
from twofold.terminal import loading, note


@dataclasses.dataclass(kw_only=True)
class _RunArguments:
    """Train a network as a recipe says, and leave a run folder with a report.

    Settings left out come from the recipe named with --recipe, or from the defaults. A setting that the chosen
    optimizer or schedule would ignore is an error.
    """

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """The network: see `twofold models`."""
    recipe: str | None = None
    """A named recipe (see `twofold recipes`) or a .json file, such as a run's recipe.json."""
    resume: Path | None = None
    """Go on with the run in this folder instead of starting one."""
    out: Path = Path("runs")
    """Where the run folder is made."""
    name: str | None = None
    """The run folder's name; made from time, model and data if left out."""
    skip_broken: bool = False
    """Go on without images that cannot be read."""
    checkpoint_seconds: float = 60.0
    """Seconds between two saves of the state."""
    memory_limit_mb: int | None = None
    """Decoded images to keep in memory; larger sets are read from disk. A quarter of the free memory if left out."""
    quiet: bool = False
    """Print results and errors only."""


def setting_field(name: str, base: Recipe) -> tuple[str, Any, Any]:
    """Return a recipe's setting as a field of an arguments form: name, type and default, for `make_dataclass`."""
    info = Recipe.model_fields[name]
    # An option's value has one of several types; on a command line it is text until the recipe has looked at it.
    form: Any = dict[str, str] if name == "model_options" else info.annotation
    default = {} if form == dict[str, str] else getattr(base, name)
    annotated = Annotated[form, tyro.conf.arg(help=info.description)]
    if isinstance(default, dict):
        return name, annotated, dataclasses.field(default_factory=lambda: dict(default))
    return name, annotated, dataclasses.field(default=default)


def arguments_form(base: Recipe) -> type[_RunArguments]:
    """Return the type of this command's arguments: its own, and every setting of a recipe with `base` as default."""
    settings = [setting_field(name, base) for name in Recipe.model_fields if name != "model"]
    form = dataclasses.make_dataclass("TrainArguments", settings, bases=(_RunArguments,), kw_only=True)
    form.__doc__ = _RunArguments.__doc__
    return form


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold train`."""
    recipe_name = value_of("--recipe", arguments)
    base = Recipe() if recipe_name is None else find_recipe(recipe_name)
    return carry_out(arguments, base, recipe_name, verb="train")


def carry_out(arguments: Sequence[str], base: Recipe, recipe_name: str | None, *, verb: str) -> int:
    """Train with `base` and the settings that the arguments change in it.

    Args:
        arguments: those of the command line.
        base: the recipe to start from.
        recipe_name: where it came from, if it was named; it then says what to train.
        verb: the command, for help and errors.
    """
    parsed = parse(arguments_form(base), arguments, verb=verb)
    changes = given_settings(parsed, arguments)
    if parsed.checkpoint_seconds < 0:
        raise TwofoldError(f"--checkpoint-seconds must be 0 or more, got {parsed.checkpoint_seconds}")
    if parsed.memory_limit_mb is not None and parsed.memory_limit_mb < 0:
        raise TwofoldError(f"--memory-limit-mb must be 0 or more, got {parsed.memory_limit_mb}")
    options = Options(
        show=not parsed.quiet,
        checkpoint_seconds=parsed.checkpoint_seconds,
        skip_broken=parsed.skip_broken,
        memory_limit=None if parsed.memory_limit_mb is None else parsed.memory_limit_mb * 1_000_000,
    )
    if parsed.resume is not None:
        return _resume(parsed, changes, recipe_name, options)
    if parsed.model is None and recipe_name is None:
        raise TwofoldError("say what to train: twofold train MODEL, or twofold train --recipe NAME; see twofold models")
    recipe = base.override(**changes)

    with loading("torch"):
        from twofold import api

    with freed_memory_is_kept():
        finished = api.train(recipe, out=parsed.out, name=parsed.name, options=options)
    return _tell(finished, show=options.show)


def _resume(parsed: Any, changes: dict[str, Any], recipe_name: str | None, options: Options) -> int:
    if recipe_name is not None:
        raise TwofoldError("--resume keeps the recipe of its run; leave --recipe out")
    if parsed.name is not None:
        raise TwofoldError("--resume keeps the folder of its run; leave --name out")
    from twofold.engine.run import RunFolder

    stored = RunFolder.open(parsed.resume).recipe()
    for setting, value in changes.items():
        if getattr(stored, setting) != value:
            folder = shlex.quote(str(parsed.resume))
            raise TwofoldError(
                f"a resumed run keeps its recipe: {setting} is {getattr(stored, setting)!r}, not {value!r}; "
                f"start a new run with --recipe {folder}/recipe.json --{setting.replace('_', '-')} {value}"
            )
    with loading("torch"):
        from twofold import api

    with freed_memory_is_kept():
        finished = api.resume(parsed.resume, options=options)
    return _tell(finished, show=options.show)


def _tell(finished: Any, *, show: bool) -> int:
    if show:
        note(f"report   {finished.report}")
        note(f"use it   twofold predict {shlex.quote(str(finished.folder))} IMAGE")
    accuracy = "" if finished.accuracy is None else f"\taccuracy {finished.accuracy:.4f}"
    print(f"{finished.folder}{accuracy}")
    return 0


def given_settings(parsed: Any, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the recipe's settings that the user wrote, whatever the default: only these override the recipe."""
    written = {argument.partition("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")}
    changes: dict[str, Any] = {}
    for name in Recipe.model_fields:
        flag = name.replace("_", "-")
        if {f"--{flag}", f"--no-{flag}"} & written:
            changes[name] = getattr(parsed, name)
    if "model_options" in changes:
        changes["model_options"] = {key: typed(value) for key, value in changes["model_options"].items()}
    if parsed.model is not None:
        changes["model"] = parsed.model
    return changes


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """Return what follows `flag`, before the arguments are really parsed: their defaults depend on it."""
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag:
            if place + 1 == len(arguments):
                one_of = f": one of {', '.join(RECIPES)}, or a .json file" if flag == "--recipe" else ""
                raise TwofoldError(f"{flag} needs a value{one_of}")
            return arguments[place + 1]
    return None
