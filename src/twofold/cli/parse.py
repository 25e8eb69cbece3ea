"""Arguments by tyro, errors as one line.

tyro draws its errors as a box of several paragraphs. Ours are one line (DESIGN rule 8), so the box is caught and its
first paragraph kept, together with the option it suggests.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from twofold.errors import TwofoldError

T = TypeVar("T")

FIGURES = (".png", ".svg", ".pdf")

# tyro's words for a value of the wrong type, with one type or with several to choose from.
_UNREADABLE = re.compile(r"Error parsing (?P<flag>--\S+): (?P<what>.*?)(?:: | from \[)(?P<got>'[^']*')")
_FORMS = (
    ("float", "a number"),
    ("FLOAT", "a number"),
    ("int", "a whole number"),
    ("INT", "a whole number"),
    ("", "another value"),
)


def parse(form: type[T], arguments: Sequence[str], *, verb: str, default: Any = None) -> T:
    """Return the `arguments` as a `form`; `--help` prints the options and leaves.

    Raises:
        TwofoldError: the arguments don't fit the form.
    """
    caught = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    with _wide_terminal(), contextlib.redirect_stderr(caught):
        try:
            return tyro.cli(form, args=list(arguments), prog=f"twofold {verb}", **options)
        except SystemExit as leaving:
            if leaving.code in (0, None):
                raise
            message = _one_line(caught.getvalue())
    raise TwofoldError(f"{message}; see twofold {verb} --help")


@contextlib.contextmanager
def _wide_terminal() -> Any:
    """Have tyro lay out its box without breaking lines, unless it is help for a person at a terminal."""
    if {"-h", "--help"} & set(sys.argv):
        yield
        return
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "2000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _one_line(box: str) -> str:
    """Return the gist of an error that tyro drew as a box, of line characters or of plain ones."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│|╭╮╰╯+ ") for line in box.splitlines()]
    paragraphs: list[list[str]] = [[]]
    for line in lines[1:]:
        if line and set(line) in ({"─"}, {"-"}):
            paragraphs.append([])
        elif line:
            paragraphs[-1].append(line)
    first, *others = [paragraph for paragraph in paragraphs if paragraph] or [["wrong arguments"]]
    if first[0].startswith("Missing from"):
        return f"missing {' and '.join(line for line in first[1:] if line.isupper() or line.startswith('--'))}"
    if match := _UNREADABLE.match(first[0]):
        form = next(name for word, name in _FORMS if word in match["what"])
        return f"{match['flag']} takes {form}, got {match['got']}"
    message = first[0][0].lower() + first[0][1:].rstrip(".")
    for paragraph in others:
        if paragraph and paragraph[0].startswith("Perhaps you meant"):
            options = [line.split()[0].rstrip(",") for line in paragraph[1:] if line.startswith("--")]
            message += f": did you mean {' or '.join(options[:3])}?" if options else ""
    return message


def typed(text: str) -> str | int | float | bool:
    """Return `text` as the bool, int or float that it spells, or as it is."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for form in (int, float):
        try:
            return form(text)
        except ValueError:
            continue
    return text


def check_figure(flag: str, path: Path) -> None:
    """Check that a picture can be written to `path`, before the work that it shows begins.

    Raises:
        TwofoldError: its suffix is none of `FIGURES`, or there is no such folder.
    """
    if path.suffix.lower() not in FIGURES:
        raise TwofoldError(f"{flag} must end in {', '.join(FIGURES)}, got {path}")
    if not path.parent.is_dir():
        raise TwofoldError(f"{flag} is {path}, but there is no folder {path.parent}")
