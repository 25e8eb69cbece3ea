"""Names of a package that are imported when first used: its `__init__` says where each is, and importing it is instant.

Editors and type checkers read the imports under TYPE_CHECKING; `dir` and `help` are answered from the table.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str], *, elsewhere: Mapping[str, str] = {}
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package.

    Args:
        package: its `__name__`.
        modules: module of the package -> the names, with spaces in between, that are the package's too.
        elsewhere: names that a newcomer would look for in the package -> where to find what is meant.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in homes:
            hint = f": {elsewhere[name]}" if name in elsewhere else ""
            if not hint and not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
                hint = f": import {package}.{name}"
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}", name=name)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return get, lambda: names, names
