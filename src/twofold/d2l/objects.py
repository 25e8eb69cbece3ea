"""Classes that are written a method at a time, and attributes taken from arguments: how the book lays out its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any


def add_to_class(Class: type) -> Callable[[Any], None]:
    """Return a decorator that makes a function a method of a class that exists already."""

    def add(method: Any) -> None:
        setattr(Class, method.__name__, method)

    return add


class HyperParameters:
    """A class whose `__init__` keeps its arguments as attributes."""

    if TYPE_CHECKING:  # what is kept has the names of the arguments

        def __getattr__(self, name: str) -> Any: ...

    def save_hyperparameters(self, ignore: Iterable[str] = []) -> None:
        """Keep the caller's local variables as attributes, and as a dictionary `hparams`.

        Left out are `self`, those in `ignore`, and those whose names begin with an underscore.
        """
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        left_out = {"self", *ignore}
        local = frame.f_back.f_locals
        self.hparams: dict[str, Any] = {k: v for k, v in local.items() if k not in left_out and not k.startswith("_")}
        for name, value in self.hparams.items():
            setattr(self, name, value)
