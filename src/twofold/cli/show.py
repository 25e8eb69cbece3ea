"""`twofold show NAME`: an idea in words, its formula, its readable form; then its fast form, and the paper."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from twofold.cli.parse import parse
from twofold.proof.ideas import IDEAS, Idea, plain, resolve, unknown
from twofold.terminal import command, loading, output

_WIDEST = 100


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
    parsed = parse(ShowArguments, arguments, verb="show")
    if parsed.name is None:
        from twofold.cli import ideas

        return ideas.run([])
    idea, names = _find(parsed.name)
    with loading("torch"):
        functions = {name: resolve(f"twofold.{name}") for name in names}
        helpers = {name: resolve(f"twofold.{name}") for name in idea.parts if names == idea.read}
        helpers |= _private(functions | helpers)
    from rich.syntax import Syntax
    from rich.text import Text

    console = output()
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    formula = textwrap.fill(idea.formula, width, initial_indent="  ", subsequent_indent="    ")
    where = textwrap.fill(idea.where, width, initial_indent="  ", subsequent_indent="    ")
    console.print(Text.assemble((f"{idea.name}: {idea.title}\n\n", "bold"), f"{formula}\n", (f"{where}\n", "dim")))
    console.print(Text(_wrapped(_paragraph(idea, functions), width) + "\n"))
    for name, function in (functions | helpers if parsed.all else functions).items():
        lines, first = inspect.getsourcelines(function)
        console.print(Text(f"{name.partition(':')[0].replace('.', '/')}.py:{first}", style="dim"))
        # Without a frame and line numbers, so that what is shown can be copied and run.
        code = "".join([*_shapes(function, "".join(lines)), *lines])
        terminal_width, console.width = console.width, max(map(len, [" " * console.width, *code.splitlines()]))
        console.print(Syntax(code, "python", background_color="default"), crop=False, soft_wrap=True)
        console.width = terminal_width
        console.print()
    console.print(Text.assemble(("the fast form\n", "bold"), "\n".join(idea.run).replace(":", ".")))
    source = textwrap.fill(idea.source, width)
    console.print(Text.assemble(("\nthe paper\n", "bold"), source, ("\n\nwhat to read next", "bold")))
    if helpers and not parsed.all:
        short = [name.partition(":")[2] for name in helpers]
        console.print(Text(f"{command('show', parsed.name, '--all')}   prints {', '.join(short)} too"))
    console.print(Text(f"{command('verify', idea.name)}   proves that both forms agree"))
    if idea.lab:
        console.print(Text(f"{command('lab', idea.lab)}   shows it at work, to touch"))
    if idea.parity().typical is not None:
        console.print(Text(f"{command('cost', idea.name)}   measures both"))
    console.print(Text(f"src/twofold/{idea.file}   has the derivations, scratch/README.md the order of reading"))
    return 0


def _find(name: str) -> tuple[Idea, tuple[str, ...]]:
    """The idea called `name` with all its functions, or the idea with a function of that name, and that one alone."""
    if name in IDEAS:
        return IDEAS[name], IDEAS[name].read
    for idea in IDEAS.values():
        for full in (*idea.read, *idea.parts):
            if full.partition(":")[2] == name:
                return idea, (full,)
    raise unknown(name)


def _private(functions: dict[str, Any]) -> dict[str, Any]:
    """The private functions of the same files that `functions` call, and those that these call."""
    found: dict[str, Any] = {}
    waiting = list(functions.items())
    while waiting:
        name, function = waiting.pop(0)
        if not inspect.isfunction(function):
            continue
        for own_name, used in inspect.getclosurevars(function).globals.items():
            helper = f"{name.partition(':')[0]}:{own_name}"
            is_own = inspect.isfunction(used) and used.__module__ == function.__module__
            if is_own and own_name.startswith("_") and helper not in found:
                found[helper] = used
                waiting.append((helper, used))
    return found


def _wrapped(text: str, width: int) -> str:
    """Return a paragraph with its lines as long as they may be; indented ones, such as formulas, stay as they are."""
    lines = []
    for is_prose, group in itertools.groupby(text.splitlines(), lambda line: bool(line) and not line[0].isspace()):
        same = list(group)
        lines += textwrap.wrap(" ".join(same), width, break_on_hyphens=False) if is_prose else same
    return "\n".join(lines)


def _shapes(function: Any, code: str) -> list[str]:
    """The lines of its file that say which shapes the names in a function's signature stand for."""
    source = inspect.getsource(sys.modules[function.__module__])
    named = re.findall(r"^([A-Z]\w+) = (?:\w+\[Tensor|Tensor).*\n", source, re.MULTILINE)
    signature = code.partition('"""')[0]
    used = [name for name in named if re.search(rf"\b{name}\b", signature)]
    lines = [re.search(rf"^{name} = .*\n", source, re.MULTILINE)[0] for name in used]  # type: ignore[index]
    return [*lines, "\n\n"] if lines else []


def _paragraph(idea: Idea, functions: dict[str, Any]) -> str:
    """What the file says of the idea: the paragraph with its name in bold type, or else the first."""
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
