"""Ctrl-C and SIGTERM as a request: it is answered at once, the loop finishes its step, saves and leaves.

Python runs a signal's handler between two instructions of the main thread, and a backward pass, or the decoding of a
huge image, is one instruction of many seconds. The part of the handler that is written in C does not wait: it writes to
a file descriptor (`signal.set_wakeup_fd`), and a thread that reads from there can say that Ctrl-C was heard.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from twofold.terminal import command

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Who leaves within this time needs no answer: its last line says it all.
_ANSWER_AFTER_SECONDS = 0.3
# After the second Ctrl-C the main thread has this long to leave in good order.
_LEAVE_WITHIN_SECONDS = 2.0
_SHOW_CURSOR = "\x1b[?25h"  # which a progress bar had hidden


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop and can be gone on with; `folder` is where.

    Args:
        folder: the run.
        signal_number: the signal that asked.
        what: what has become of the run, in words.
    """

    def __init__(self, folder: Path, signal_number: int, what: str = "stopped and saved") -> None:
        super().__init__(f"{what}; go on with: {command('train', '--resume', folder)}")
        self.folder = folder
        self.signal_number = signal_number


class Attention:
    """While entered in the main thread, Ctrl-C is answered at once, and a second one ends the process.

    Args:
        answer: what is said where the work does not leave at once.
        last_words: what is said where it does not leave after a second Ctrl-C either, and is ended.
    """

    def __init__(
        self, answer: str = "stopping; Ctrl-C again stops at once", last_words: str = "stopped at once"
    ) -> None:
        self._answer = answer
        self._last_words = last_words
        self._writer: socket.socket | None = None
        self._before = -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Attention:
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, args=(reader,), name="twofold-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is None or self._thread is None:
            return
        signal.set_wakeup_fd(self._before)
        self._writer.close()
        self._thread.join()
        self._writer = None

    def _listen(self, reader: socket.socket) -> None:
        with reader:
            num_received = 0
            while True:
                try:
                    received = reader.recv(1)
                except TimeoutError:
                    if num_received > 1:
                        self._end()
                    _say(self._answer)
                    reader.settimeout(None)
                    continue
                if not received:  # the writer is closed: the work has left
                    return
                if received[0] in _SIGNALS and (num_received == 0 or received[0] == signal.SIGINT):
                    num_received += 1
                    if num_received > 2:
                        self._end()
                    reader.settimeout(_ANSWER_AFTER_SECONDS if num_received == 1 else _LEAVE_WITHIN_SECONDS)

    def _end(self) -> None:
        _say(self._last_words + (_SHOW_CURSOR if sys.stderr.isatty() else ""))
        os._exit(128 + signal.SIGINT)


def _say(line: str) -> None:
    # Not by Python's own stream, whose lock the main thread may hold. On a terminal, ^C stands in the line already.
    start = "\n" if os.isatty(2) else ""
    os.write(2, f"{start}{line}\n".encode("utf-8", "surrogateescape"))


class StopRequest(Attention):
    """While entered, the first SIGINT or SIGTERM sets `received` and is answered; a second SIGINT stops at once.

    Signals can only be handled in the main thread; elsewhere (a notebook's worker) this does nothing.
    """

    received: int | None = None

    def __enter__(self) -> StopRequest:
        super().__enter__()
        self._handlers: dict[int, object] = {}
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        super().__exit__(*exception)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
