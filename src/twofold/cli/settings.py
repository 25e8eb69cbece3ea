"""A recipe's settings as options: the same names, types and phrases in every verb that takes some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from twofold.cli.parse import typed
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe, defaults_of
from twofold.engine.sections import SECTIONS, dependent_default
from twofold.errors import Setting, TwofoldError
from twofold.names import json_text
from twofold.tasks.class_weights import read_class_weights
from twofold.terminal import quoted


def settings_form(
    name: str,
    own: type,
    base: Recipe | None,
    names: Iterable[str] | None = None,
    *,
    shown: dict[str, str] | None = None,
) -> type[Any]:
    """Return the type of a verb's arguments: those of `own`, and a recipe's settings with `base` as default.

    Args:
        name: of the type.
        own: the dataclass with the verb's own arguments.
        base: the recipe whose values are the defaults; None for settings that are left out unless given.
        names: of the settings; all if None.
        shown: what the help says in place of a setting's default.
    """
    chosen = None if names is None else set(names)
    fields = [
        _field(setting, base, section, (shown or {}).get(setting))
        for section, members in SECTIONS.items()
        for setting in members
        if chosen is None or setting in chosen
    ]
    form = dataclasses.make_dataclass(name, fields, bases=(own,), kw_only=True)
    form.__doc__ = own.__doc__
    return form


def _field(name: str, base: Recipe | None, section: str, shown: str | None) -> tuple[str, Any, Any]:
    # An option of a network has one of several types; on a command line it is text until the recipe has looked at it.
    kind: Any = dict[str, str] if name == "model_options" else Recipe.model_fields[name].annotation
    if name == "class_weights":
        kind = str  # a word or a file
    if name == "columns":
        return name, tuple[str, ...], dataclasses.field(default=(), metadata={"section": section, "default": None})
    if base is None:
        return name, kind, dataclasses.field(default=None, metadata={"default": None})
    default = {} if name == "model_options" else getattr(base, name)
    chooser, defaults = DEPENDENT_SETTINGS.get(name, ("", {}))
    says: Any = default if shown is None else shown
    if shown is None and chooser and default in (None, defaults.get(getattr(base, chooser))):
        says = dependent_default(chooser, defaults)
    elif shown is None and default is not None and (of_detector := defaults_of("ssd").get(name, default)) != default:
        says = f"{default}; of a detector, {of_detector}"
    metadata = {"section": section, "default": says}
    if isinstance(default, dict):
        return name, kind, dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return name, kind, dataclasses.field(default=default, metadata=metadata)


def given_settings(parsed: Any, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the recipe's settings that the user wrote, whatever the default: only these override the recipe."""
    written = {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}
    changes = {name: getattr(parsed, name) for name in Recipe.model_fields if {name, f"no_{name}"} & written}
    if "model_options" in changes:
        changes["model_options"] = {key: typed(value) for key, value in changes["model_options"].items()}
    if "columns" in changes:
        changes["columns"] = column_names(changes["columns"])
    if changes.get("class_weights", "none") not in ("none", "balanced"):
        changes["class_weights"] = read_class_weights(changes["class_weights"])
    if parsed.model is not None:
        changes["model"] = parsed.model
    return changes


def column_names(words: Sequence[str]) -> dict[str, str]:
    """Return the columns of a table that the words of --columns give.

    >>> column_names(["image=file", "label=breed"])
    {'image': 'file', 'label': 'breed'}

    Raises:
        TwofoldError: a word has another form.
    """
    pairs = {}
    for word in words:
        role, equals, name = word.partition("=")
        if not (role and equals and name):
            raise TwofoldError(f"--columns takes a role and the name of its column, such as label=breed, got {word!r}")
        pairs[role] = name
    return pairs


def on_command_line(setting: Setting) -> str:
    """Return a setting in a message as the command line has it.

    >>> on_command_line("batch_size"), on_command_line({"optimizer": "sgd", "nesterov": False})
    ('--batch-size', '--optimizer sgd --nesterov False')
    """
    if isinstance(setting, str):
        return f"--{setting.replace('_', '-')}"
    return " ".join(quoted(word) for name, value in setting.items() for word in words_of_setting(name, value))


def words_of_setting(name: str, value: Any) -> list[str]:
    """Return a setting of a recipe as it is written on the command line.

    >>> words_of_setting("model_options", {"stem": "small"}), words_of_setting("compile", False)
    (['--model-options', 'stem', 'small'], ['--no-compile'])
    >>> words_of_setting("unfreeze_epochs", 2.0), words_of_setting("lr", 1e-05)
    (['--unfreeze-epochs', '2'], ['--lr', '1e-05'])
    """
    flag = name.replace("_", "-")
    match value:
        case bool() if name not in Recipe.model_fields or Recipe.model_fields[name].annotation is bool:
            return [f"--{flag}" if value else f"--no-{flag}"]
        case dict() if name == "columns":
            return [f"--{flag}", *(f"{role}={column}" for role, column in value.items())]
        case dict() if name == "class_weights":
            return [f"--{flag}", json_text(value)]
        case dict():
            return [f"--{flag}", *(_written(word) for pair in value.items() for word in pair)]
        case list() | tuple():
            return [f"--{flag}", *map(_written, value)]
        case _:
            return [f"--{flag}", _written(value)]


def _written(value: Any) -> str:
    """Return a value as a person would type it: a whole number without a point, whatever its type."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
