"""Arguments by tyro, help and errors by us.

tyro draws its errors as a box of several paragraphs. Ours are one line, so the box is caught and its gist kept.
Options that a verb does not have never reach tyro: they may be another tool's words for one that it has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import mimetypes
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from twofold.cli.help import Option, options_of, render
from twofold.errors import TwofoldError, nearest
from twofold.files import expanded
from twofold.names import shown
from twofold.terminal import command, note

T = TypeVar("T")
# The type of an argument that may be left out or given several times, shown as NAME.
Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]

FIGURES = (".png", ".svg", ".pdf")

# tyro's words for a value of the wrong type, for one that is not among the choices, for none, and for one too many.
_UNREADABLE = re.compile(r"Error parsing --(?P<name>[\w-]+): .*?(?:: | from )\[?'(?P<got>[^\]]*)'")
_NO_CHOICE = re.compile(r"invalid choice '(?P<got>[^']*)' for argument '--(?P<name>[\w-]+)'")
_NO_PAIRS = re.compile(r"Error parsing --(?P<name>[\w-]+): Failed to parse key-value pairs")
_NO_VALUE = re.compile(r"Missing value for argument '(?P<flag>[^']*)'")
_TOO_MANY = re.compile(r"Unrecognized (?:options|arguments): (?P<words>.*)")
_NUMBERS = {int: "a whole number", float: "a number"}


@contextlib.contextmanager
def needing(extra: str, *, verb: str) -> Iterator[None]:
    """Say which packages `verb` needs where one cannot be imported inside.

    Raises:
        TwofoldError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise TwofoldError(f"{verb} needs more packages ({error.name}): pip install 'twofold[{extra}]'") from error


def parse(form: type[T], arguments: Sequence[str], *, verb: str) -> T:
    """Return the `arguments` as a `form`, with `~` in paths expanded; `--help` prints the options and leaves.

    Raises:
        TwofoldError: the arguments don't fit the form, or no figure can be written where one is asked for.
    """
    if {"-h", "--help"} & set(arguments):
        print(render(form, verb=verb))
        raise SystemExit(0)
    options = {option.name: option for option in options_of(form)}
    known = {name: option for name, option in options.items() if not option.positional}
    known |= {f"no-{name}": option for name, option in known.items() if option.kind is bool}
    for word in itertools.takewhile(lambda word: word != "--", arguments):
        name = word.partition("=")[0][2:].replace("_", "-")
        if word.startswith("--") and name not in known:
            from twofold.cli.near_misses import unknown_option

            positionals = [option.field.name for option in options.values() if option.positional]
            raise TwofoldError(unknown_option(name, known, verb=verb, arguments=positionals))
    caught = io.StringIO()
    with _wide_terminal(), contextlib.redirect_stderr(caught):
        try:
            markers = (tyro.conf.PositionalMetavarFromFieldName, tyro.conf.HelptextFromCommentsOff)
            parsed = tyro.cli(form, args=list(arguments), prog=f"twofold {verb}", config=markers)
        except SystemExit:
            if (harmless := [*map(shown, arguments)]) != [*arguments]:
                # For the sake of the error: a name may break the lines of the box.
                return parse(form, harmless, verb=verb)
            message = _one_line(caught.getvalue(), options)
            raise TwofoldError(f"{message}; see twofold {verb} --help") from None
    for field in dataclasses.fields(form):  # type: ignore[arg-type]
        if isinstance(path := getattr(parsed, field.name), Path):
            setattr(parsed, field.name, expanded(path))
    # A verb without suffixes takes a folder as well, and checks by itself.
    if (figure := getattr(parsed, "figure", None)) is not None and (suffixes := getattr(form, "FIGURES", FIGURES)):
        check_figure("--figure", figure, suffixes)
    return parsed


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Have tyro lay out its box without breaking lines."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "2000"
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _one_line(box: str, options: dict[str, Option]) -> str:
    """Return the gist of an error that tyro drew as a box, of line characters or of plain ones."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│|╭╮╰╯+ ") for line in box.splitlines()]
    lines = [line for line in lines[1:] if line and set(line) not in ({"─"}, {"-"})] or ["wrong arguments"]
    if lines[0].startswith("Missing from"):
        return f"missing {' and '.join(line for line in lines[1:] if line.isupper() or line.startswith('--'))}"
    line = lines[0]
    if match := _UNREADABLE.match(line) or _NO_CHOICE.match(line):
        return _wrong_value(match["name"], match["got"].replace("', '", " "), options[match["name"]])
    if match := _NO_PAIRS.match(line):
        return f"--{match['name']} takes {options[match['name']].metavar}, in pairs"
    if match := _NO_VALUE.match(line):
        return f"{match['flag']} needs a value"
    if match := _TOO_MANY.match(line):
        return f"one argument too many: {match['words']}"
    return line[0].lower() + line[1:].rstrip(".")


def _wrong_value(name: str, got: str, option: Option) -> str:
    if not option.choices:
        return f"--{name} takes {_NUMBERS.get(option.kind, 'other values')}, got {got!r}"
    from twofold.cli.settings import on_command_line
    from twofold.engine.other_words import other_value

    if error := other_value(name, got):
        return error.written(on_command_line)
    return f"invalid choice {got!r} for --{name}: {nearest(got, option.choices)}"


def typed(text: str) -> str | int | float | bool:
    """Return `text` as the bool, int or float that it spells, or as it is."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for form in (int, float):
        with contextlib.suppress(ValueError):
            return form(text)
    return text


def check_figure(flag: str, path: Path, suffixes: Sequence[str] = FIGURES) -> None:
    """Refuse a `path` that no figure can be written to, before the work that it shows begins."""
    if path.suffix.lower() not in suffixes:
        raise TwofoldError(f"{flag} must end in {', '.join(suffixes)}, got {path}")
    if not path.parent.is_dir():
        raise TwofoldError(f"{flag} is {path}, but there is no folder {path.parent}")


def check_least(least: int, **values: float | None) -> None:
    """Refuse values of options that are less than `least`; one that was left out is fine."""
    for name, value in values.items():
        if value is not None and value < least:
            raise TwofoldError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")


def check_run_first(run: Path, images: Sequence[str | Path | None], *, verb: str) -> None:
    """Refuse an image in the place of a run, and say how the two stand."""
    if run.is_file() and (mimetypes.guess_type(run.name)[0] or "").startswith("image/"):
        found = next((path for path in images if path and expanded(path).is_dir()), "RUN")
        raise TwofoldError(f"{run} is an image; the run comes first: {command(verb, found, run)}")


def check_image(path: Path) -> None:
    """Refuse what is not a file where an image is needed."""
    if path.is_dir():
        raise TwofoldError(f"{path} is a folder; give the path of one image")
    if not path.is_file():
        raise TwofoldError(f"there is no image {path}")


def write_figure(figure: Any, path: Path) -> None:
    """Write a drawn figure and say where."""
    from twofold.figures.drawing import save_figure

    save_figure(figure, path)
    say_written(path)


def say_written(path: Path) -> None:
    """Say where a figure was written: every verb that writes one does, asked for or not."""
    note(f"wrote {path}")
