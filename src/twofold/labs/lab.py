"""What a lab is: settings, the values computed from them, the code that computes them, exercises, and a command.

A lab is one class here and one module in `page/`. The class computes, with the readable form or the engine; the module
draws what it is sent and changes settings. It is used in two places: in the pages of `twofold lab` (`host`), and as a
widget in a notebook (`widget`). Neither knows a single lab; a lab knows neither.

Everything that decides what is seen is in the settings. They are small and JSON, so that an address holds them, and a
command gives the same values without a page.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from twofold.errors import TwofoldError
from twofold.labs.given import Given, by_name
from twofold.labs.images import SAMPLES, Opened
from twofold.names import json_text
from twofold.terminal import command


class LabSettings(BaseModel):
    """Base class of a lab's settings: frozen, JSON, every field with a default. They come from addresses: hostile."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, as JSON values."""
        values, defaults = self.model_dump(mode="json"), type(self)().model_dump(mode="json")
        return {name: value for name, value in values.items() if value != defaults[name]}


@dataclass(frozen=True)
class Exercise:
    """Something to do in a lab, and how the lab knows that it is done.

    Attributes:
        en: what to do, in English.
        zh: the same in Chinese.
        is_done: takes the settings and what is shown of them.
    """

    en: str
    zh: str
    is_done: Callable[[Any, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Command:
    """What gives the values on the screen without the lab.

    Attributes:
        shell: one line for a shell.
        python: lines of a program.
    """

    shell: str
    python: str


class Lab(ABC):
    """Base class of labs. One instance serves one page or widget; its calls come one at a time.

    Args:
        opened: what it may use.

    Attributes:
        name: what it is called in addresses and on the command line.
        Settings: the type of its settings.
        reads: the readable code beside it: "module:function" in `twofold`; lines that ran are marked.
        exercises: in order of difficulty.
        send: takes what a lab has to say without being asked, such as a step of training; the place where it is used
            sets it.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[LabSettings]]
    reads: ClassVar[tuple[str, ...]] = ()
    exercises: ClassVar[tuple[Exercise, ...]] = ()

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.send: Callable[[Mapping[str, Any]], None] = lambda content: None

    @abstractmethod
    def compute(self, settings: Any) -> dict[str, Any]:
        """Return what is shown for `settings`: JSON values, arrays and tensors, by names that the page knows.

        Raises:
            ValueError: the settings do not fit together; its line is shown.
        """

    @abstractmethod
    def command(self, settings: Any) -> Command:
        """Return what gives the same values without the lab."""

    def about(self) -> dict[str, Any]:
        """Return what the page has to know before the first settings, such as the names to choose from."""
        return {}

    def act(self, action: str, settings: Any) -> dict[str, Any]:
        """Do what is no setting, such as to start; return what is shown then.

        Raises:
            ValueError: there is no such action, or not now.
        """
        raise ValueError(f"the lab {self.name} has no action {action!r}")

    def close(self) -> None:  # noqa: B027
        """End what runs in the background; the page is gone."""


def read_settings(kind: type[LabSettings], values: object) -> LabSettings:
    """Return settings from JSON values.

    Raises:
        ValueError: an unknown name or a value that cannot be; one line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise ValueError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def read_words(kind: type[LabSettings], words: Sequence[str]) -> LabSettings:
    """Return settings from words such as stride=2, as `shell_line` writes them.

    Raises:
        TwofoldError: a word without "=", an unknown name, a value that cannot be.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise TwofoldError(f"a setting is NAME=VALUE, such as {next(iter(kind.model_fields))}=…; got {word!r}")
        try:
            values[name] = json.loads(text)
        except (ValueError, RecursionError):
            values[name] = text
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        raise TwofoldError(f"there is no setting {unknown[0]!r}; there are {', '.join(kind.model_fields)}")
    try:
        return read_settings(kind, values)
    except ValueError as error:
        raise TwofoldError(str(error)) from error


def setting_words(settings: LabSettings) -> list[str]:
    """Return the settings that differ from their defaults as words: a text as it is, anything else as JSON."""
    return [f"{name}={word_of(value)}" for name, value in settings.changed().items()]


def word_of(value: Any) -> str:
    """Return a value as `read_words` reads it: a text as it is, unless it would be read as something else."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
        return json_text(value)
    return json.dumps(value, separators=(",", ":"))


def print_line(name: str, settings: LabSettings, opened: Opened) -> str:
    """Return the shell line that prints what a lab computes.

    The settings `image`, `run`, `other` (a second run) and `data`, where a lab has them, name what was given; the line
    gives their paths, and calls each as it is called where no more than these are given.
    """
    fields = (
        ("image", "images", opened.path_of),
        ("run", "runs", opened.runs.get),
        ("other", "runs", opened.runs.get),
        ("data", "data", opened.data.get),
    )
    paths: dict[str, str] = {}
    for field, _, path_of in fields:
        value = getattr(settings, field, None)
        if isinstance(value, str) and (path := path_of(value)) is not None:
            paths[field] = path
    used: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for kind in ("images", "runs", "data"):
        own = [field for field, of, _ in fields if of == kind and field in paths]
        used[kind] = tuple(dict.fromkeys(paths[field] for field in own))
        called = {path: name for name, path in by_name(used[kind]).items()}
        names |= {field: called[paths[field]] for field in own}
    if names.get("image") in SAMPLES:
        del names["image"]
    there = settings.model_copy(update=names)
    return command("lab", name, *setting_words(there), *Given(**used).words(), "--print")
