"""What a person sees while waiting: one console, progress bars on a terminal, plain lines elsewhere.

Everything that may take more than two seconds reports through `track`. Messages go to standard error, results to
standard output, so that `twofold predict --json | jq` works. `steady_streams` holds both up where they cannot spell a
character, or cannot be written at all.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from twofold.errors import RunError
from twofold.names import escaped, json_text, name_bytes, shown, shown_short

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_EVERY_SECONDS = 10.0
_PIPE_WIDTH = 1000  # more than any table needs
_LONGEST_NOTE = 20_000  # characters; a command with a weight for each of a thousand classes is not cut
# How a stream that lacks a character spells it; any other it lacks is escaped.
_SPELT = {
    "±": "+-",
    "–": "-",
    "…": "...",
    "×": "x",
    "·": ".",
    "•": "*",
    "→": "->",
    "−": "-",
    "≤": "<=",
    "≥": ">=",
    "\u00a0": " ",
}


def console() -> Console:
    """A console on standard error, made anew so that a redirected stream is seen."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def output() -> Console:
    """Return a console on standard output, for results.

    To a pipe or a file, a table is as wide as its content and no line ends in spaces; nothing is broken over lines,
    unless COLUMNS says how wide lines may be.
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            # Called where a BrokenPipeError is caught; rich would leave with 1.
            raise  # noqa: PLE0704

    if sys.stdout.isatty():
        return Output(highlight=False, markup=False, emoji=False)

    class Piped(Output):
        def print(self, *objects: Any, **options: Any) -> None:
            with self.capture() as captured:
                super().print(*objects, **options)
            sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) > 0 else _PIPE_WIDTH
    return Piped(highlight=False, markup=False, emoji=False, width=width)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    caption: str = "",
    total: Sequence[str] | None = None,
) -> None:
    """Print a table to standard output.

    Args:
        columns: their names; one that begins with ">" is aligned right, and only one that ends in "…" may break its
            cells over lines: names that are there to be typed again stay whole.
        rows: a text a column, of one line.
        title: printed above.
        caption: printed below.
        total: a last row, apart from the others.
    """
    from rich.box import SIMPLE
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [list(map(shown, row)) for row in rows]
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, show_footer=total is not None)
    least = 2 * (len(columns) - 1)
    for name, *cells in zip(columns, total or [""] * len(columns), *rows, strict=True):
        bare = name.strip(">…")
        least += 16 if name.endswith("…") else max(map(cell_len, [bare, *cells]))
        side = "right" if name.startswith(">") else "left"
        table.add_column(bare, Text(cells[0]), justify=side, no_wrap=not name.endswith("…"))
    for row in rows:
        table.add_row(*map(Text, row))
    out = output()
    if title:
        out.print(Text(shown(title)))
    # Where its names alone are wider than the terminal, the table is wider too, rather than cut.
    terminal_width, out.width = out.width, max(out.width, least)
    out.print(table, crop=False)
    if caption:
        out.width = terminal_width
        out.print(Text(caption, style="dim"))


def print_json(*records: Any) -> None:
    """Print each record as one line of JSON to standard output, at once; as ASCII where it takes no UTF-8."""
    ascii_only = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    for record in records:
        print(json_text(record, ascii_only=ascii_only), flush=True)


def print_csv(*rows: Sequence[object]) -> None:
    """Print each row as one line of CSV to standard output, at once, with quotes where RFC 4180 asks for them.

    Names may hold anything: what `shown` escapes stands as an escape, so that each row is one line of text. A file or a
    pipe gets UTF-8, whatever the encoding of terminals is, so that a reader gets the names back.
    """
    if not sys.stdout.isatty() and not (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
        with contextlib.suppress(AttributeError, ValueError):  # it is no stream of the system's
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([shown(cell) if isinstance(cell, str) else cell for cell in row])
        print(line.getvalue(), flush=True)


def short_count(count: int) -> str:
    """Return a count in three digits, with k, M or G for thousands, millions and billions.

    >>> short_count(812), short_count(11_181_642), short_count(999_950), short_count(2_220_000_000)
    ('812', '11.2 M', '1 M', '2.22 G')
    """
    for size, unit in ((1, ""), (1_000, " k"), (1_000_000, " M")):
        if "e" not in (digits := f"{count / size:.3g}"):  # 999.95 has four digits once it is rounded
            return digits + unit
    digits = f"{count / 1e9:.3g}"
    return f"{digits if 'e' not in digits else f'{count / 1e9:,.0f}'} G"


def say(*columns: str) -> None:
    """Print one line of results to standard output, at once, with tabs between columns. Names may hold anything."""
    print("\t".join(map(shown, columns)), flush=True)


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Show a spinner on a terminal while `what` is loaded: importing torch takes seconds on a cold start."""
    if sys.stderr.isatty():
        with console().status(f"loading {what}"):
            yield
    else:
        yield


