"""What a person sees while waiting: one console, progress bars on a terminal, plain lines elsewhere.

Everything that may take more than two seconds reports through `track`. Messages go to standard error, results to
standard output, so that `twofold predict --json | jq` works.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_EVERY_SECONDS = 10.0
_FILE_WIDTH = 200


def console() -> Console:
    """Return a console on standard error, made anew so that a redirected stream is seen."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def output() -> Console:
    """Return a console on standard output, for results such as tables; wide where it is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)


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
