"""Calls from Python with what a newcomer would pass: a name in place of a recipe, a run in place of its folder.

What can only be meant one way is taken. For the rest the error says what to write.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, Concatenate, ParamSpec, TypeVar

from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.models.registry import MODELS

K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")


def takes(
    kind: type[K], *, known: Collection[str]
) -> Callable[[Callable[Concatenate[K, P], T]], Callable[Concatenate[K, P], T]]:
    """Return a decorator for functions whose first argument is a `kind`: settings for it are answered with the call.

    Args:
        kind: a frozen value that is made of settings, such as a recipe.
        known: the names of its settings.
    """

    def decorate(function: Callable[Concatenate[K, P], T]) -> Callable[Concatenate[K, P], T]:
        own = inspect.signature(function).parameters

        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> T:
            value = arguments[0] if arguments else options.get(next(iter(own)))
            settings = {name: setting for name, setting in options.items() if name not in own}
            if not isinstance(value, kind):
                raise TwofoldError(_instead(function, kind, value, settings))
            if any(name in known for name in settings):
                words = _words(settings)
                changed = f"recipe.override({words})" if kind is Recipe else f"dataclasses.replace(settings, {words})"
                raise TwofoldError(f"{function.__name__} takes no such settings: {_call(function, changed)}")
            return function(*arguments, **options)

        return checked

    return decorate


def _instead(function: Callable[..., Any], kind: type, value: Any, settings: dict[str, Any]) -> str:
    if isinstance(value, str) and value in MODELS:
        settings = {"model": value} | settings
    elif value is not None:
        settings = {}
    got = "" if settings or value is None else f", got {value!r:.60}"
    what = f"twofold.{kind.__name__}({_words(settings or {'model': 'lenet-bn'})})"
    article = "" if kind.__name__.endswith("s") else "a "
    return f"{function.__name__} takes {article}{kind.__name__}{got}: {_call(function, what)}"


def _call(function: Callable[..., Any], argument: str) -> str:
    return f"twofold.{function.__name__}({argument})"


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
