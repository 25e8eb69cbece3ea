"""`twofold completion SHELL`: a script that completes commands and options."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any, Literal

import tyro

from twofold.cli.main import VERBS
from twofold.cli.parse import parse


@dataclasses.dataclass(kw_only=True)
class CompletionArguments:
    """Print a completion script: for bash, `source <(twofold completion bash)`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]] = "bash"
    """The shell: bash, zsh or tcsh."""


def form_of(verb: str) -> type[Any]:
    """Return the type of a verb's arguments: what its file makes, or its class that is named after it."""
    module = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}")
    if hasattr(module, "arguments_form"):
        return module.arguments_form()
    return getattr(module, f"{verb.title().replace('-', '')}Arguments")


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold completion`."""
    parsed = parse(CompletionArguments, arguments, verb="completion")
    forms = {verb: form_of(verb) for verb in VERBS}
    words = ["--tyro-print-completion", parsed.shell]
    # No form has comments to take a phrase from; the search for them takes longer than all the rest.
    markers = (tyro.conf.HelptextFromCommentsOff,)
    tyro.extras.subcommand_cli_from_dict(forms, prog="twofold", args=words, config=markers)
    return 0
