"""The help page of a verb, drawn from the dataclass of its arguments.

tyro reads the arguments; its own help is a box in which every option that may be left out reads `{None}|INT` and
`(default: None)`. Ours is plain lines: a name for the value, one phrase, and a default where there is one. The phrase
is the docstring under the field, or else the one that several verbs share, or else the recipe's for that setting.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import shutil
import sys
import textwrap
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

# The marks that tyro recognises.
_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
_REPEATED = get_args(tyro.conf.UseAppendAction[int])[1]
_NAME_WIDTH = 26  # of an option and its value; a longer one has its phrase on the next line
_WIDEST = 100

# What an option of this name means in every verb that has it and says nothing else.
SHARED = {
    "run": "the run folder",
    "model": "a network: see twofold models",
    "image": "the image file",
    "path": "a folder with one folder a class, or with train/, val/ and test/ that have",
    "device": "where to compute",
    "seed": "seed of every random draw",
    "figure": "draw it into this file: .png, .svg or .pdf",
    "json": "print JSON, one object a line",
    "quiet": "print results and errors only",
    "skip_broken": "go on without images that cannot be read",
    "model_options": "options of the network, e.g. stem small width 0.5",
    "classes": "number of classes; 10 for networks made for images of 28 px, else 1000, if left out",
    "input": "shape of the images as CxHxW, e.g. 1x28x28; that of the network's paper if left out",
}
# What stands for a value where its type says too little.
_VALUES = {
    **dict.fromkeys(("weights_partial", "augment", "schedule", "name", "model", "optimizer"), "NAME"),
    **{"data": "NAME|PATH", "images": "DIR", "columns": "ROLE=NAME"},
    **{"recipe": "NAME|FILE", "weights": "RUN|FILE|NAME", "resume": "RUN", "figure": "FILE"},
    **{"class_weights": "none|balanced|FILE", "select_by": "METRIC", "sort": "NAME"},
    **{"input": "CxHxW", "lr_scale": "PATTERN X", "decay_scale": "PATTERN X"},
}
_BY_TYPE = {int: "N", float: "X", str: "TEXT", Path: "PATH", dict: "NAME VALUE"}


@dataclasses.dataclass(frozen=True)
class Option:
    """An argument of a verb, as help and errors need it.

    Attributes:
        name: as on the command line, without dashes.
        hint: the type of its field, with all marks.
        kind: the type of its value, or of each where it takes several: bool, int, float, str, Path or dict.
        choices: the values that it takes, if these are few.
        metavar: what stands for its value.
    """

    name: str
    field: dataclasses.Field[Any]
    hint: Any
    kind: Any
    choices: tuple[str, ...]
    positional: bool
    metavar: str

    @property
    def default(self) -> Any:
        """The value if the option is left out; MISSING if it must be given."""
        factory = self.field.default_factory
        return self.field.default if factory is dataclasses.MISSING else factory()


def options_of(form: type) -> list[Option]:
    """The arguments of a form, in its order."""
    hints = get_type_hints(form, include_extras=True)
    return [_option(field, hints[field.name]) for field in dataclasses.fields(form)]


def phrases(form: type, options: list[Option]) -> dict[str, str]:
    """What the help says of each option, by its field's name: one phrase, its choices, its default."""
    texts = _texts(form)
    return {option.field.name: _phrase(option, texts.get(option.field.name, "")) for option in options}


