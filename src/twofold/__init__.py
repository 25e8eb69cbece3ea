"""Twofold: hands-on deep learning for vision, every idea in two forms, one to read and one to run at scale.

    import twofold

    run = twofold.train(twofold.Recipe(model="lenet-bn", data="fashion-mini", epochs=5))
    model = twofold.load(run.folder)
    model.predict("photo.png").class_name

Names are imported when first used, so that `import twofold` and `twofold --help` stay instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.api import evaluate as evaluate
    from twofold.api import load as load
    from twofold.api import resume as resume
    from twofold.api import train as train
    from twofold.engine.recipe import Recipe as Recipe
    from twofold.errors import RunError as RunError
    from twofold.errors import TwofoldError as TwofoldError

__version__ = "0.1.0"

__all__ = ["Recipe", "RunError", "TwofoldError", "__version__", "evaluate", "load", "resume", "train"]

_HOMES = {
    "Recipe": "twofold.engine.recipe",
    "RunError": "twofold.errors",
    "TwofoldError": "twofold.errors",
    "evaluate": "twofold.api",
    "load": "twofold.api",
    "resume": "twofold.api",
    "train": "twofold.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'twofold' has no attribute {name!r}")
