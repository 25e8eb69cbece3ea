"""`twofold recipes`: the named recipes, and what each is for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Annotated

import tyro

from twofold.cli.parse import parse
from twofold.engine.recipes import RECIPES, named_recipe
from twofold.terminal import output


@dataclasses.dataclass(kw_only=True)
class RecipesArguments:
    """List the named recipes, or print one as JSON to keep and change."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """The recipe to print."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold recipes`."""
    parsed = parse(RecipesArguments, arguments, verb="recipes")
    if parsed.name is not None:
        print(named_recipe(parsed.name).to_json(), end="")
        return 0
    from rich.table import Table

    table = Table()
    for column in ("recipe", "model", "data", "what it is for"):
        table.add_column(column)
    for name, function in RECIPES.items():
        recipe = function()
        table.add_row(name, recipe.model, recipe.data, inspect.getdoc(function))
    output().print(table)
    return 0
