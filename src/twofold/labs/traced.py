"""Which lines of some functions run: what a lab marks in the code beside it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

from twofold.proof.ideas import resolve


def source(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the code of functions: of each its name, file, first line and lines.

    Args:
        names: "module:function" in `twofold`.
    """
    found = []
    for name in names:
        lines, first = inspect.getsourcelines(resolve(f"twofold.{name}"))
        file = f"{name.partition(':')[0].replace('.', '/')}.py"
        found.append({"name": name, "file": file, "first": first, "lines": [line.rstrip("\n") for line in lines]})
    return found


def lines_that_run(names: Sequence[str], call: Callable[[], object]) -> dict[str, list[int]]:
    """Call `call`; return for each of the functions `names` the numbers of its lines that ran, those that ran alone.

    Args:
        names: "module:function" in `twofold`.
        call: takes nothing. What it raises is raised here.
    """
    codes = {code: name for name in names for code in _codes(_code(resolve(f"twofold.{name}")))}
    ran: dict[str, set[int]] = {name: set() for name in names}

    def on_call(frame: FrameType, event: str, value: Any) -> Callable[..., Any] | None:
        name = codes.get(frame.f_code)
        if name is None:
            return None

        def on_line(frame: FrameType, event: str, value: Any) -> Callable[..., Any]:
            if event == "line":
                ran[name].add(frame.f_lineno)
            return on_line

        return on_line

    # One that was there already, such as a debugger's, is put back.
    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    finally:
        sys.settrace(before)
    return {name: sorted(lines) for name, lines in ran.items() if lines}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Give a function's code and that of what stands inside it, such as a comprehension."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _code(function: Any) -> CodeType:
    return inspect.unwrap(function).__code__
