"""`twofold ideas [WORD]`: every idea by chapter, or those that a word is found in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.proof.ideas import CHAPTERS, IDEAS, search
from twofold.terminal import output, print_table


@dataclasses.dataclass(kw_only=True)
class IdeasArguments:
    """List the ideas by chapter: what each is, and the file to read. With a word, only those that it is found in."""

    word: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[WORD]")] = None
    """A part of a name (also of other tools' names), of a title, a paper's author or a file."""
    markdown: bool = False
    """Print Markdown instead: docs/ideas.md is made of it."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(IdeasArguments, arguments, verb="ideas")
    if parsed.markdown:
        print(as_markdown())
        return 0
    found = list(IDEAS.values()) if parsed.word is None else search(parsed.word)
    if not found:
        raise TwofoldError(f"no idea has {parsed.word!r} in it; twofold ideas lists them all")
    for chapter in CHAPTERS:
        rows = [(idea.name, idea.title, idea.file) for idea in found if idea.chapter == chapter]
        if rows:
            output().print(f"{chapter}\n")
            print_table(("idea", "what it is…", "to read"), rows)
            output().print()
    output().print("twofold show NAME prints one; twofold verify proves them all")
    return 0


def as_markdown() -> str:
    """Return the table of ideas as the page docs/ideas.md."""
    lines = [
        "# The ideas, and their two forms",
        "",
        "Made from `src/twofold/proof/ideas.py` by `twofold ideas --markdown`. `twofold show NAME` prints an idea's",
        "code, `twofold verify NAME` proves that its two forms agree, `twofold cost NAME` measures both on your",
        "machine, and `twofold lab LAB` opens the lab where it is seen at work.",
    ]
    for chapter in CHAPTERS:
        lines += [
            "",
            f"## {chapter}",
            "",
            "| idea | formula | read | run | lab | source |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for idea in (idea for idea in IDEAS.values() if idea.chapter == chapter):
            formula = idea.formula.replace("|", "\\|")
            link = f"[{idea.file}](../src/twofold/{idea.file})"
            run = idea.run[0].replace(":", ".")
            row = (f"**{idea.name}**: {idea.title}", formula, link, f"`{run}`", idea.lab, idea.source)
            lines.append(f"| {' | '.join(row)} |".replace("|  |", "| |"))
    return "\n".join(lines)
