"""`twofold show NAME`: an idea's formula, its readable form with the source highlighted, and its fast form."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.parse import parse
from twofold.errors import check_known
from twofold.proof.ideas import IDEAS, Idea, resolve
from twofold.terminal import loading, output

if TYPE_CHECKING:
    from rich.console import RenderableType

_BESIDE_FROM = 150  # columns; narrower terminals get the fast form below
_FAST_WIDTH = 60


@dataclasses.dataclass(kw_only=True)
class ShowArguments:
    """Show an idea: formula, source code of the readable form, the fast form, the paper."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """An idea (see `twofold ideas`), or one of its functions, e.g. conv2d_backward."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold show`."""
    parsed = parse(ShowArguments, arguments, verb="show")
    idea, names = _find(parsed.name)
    with loading("torch"):
        functions = {name: resolve(f"twofold.{name}") for name in names}
        fast = {name: resolve(name) for name in idea.run}
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    console = output()
    head = Text.assemble(
        (f"{idea.name}: {idea.title}\n", "bold"), (f"{idea.chapter} · {idea.source}\n\n", "dim"), f"  {idea.formula}\n"
    )
    console.print(head)
    functions |= _helpers(functions)
    read = Group(*(_source(name, function) for name, function in functions.items()))
    run_form = Group(*(_signature(name, function) for name, function in fast.items()))
    if console.is_terminal and console.width >= _BESIDE_FROM:
        table = Table(show_edge=False, box=None, padding=(0, 2), pad_edge=False, expand=True)
        table.add_column("to read", ratio=1)
        table.add_column("to run", width=_FAST_WIDTH)
        table.add_row(read, run_form)
        console.print(table)
    else:
        console.print(Group(Text("to read\n", style="bold"), read, Text("\nto run\n", style="bold"), run_form))
    console.print(Text(f"\ntwofold verify {idea.name} proves that they agree; twofold cost {idea.name} measures both"))
    return 0


def _find(name: str) -> tuple[Idea, tuple[str, ...]]:
    """Return the idea called `name` with all its functions, or the idea that has a function of that name with that one.

    Raises:
        TwofoldError: there is neither.
    """
    if name in IDEAS:
        return IDEAS[name], IDEAS[name].read
    functions = {full.partition(":")[2]: (idea, full) for idea in IDEAS.values() for full in idea.read}
    check_known("idea", name, IDEAS | functions)
    idea, full = functions[name]
    return idea, (full,)


def _helpers(functions: dict[str, Any]) -> dict[str, Any]:
    """Return the private functions of the same files that `functions` call, and those that these call."""
    found: dict[str, Any] = {}
    waiting = list(functions.items())
    while waiting:
        name, function = waiting.pop(0)
        if not inspect.isfunction(function):
            continue
        module = name.partition(":")[0]
        for used in inspect.getclosurevars(function).globals.items():
            helper = f"{module}:{used[0]}"
            own = inspect.isfunction(used[1]) and used[1].__module__ == function.__module__
            if own and used[0].startswith("_") and helper not in found:
                found[helper] = used[1]
                waiting.append((helper, used[1]))
    return found


def _source(name: str, function: Any) -> RenderableType:
    from rich.console import Group
    from rich.syntax import Syntax
    from rich.text import Text

    lines, first = inspect.getsourcelines(function)
    file = name.partition(":")[0].replace(".", "/") + ".py"
    # Not a box and no line numbers: what is shown can be copied and run.
    code = Syntax("".join(lines), "python", background_color="default", word_wrap=True)
    return Group(Text(f"{file}:{first}", style="dim"), code, Text(""))


def _signature(name: str, function: Any) -> RenderableType:
    """Return a fast form's name, arguments and first sentence; many are compiled and have no source to show."""
    from rich.console import Group
    from rich.syntax import Syntax
    from rich.text import Text

    called = name.replace(":", ".")
    try:
        signature = str(inspect.signature(function))
    except (TypeError, ValueError):
        signature = ""
    paragraphs = [part.strip() for part in (inspect.getdoc(function) or "").split("\n\n") if part.strip()]
    # Compiled functions have their signature as the first paragraph of their documentation.
    if not signature and paragraphs and "(" in paragraphs[0]:
        signature = paragraphs[0][paragraphs[0].index("(") :]
        paragraphs = paragraphs[1:]
    summary = " ".join(paragraphs[0].split()) if paragraphs else ""
    code = Syntax(f"{called}{signature}", "python", background_color="default", word_wrap=True)
    return Group(code, Text(summary, style="dim"), Text(""))
