"""Ctrl-C and SIGTERM as a request: the loop finishes its step, saves and leaves."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop and has saved its state; `folder` is where to go on from."""

    def __init__(self, folder: Path, signal_number: int) -> None:
        super().__init__(f"stopped and saved; go on with: twofold train --resume {folder}")
        self.folder = folder
        self.signal_number = signal_number


class StopRequest:
    """While entered, the first SIGINT or SIGTERM sets `received`; a second SIGINT stops at once.

    Signals can only be handled in the main thread; elsewhere (a notebook's worker) this does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
