"""`twofold completion SHELL`: a script that completes commands and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import parse
from twofold.train.recipe import Recipe


@dataclasses.dataclass(kw_only=True)
class CompletionArguments:
    """Print a completion script: for bash, `source <(twofold completion bash)`."""

    shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional] = "bash"
    """The shell."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold completion`."""
    parsed = parse(CompletionArguments, arguments, verb="completion")
    from twofold.cli import eval as eval_verb
    from twofold.cli import models, predict, recipes, report, runs, train

    forms = {
        "train": train.arguments_form(Recipe()),
        "eval": eval_verb.EvalArguments,
        "predict": predict.PredictArguments,
        "report": report.ReportArguments,
        "runs": runs.RunsArguments,
        "models": models.ModelsArguments,
        "recipes": recipes.RecipesArguments,
        "completion": CompletionArguments,
    }
    tyro.extras.subcommand_cli_from_dict(forms, prog="twofold", args=["--tyro-print-completion", parsed.shell])
    return 0
