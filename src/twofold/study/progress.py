"""How far a race is: a bar on a terminal, a line every ten seconds elsewhere; and what was found on the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from twofold.terminal import PLAIN_EVERY_SECONDS, console, note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class RaceProgress:
    """Shows progress in epochs; a context.

    `total` are the epochs of all trials and runs together; `log` keeps the lines that say what was found.
    """

    def __init__(self, *, total: float, show: bool, log: Callable[[str], None]) -> None:
        self._total = total
        self._show = show
        self._log = log
        self._done = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> RaceProgress:
        if self._show and sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                BarColumn(bar_width=28),
                TextColumn("{task.percentage:3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=console())
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, epochs: float, doing: str, line: str = "") -> None:
        """Count `epochs` as done, say what is being done, and keep a `line` if there is one."""
        self._done += epochs
        if line:
            self._log(line)
        if self._bar is not None and self._task is not None:
            if line:
                self._bar.console.print(line)
            self._bar.update(self._task, completed=self._done, description=doing or None)
        elif self._show:
            if line:
                note(line)
            if doing and time.monotonic() - self._last_line >= PLAIN_EVERY_SECONDS:
                self._last_line = time.monotonic()
                note(f"{self._done / self._total:4.0%}  {doing}")