def command(*words: object) -> str:
    """Return a `twofold` command that does the same wherever it is pasted, whatever the names in it hold.

    >>> print(command("eval", Path("my runs/a"), "--split", "val"))
    twofold eval 'my runs/a' --split val
    >>> print(command("report", Path("-run"), "caf\\udce9"))
    twofold report ./-run $'caf\\xe9'
    """
    return " ".join(["twofold", *map(quoted, words)])


def quoted(word: object) -> str:
    """Return a word as a shell reads it; a path never looks like an option."""
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
    if text.isprintable() and all(_can_spell(stream, text) for stream in (sys.stdout, sys.stderr)):
        return shlex.quote(text)
    # Bytes that are no text, signs that a terminal would obey, and letters that the encoding of our output lacks: spelt
    # as bash, zsh and ksh read them.
    safe = set(b" !#$%&()*+,-./:;<=>?@[]^_`{|}~") | {sign for sign in range(128) if chr(sign).isalnum()}
    return "$'" + "".join(chr(sign) if sign in safe else f"\\x{sign:02x}" for sign in name_bytes(text)) + "'"


def _can_spell(stream: IO[str] | None, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def note(message: str) -> None:
    """Print one plain line to standard error. Names in it may hold anything, and be of any length."""
    print(shown_short(message, most=_LONGEST_NOTE), file=sys.stderr, flush=True)


def track(items: Iterable[T], *, total: int, label: str, enabled: bool = True) -> Iterator[T]:
    """Yield `items` and show how far along we are: a bar on a terminal, a line every ten seconds elsewhere."""
    if not enabled:
        yield from items
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(), transient=True) as bar:
            task = bar.add_task(label, total=total)
            for item in items:
                yield item
                bar.advance(task)
    else:
        last = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            if time.monotonic() - last >= PLAIN_EVERY_SECONDS:
                last = time.monotonic()
                note(f"{label}: {done} of {total}")


@contextlib.contextmanager
def steady_streams() -> Iterator[None]:
    """Within this context, no command fails for a character that a stream cannot spell, or for messages that are lost.

    Characters that the encoding of standard output or error lacks are spelt in ASCII. What standard error does not take
    (its disk is full, its reader has gone) is dropped: the work goes on. A closed stream takes everything.

    Raises:
        RunError: standard output cannot be written.
        BrokenPipeError: whoever read standard output has gone.
    """
    codecs.register_error("twofold", _spell)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Steady(stream or io.StringIO(), is_output=stream is before[0]) for stream in before)
    try:
        yield
    finally:
        try:
            # What is still held back is written here, where a failure can be told, and not when Python ends.
            sys.stdout.flush()
        finally:
            sys.stdout, sys.stderr = before


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_SPELT.get(sign) or escaped(sign) for sign in error.object[error.start : error.end]), error.end


class _Steady:
    """A text stream that fails as `steady_streams` says; all else is the stream's own."""

    def __init__(self, stream: IO[str], *, is_output: bool) -> None:
        self._stream = stream
        self._is_output = is_output
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="twofold")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._told():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._told():
            self._stream.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Python writes what is held back once more at its end; then it must not fail again.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if isinstance(error, BrokenPipeError) and self._is_output:
                raise
            if self._is_output:
                raise RunError(f"cannot write standard output: {error.strerror or error}") from error
