"""`twofold ideas`: every idea by chapter, with its two forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from twofold.cli.parse import parse
from twofold.proof.ideas import CHAPTERS, IDEAS, Idea
from twofold.terminal import output


@dataclasses.dataclass(kw_only=True)
class IdeasArguments:
    """List the ideas: what each is, where to read it, what runs it, who found it."""

    markdown: bool = False
    """Print Markdown instead: docs/ideas.md is made of it."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold ideas`."""
    parsed = parse(IdeasArguments, arguments, verb="ideas")
    if parsed.markdown:
        print(as_markdown())
        return 0
    from rich.table import Table

    for chapter in CHAPTERS:
        table = Table(title=chapter, title_justify="left", title_style="bold", width=None, expand=False)
        for column in ("idea", "what it is", "read", "run", "source"):
            table.add_column(column, overflow="fold")
        for idea in _in(chapter):
            table.add_row(idea.name, idea.title, _file(idea), idea.run[0].replace(":", "."), idea.source)
        output().print(table)
    output().print("twofold show NAME prints the code of one; twofold verify proves them all")
    return 0


def as_markdown() -> str:
    """Return the table of ideas as the page docs/ideas.md."""
    lines = [
        "# The ideas, and their two forms",
        "",
        "Made from `src/twofold/proof/ideas.py` by `twofold ideas --markdown`. `twofold show NAME` prints an idea's",
        "code, `twofold verify NAME` proves that its two forms agree, `twofold cost NAME` measures both on your",
        "machine.",
    ]
    for chapter in CHAPTERS:
        lines += [
            "",
            f"## {chapter}",
            "",
            "| idea | formula | read | run | source |",
            "| --- | --- | --- | --- | --- |",
        ]
        for idea in _in(chapter):
            formula = idea.formula.replace("|", "\\|")
            link = f"[{_file(idea)}](../src/twofold/{_file(idea)})"
            run = idea.run[0].replace(":", ".")
            lines.append(f"| **{idea.name}**: {idea.title} | {formula} | {link} | `{run}` | {idea.source} |")
    return "\n".join(lines)


def _in(chapter: str) -> list[Idea]:
    return [idea for idea in IDEAS.values() if idea.chapter == chapter]


def _file(idea: Idea) -> str:
    """Return the file of the readable form, e.g. scratch/conv.py."""
    return idea.read[0].partition(":")[0].replace(".", "/") + ".py"
