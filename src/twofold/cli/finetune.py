"""`twofold finetune WEIGHTS --data PATH`: train on from weights, with a new head and settings that suit few images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twofold.cli.train import carry_out, value_of
from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.terminal import loading

_STEPS, _BATCH, _EPOCHS = 1500, 16, (5, 100)

_USAGE = (
    "usage: twofold finetune WEIGHTS [MODEL] --data NAME_OR_PATH [OPTIONS]\n\n"
    "Go on from trained weights with other images: a new head, which learns ten times faster than the rest.\n"
    "WEIGHTS is a run folder or one of its .safetensors files, which say what network they are for; or a file, a name\n"
    "that torchvision publishes, or timm:NAME, with the MODEL. All options of twofold train apply:\n"
)


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold finetune`."""
    if not arguments or {"-h", "--help"} & set(arguments):
        if not arguments:
            raise TwofoldError("say which weights to start from: twofold finetune WEIGHTS --data PATH; see --help")
        print(_USAGE)
        return carry_out(["--help"], Recipe(), None, verb="finetune")
    weights, *rest = arguments
    if weights.startswith("-"):
        raise TwofoldError(f"the weights come first: twofold finetune WEIGHTS --data PATH, got {weights}")
    for flag in ("--recipe", "--resume"):
        if any(argument.partition("=")[0] == flag for argument in rest):
            raise TwofoldError(f"twofold finetune has a recipe of its own: use {flag} with twofold train")
    model = rest.pop(0) if rest and not rest[0].startswith("-") else None
    with loading("torch"):
        base = finetune_recipe(weights, model, data=value_of("--data", rest) or Recipe.model_fields["data"].default)
    return carry_out(rest, base, "", verb="finetune")


def finetune_epochs(data: str) -> int:
    """Return how many epochs suit the number of training images in `data`; a named set counts as large."""
    folder = Path(data).expanduser()
    if not folder.is_dir():
        return _EPOCHS[0]
    from twofold.data.sources.listing import IMAGE_SUFFIXES

    inside = folder / "train" if (folder / "train").is_dir() else folder
    num_images = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in inside.rglob("*"))
    return min(_EPOCHS[1], max(_EPOCHS[0], math.ceil(_STEPS * _BATCH / max(1, num_images))))


def finetune_recipe(weights: str, model: str | None = None, *, data: str = "fashion-mini") -> Recipe:
    """Return the recipe of fine-tuning: from a run, its network and its images' size; else the paper's.

    AdamW with a small learning rate and a warm-up keeps what was learned; the new head starts from nothing, so it
    learns ten times faster. Few images are seen more often: about 1,500 steps, in 5 to 100 epochs.

    Raises:
        TwofoldError: there are no such weights, or they don't say what network they are for and no model does.
    """
    import torch

    from twofold.data.spec import ModelSpec
    from twofold.engine.run import RunFolder
    from twofold.inference.weights_file import load_checkpoint
    from twofold.models import create_model

    path = Path(weights).expanduser()
    record: dict[str, Any] = {}
    if path.is_dir():
        _, record = load_checkpoint(RunFolder.open(path).checkpoints.best)
    elif path.suffix == ".safetensors" and path.is_file() and model is None:
        _, record = load_checkpoint(path)
    settings: dict[str, Any] = {}
    if "spec" in record:
        spec = ModelSpec.model_validate(record["spec"])
        if model not in (None, spec.architecture):
            raise TwofoldError(f"{weights} holds the weights of {spec.architecture}, not of {model}; leave {model} out")
        model = spec.architecture
        settings = {
            "model_options": spec.architecture_options,
            # A recipe has no word for images that are not square: there the new images' own size decides.
            "image_size": spec.image_size[0] if len(set(spec.image_size)) == 1 else None,
            "channels": spec.channels,
            "resize": spec.resize,
        }
    elif "/" in weights and not weights.startswith("timm:") and not path.exists():
        raise TwofoldError(f"there is no run folder and no file {weights}")
    elif model is None:
        raise TwofoldError(
            f"{weights} does not say what network it is for: twofold finetune {weights} MODEL --data PATH"
        )
    else:
        settings = {"image_size": 224, "model_options": {}}
    with torch.device("meta"):  # for the name of its last layer alone: no weights are drawn
        head = create_model(model, options=settings["model_options"]).last_layer
    return Recipe(
        model=model,
        weights=weights,
        weights_partial=(head,),
        lr_scale={f"{head}.*": 10.0},
        optimizer="adamw",
        lr=0.0003,
        weight_decay=0.02,
        schedule="warmup-cosine",
        warmup=0.1,
        epochs=finetune_epochs(data),
        batch_size=_BATCH,
        **settings,
    )