def _option(field: dataclasses.Field[Any], full_hint: Any) -> Option:
    hint, *marks = get_args(full_hint) if get_origin(full_hint) is Annotated else (full_hint,)
    own = next((mark for mark in marks if hasattr(mark, "metavar")), None)
    inner = hint
    if get_origin(inner) in (Union, types.UnionType):
        inner = next(kind for kind in get_args(inner) if kind is not type(None))
    if get_origin(inner) is Annotated:  # a number with bounds
        inner = get_args(inner)[0]
    several = get_origin(inner) in (tuple, list)
    kind = get_args(inner)[0] if several else get_origin(inner) or inner
    choices = tuple(map(str, get_args(inner))) if kind is Literal else ()
    if inner is bool and hint is not bool:
        kind, choices = str, ("True", "False")
    name = (getattr(own, "name", None) or field.name).replace("_", "-")
    positional = _POSITIONAL in marks
    if not (metavar := getattr(own, "metavar", None)):
        listed = "|".join(choices) if len(name) + len("|".join(choices)) + 3 <= _NAME_WIDTH else "NAME"
        known = _VALUES.get(field.name) if kind is not int else None
        metavar = field.name.upper() if positional else known or listed or _BY_TYPE.get(kind, "")
    metavar += " ..." if (several or kind is dict) and _REPEATED not in marks else ""
    return Option(name, field, full_hint, kind, choices, positional, metavar)


def render(form: type, *, verb: str) -> str:
    """Return the help page of a verb: usage, what it does, its arguments by section."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    options = options_of(form)
    says = phrases(form, options)
    positionals = [option for option in options if option.positional]
    names = [re.sub(r"^\[(.*)\]$", r"\1", option.metavar) for option in positionals]
    usage = ["usage: twofold", verb]
    for name, option in zip(names, positionals, strict=True):
        usage.append(name if option.default is dataclasses.MISSING else f"[{name}]")
    lines = [" ".join([*usage, *["[OPTIONS]"] * (len(positionals) < len(options))]), ""]
    for paragraph in (inspect.getdoc(form) or "").replace("`", "").split("\n\n"):
        lines += [*textwrap.wrap(paragraph, width), ""]
    for name, option in zip(names, positionals, strict=True):
        lines += _entry(name, says[option.field.name], width)
    own = getattr(form, "SECTION", "options")
    members = [(option.field.metadata.get("section", own), option) for option in options if not option.positional]
    # The sections of a recipe come first; the sort is stable.
    title = ""
    for section, option in sorted(members, key=lambda member: member[0] == own):
        if section != title:
            lines += ["", f"{section}:"] if lines[-1] else [f"{section}:"]
            title = section
        flag = f"--[no-]{option.name}" if option.default is True else f"--{option.name}"
        lines += _entry(f"{flag} {option.metavar}".rstrip(), says[option.field.name], width)
    return "\n".join(lines)


def _entry(name: str, phrase: str, width: int) -> list[str]:
    indent = " " * (_NAME_WIDTH + 4)
    first, above = (f"  {name:<{_NAME_WIDTH}}  ", []) if len(name) <= _NAME_WIDTH else (indent, [f"  {name}"])
    return above + textwrap.wrap(phrase, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _phrase(option: Option, text: str) -> str:
    name = option.field.name
    if text := " ".join(text.split()).removesuffix(".").replace("`", ""):
        text = text if text[1:2].isupper() else text[0].lower() + text[1:]
    elif not (text := SHARED.get(name, "")):
        from twofold.engine.recipe import Recipe

        text = (Recipe.model_fields[name].description or "").replace("`", "")
        if option.field.metadata.get("default") is not None:
            text = re.sub(r"; [^;]* if left out$", "", text)  # a verb has a default of its own
    if option.metavar == "NAME" and option.choices and option.choices[0] not in text:
        text += f": {', '.join(option.choices[:-1])} or {option.choices[-1]}"
    default = option.field.metadata.get("default", option.default)
    if option.positional or default in (None, False, (), [], {}, dataclasses.MISSING):
        return text
    if isinstance(default, float):
        default = f"{default:g}"
    elif isinstance(default, tuple):
        default = " ".join(map(str, default))
    return f"{text} (default: {'on' if option.kind is bool else default})"


def _texts(form: type) -> dict[str, str]:
    """The docstrings under the fields of a form and of the forms that it extends."""
    texts: dict[str, str] = {}
    for part in reversed(form.__mro__):
        body = _classes(part.__module__).get(part.__name__, [])
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                texts[field.target.id] = str(text.value.value)
    return texts


@functools.cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The body of each class in a module of ours. `inspect.getsource` would parse the file anew for each of them."""
    if not module.startswith("twofold."):
        return {}  # of `object`, and of forms by make_dataclass
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
