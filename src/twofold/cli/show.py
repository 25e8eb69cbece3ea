"""`twofold show NAME`: an idea in words, its formula, its readable form; then its fast form, and the paper."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.parse import parse
from twofold.proof.ideas import IDEAS, Idea, plain, resolve, unknown
from twofold.terminal import loading, output

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclasses.dataclass(kw_only=True)
class ShowArguments:
    """Show an idea: what it is, the formula, the readable code; then its fast form, the paper, and what to read next.

    Without a name, list the ideas.
    """

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = None
    """An idea (see `twofold ideas`), or one of its functions, e.g. conv2d_backward."""
    all: bool = False
    """Print the functions that the readable form calls, too."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold show`."""
    parsed = parse(ShowArguments, arguments, verb="show")
    if parsed.name is None:
        from twofold.cli import ideas

        return ideas.run([])
    idea, names = _find(parsed.name)
    with loading("torch"):
        functions = {name: resolve(f"twofold.{name}") for name in names}
        helpers = {name: resolve(f"twofold.{name}") for name in idea.parts if names == idea.read}
        helpers |= _private(functions | helpers)
    from rich.text import Text

    console = output()
    console.print(Text.assemble((f"{idea.name}: {idea.title}\n\n", "bold"), f"  {idea.formula}\n"))
    console.print(Text(_paragraph(idea, functions) + "\n"))
    for name, function in (functions | helpers if parsed.all else functions).items():
        console.print(_source(name, function))
    console.print(Text.assemble(("the fast form\n", "bold"), "\n".join(idea.run).replace(":", ".")))
    console.print(Text.assemble(("\nthe paper\n", "bold"), idea.source, ("\n\nwhat to read next", "bold")))
    if helpers and not parsed.all:
        short = [name.partition(":")[2] for name in helpers]
        console.print(Text(f"twofold show {parsed.name} --all   prints {', '.join(short)} too"))
    console.print(Text(f"twofold verify {idea.name}   proves that both forms agree"))
    if idea.parity().typical is not None:
        console.print(Text(f"twofold cost {idea.name}   measures both"))
    console.print(Text(f"src/twofold/{idea.file}   has the derivations, scratch/README.md the order of reading"))
    return 0


def _find(name: str) -> tuple[Idea, tuple[str, ...]]:
    """Return the idea called `name` with all its functions, or the idea that has a function of that name with that one.

    Raises:
        TwofoldError: there is neither.
    """
    if name in IDEAS:
        return IDEAS[name], IDEAS[name].read
    for idea in IDEAS.values():
        for full in (*idea.read, *idea.parts):
            if full.partition(":")[2] == name:
                return idea, (full,)
    raise unknown(name)


def _private(functions: dict[str, Any]) -> dict[str, Any]:
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


def _paragraph(idea: Idea, functions: dict[str, Any]) -> str:
    """Return what the file says of the idea: the paragraph with its name in bold type, or else the first."""
    module = inspect.getmodule(next(iter(functions.values())))
    # A point of a list is a paragraph, and what is indented below one belongs to it.
    _, *paragraphs = re.split(r"\n\n(?! )|\n(?=- )", (inspect.getdoc(module) or "").strip())
    bold = [" ".join(re.findall(r"\*\*(.+?)\*\*", paragraph)).lower().replace("-", " ") for paragraph in paragraphs]
    about = paragraphs[0]
    for name in (*reversed(idea.also), idea.name):
        for paragraph, words in zip(paragraphs, bold, strict=True):
            if plain(name) in {plain(phrase) for phrase in (words, *words.split(), *words.split(" and "))}:
                about = paragraph.removeprefix("- ").replace("\n  ", "\n")
    return about.replace("**", "")


def _source(name: str, function: Any) -> RenderableType:
    from rich.console import Group
    from rich.syntax import Syntax
    from rich.text import Text

    lines, first = inspect.getsourcelines(function)
    file = name.partition(":")[0].replace(".", "/") + ".py"
    # Without a frame and line numbers, so that what is shown can be copied and run.
    code = Syntax("".join(lines), "python", background_color="default", word_wrap=True)
    return Group(Text(f"{file}:{first}", style="dim"), code, Text(""))
