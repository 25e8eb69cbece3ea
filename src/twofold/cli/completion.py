"""`twofold completion SHELL`: a script that completes commands and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import parse
from twofold.engine.recipe import Recipe


@dataclasses.dataclass(kw_only=True)
class CompletionArguments:
    """Print a completion script: for bash, `source <(twofold completion bash)`."""

    shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional] = "bash"
    """The shell."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold completion`."""
    parsed = parse(CompletionArguments, arguments, verb="completion")
    from twofold.cli import (
        augment,
        batch_study,
        claims,
        cost,
        curvature,
        data,
        explain,
        ideas,
        lr_find,
        models,
        predict,
        race,
        recipes,
        report,
        runs,
        schedule,
        show,
        summary,
        surface,
        train,
        verify,
    )
    from twofold.cli import eval as eval_verb

    training = train.arguments_form(Recipe())
    forms = {
        "train": training,
        "finetune": training,
        "augment": augment.AugmentArguments,
        "explain": explain.ExplainArguments,
        "ideas": ideas.IdeasArguments,
        "show": show.ShowArguments,
        "verify": verify.VerifyArguments,
        "cost": cost.CostArguments,
        "curvature": curvature.CurvatureArguments,
        "claims": claims.ClaimsArguments,
        "race": race.RaceArguments,
        "lr-find": lr_find.arguments_form(),
        "batch-study": batch_study.BatchStudyArguments,
        "data": data.DataArguments,
        "summary": summary.SummaryArguments,
        "schedule": schedule.ScheduleArguments,
        "surface": surface.SurfaceArguments,
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
