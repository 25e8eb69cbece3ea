"""`twofold finetune WEIGHTS --data PATH`: train on from weights, with a new head and settings that suit few images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tyro

from twofold.cli.parse import parse
from twofold.cli.settings import SECTIONS, given_settings, settings_form
from twofold.cli.train import RunArguments, start
from twofold.engine.finetune import FIXED_SETTINGS
from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.terminal import loading

# What the help says of settings that the weights or the images decide.
_DECIDED = {
    **dict.fromkeys(("model_options", "channels", "resize"), "as in the run"),
    "image_size": "as in the run, else 224",
    "weights_partial": "the last layer",
    "lr_scale": "10 for the last layer",
    "epochs": "5 to 100, fewer for more images",
}


@dataclasses.dataclass(kw_only=True)
class _FinetuneArguments(RunArguments):
    """Go on from trained weights with other images: a new head, which learns ten times faster than the rest.

    WEIGHTS is a run folder or one of its .safetensors files, which say what network they are for; or, together with
    the MODEL, a file of safetensors or of torch.save, DEFAULT for the weights that torchvision publishes, or timm:NAME.
    Of a file with several parts, FILE:PART takes one, such as last.pth:state_dict_ema.
    """

    weights: tyro.conf.Positional[str]
    """A run folder, a file, DEFAULT or timm:NAME."""
    model: tyro.conf.Positional[str | None] = None
    """The network, where WEIGHTS does not say: see twofold models."""


def arguments_form() -> type[Any]:
    names = [name for members in SECTIONS.values() for name in members if name != "weights"]
    base = Recipe(**FIXED_SETTINGS)
    return settings_form("FinetuneArguments", _FinetuneArguments, base, names, shown=_DECIDED)


def run(arguments: Sequence[str]) -> int:
    for flag in ("--recipe", "--resume"):
        if any(argument.partition("=")[0] == flag for argument in arguments):
            raise TwofoldError(f"twofold finetune has a recipe of its own: use {flag} with twofold train")
    if not arguments or (arguments[0].startswith("-") and not {"-h", "--help"} & set(arguments)):
        raise TwofoldError(
            "say which weights to start from; the weights come first: twofold finetune WEIGHTS --data PATH"
        )
    parsed = parse(arguments_form(), arguments, verb="finetune")
    options = parsed.options()
    changes = given_settings(parsed, arguments)
    with loading("torch"):
        from twofold.engine.finetune import finetune_recipe

        where = {"columns": changes.get("columns"), "images": changes.get("images")}
        base = finetune_recipe(parsed.weights, parsed.model, data=parsed.data, **where)
    return start(base.override(**changes), parsed, options)
