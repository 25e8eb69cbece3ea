"""The sections of a recipe, and its settings in words: what `help(twofold.Recipe)` and the command line's help say.

The words are those of the recipe's fields, so that nothing is written twice.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

# The recipe's own five sections, in an order in which what belongs together stands together.
SECTIONS = {
    "data": (
        *("data", "images", "columns", "val_fraction", "test_fraction", "image_size", "channels", "resize"),
        *("augment", "mix", "mix_alpha"),
    ),
    "model": (
        *("model_options", "weights", "weights_partial", "freeze", "unfreeze_epochs", "freeze_norm"),
        *("flip_average", "form"),
    ),
    "loss": ("label_smoothing", "class_weights", "box_loss", "matching"),
    "optimiser": (
        *("optimizer", "lr", "weight_decay", "momentum", "nesterov", "gamma", "rho", "beta1", "beta2", "epsilon"),
        *("convention", "lr_scale", "decay_scale", "layer_decay", "decay_norm_and_bias"),
        *("schedule", "warmup", "final_lr", "step_epochs", "step_factor", "alpha"),
    ),
    "training": (
        *(
            "epochs",
            "minutes",
            "sampling",
            "select_by",
            "patience",
            "batch_size",
            "accumulate",
            "grad_clip",
            "ema_decay",
            "measure_norm",
        ),
        *("seed", "device", "precision", "winograd", "compile"),
    ),
}
_NAME_WIDTH, _WIDTH = 20, 100


def dependent_default(chooser: str, defaults: Mapping[str, Any]) -> Any:
    """Return what help says of a default that follows from a choice: the value, or what it depends on.

    >>> dependent_default("mix", {"mixup": 0.2, "cutmix": 1.0})
    'depends on the mix'
    """
    values = list(dict.fromkeys(defaults.values()))
    return f"depends on the {chooser}" if len(values) > 1 else values[0]


def settings_in_words(recipe: type[BaseModel], dependent: Mapping[str, tuple[str, Mapping[str, Any]]]) -> str:
    """Return a line for each setting, by section: its name, what it is, its default.

    Args:
        recipe: the type of recipes.
        dependent: setting -> the setting that its default follows from, and the defaults by choice.
    """
    lines = []
    for section, names in SECTIONS.items():
        lines += ["", f"{section}:"]
        for name in ["model", *names] if section == "model" else names:
            field = recipe.model_fields[name]
            default = field.get_default(call_default_factory=True)
            default = dependent_default(*dependent[name]) if name in dependent else default
            text = (field.description or "").replace("`", "")
            parts = (field.annotation, *get_args(field.annotation))
            choices = [str(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)]
            if choices and choices[0] not in text:
                text += f": {', '.join(choices[:-1])} or {choices[-1]}"
            if default not in (None, (), {}):
                is_value = name not in dependent or default in dependent[name][1].values()
                text += f" (default: {repr(default) if is_value else default})"
            first = f"    {name:<{_NAME_WIDTH}}"
            layout = {"initial_indent": first, "subsequent_indent": " " * len(first), "break_on_hyphens": False}
            lines += textwrap.wrap(text, _WIDTH, **layout)
    return "\n".join(lines[1:])


class OwnNames(type(BaseModel)):
    """Type of the type of recipes, whose `dir` and `help` have what a recipe adds to pydantic's model, no more."""

    def __dir__(cls) -> list[str]:
        return ["__init__", *(name for name in vars(cls) if not name.startswith(("_", "model_")))]
