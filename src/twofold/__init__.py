"""Twofold: hands-on deep learning for vision, every idea in two forms, one to read and one to run at scale.

    import twofold

    run = twofold.train(twofold.Recipe(model="lenet-bn", data="fashion-mini", epochs=5))
    model = twofold.load(run.folder)
    model.predict("photo.png").class_name

Names are imported when first used, so that `import twofold` and `twofold --help` stay instant.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.api import evaluate as evaluate
    from twofold.api import load as load
    from twofold.api import resume as resume
    from twofold.api import train as train
    from twofold.errors import RunError as RunError
    from twofold.errors import TwofoldError as TwofoldError
    from twofold.train.recipe import Recipe as Recipe

__version__ = "0.1.0"

__all__ = ["Recipe", "RunError", "TwofoldError", "__version__", "evaluate", "load", "resume", "train"]

_HOMES = {
    "Recipe": "twofold.train.recipe",
    "RunError": "twofold.errors",
    "TwofoldError": "twofold.errors",
    "evaluate": "twofold.api",
    "load": "twofold.api",
    "resume": "twofold.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'twofold' has no attribute {name!r}")


class _CallableModule(types.ModuleType):
    """The package `twofold.train`, which can also be called: `twofold.train(recipe)`.

    Importing a sub-package binds its name in the parent, so a function of that name would be lost as soon as
    anything imports `twofold.train.recipe`. Giving the module a `__call__` keeps both meanings.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("twofold.api").train(*args, **kwargs)


importlib.import_module("twofold.train").__class__ = _CallableModule
