"""`twofold recipes`: the named recipes, and what each is for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence

import tyro

from twofold.cli.parse import parse
from twofold.engine.recipes import RECIPES, named_recipe
from twofold.terminal import print_table


@dataclasses.dataclass(kw_only=True)
class RecipesArguments:
    """List the named recipes, or print one as JSON to keep and change."""

    name: tyro.conf.Positional[str | None] = None
    """The recipe to print."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(RecipesArguments, arguments, verb="recipes")
    if parsed.name is not None:
        print(named_recipe(parsed.name).to_json(), end="")
        return 0
    recipes = [(name, function(), inspect.getdoc(function) or "") for name, function in RECIPES.items()]
    rows = [(name, recipe.model, recipe.data, " ".join(text.split())) for name, recipe, text in recipes]
    print_table(("recipe", "model", "data", "what it is for…"), rows)
    return 0
