"""What a person sees while waiting: one console, progress bars on a terminal, plain lines elsewhere.

Everything that may take more than two seconds reports through `track`. Messages go to standard error, results to
standard output, so that `twofold predict --json | jq` works.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_EVERY_SECONDS = 10.0
_PIPE_WIDTH = 1000  # more than any table needs


def console() -> Console:
    """A console on standard error, made anew so that a redirected stream is seen."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def output() -> Console:
    """Return a console on standard output, for results.

    To a pipe or a file, a table is as wide as its content and no line ends in spaces; nothing is broken over lines.
    """
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)

    class Piped(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            with self.capture() as captured:
                super().print(*objects, **options)
            sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    return Piped(highlight=False, width=_PIPE_WIDTH)


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
        rows: a text a column.
        title: printed above.
        caption: printed below.
        total: a last row, apart from the others.
    """
    from rich.box import SIMPLE
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
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
        out.print(Text(title))
    # Where its names alone are wider than the terminal, the table is wider too, rather than cut.
    terminal_width, out.width = out.width, max(out.width, least)
    out.print(table, crop=False)
    if caption:
        out.width = terminal_width
        out.print(Text(caption, style="dim"))


def print_json(*records: Any) -> None:
    """Print each record as one line of JSON to standard output, at once."""
    for record in records:
        print(json.dumps(record, ensure_ascii=False), flush=True)


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Show a spinner on a terminal while `what` is loaded: importing torch takes seconds on a cold start."""
    if sys.stderr.isatty():
        with console().status(f"loading {what}"):
            yield
    else:
        yield


def shown(text: str) -> str:
    """Return `text` fit for one line of a terminal: control characters and broken Unicode as escapes.

    >>> shown("cat\\x1b[2J\\n.png")
    'cat\\\\x1b[2J\\\\n.png'
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def shown_lines(text: str) -> str:
    """Return `text` fit for a terminal: as `shown`, but its lines stay lines. Names of files may hold anything."""
    return "\n".join(map(shown, text.split("\n")))


def note(message: str) -> None:
    """Print one plain line to standard error."""
    print(shown_lines(message), file=sys.stderr, flush=True)


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
