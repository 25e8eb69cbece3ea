"""`twofold completion SHELL`: a script that completes commands and options."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from twofold.cli.data import CheckArguments, DataArguments, PackArguments
from twofold.cli.help import options_of, phrases
from twofold.cli.main import VERBS
from twofold.cli.parse import parse


@dataclasses.dataclass(kw_only=True)
class CompletionArguments:
    """Print a completion script: for bash, `source <(twofold completion bash)`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]] = "bash"
    """The shell: bash, zsh or tcsh."""


def form_of(verb: str) -> type[Any]:
    """The type of a verb's arguments: what its file makes, or its class that is named after it."""
    module = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}")
    if hasattr(module, "arguments_form"):
        return module.arguments_form()
    return getattr(module, f"{verb.title().replace('-', '')}Arguments")


def run(arguments: Sequence[str]) -> int:
    parsed = parse(CompletionArguments, arguments, verb="completion")
    forms = {verb: form_of(verb) for verb in VERBS}
    for form in (*(form for form in forms.values() if form is not DataArguments), CheckArguments, PackArguments):
        # tyro would look for each phrase in the source, which takes longer than all the rest: help has them.
        options = options_of(form)
        for option, phrase in zip(options, phrases(form, options).values(), strict=True):
            form.__annotations__[option.field.name] = Annotated[option.hint, tyro.conf.arg(help=phrase)]
    tyro.extras.subcommand_cli_from_dict(forms, prog="twofold", args=["--tyro-print-completion", parsed.shell])
    return 0
