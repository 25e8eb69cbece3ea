"""Ctrl-C and SIGTERM as a request: it is answered at once, the loop finishes its step, saves and leaves.

Python runs a signal's handler between two instructions of the main thread, and a backward pass, or the decoding of a
huge image, is one instruction of many seconds. The part of the handler that is written in C does not wait: it writes to
a file descriptor (`signal.set_wakeup_fd`), and a thread that reads from there can say that Ctrl-C was heard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TypeVar

from twofold.terminal import command

A = TypeVar("A", bound="Attention")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Who leaves within this time needs no answer: its last line says it all.
_ANSWER_AFTER_SECONDS = 0.3
# A second Ctrl-C counts from this time after the answer.
_SECOND_AFTER_SECONDS = 0.5
# After the second Ctrl-C the main thread has this long to leave in good order.
_LEAVE_WITHIN_SECONDS = 2.0
_MARK = 0  # what the main thread writes where signals write their numbers
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


@dataclasses.dataclass
class _Heard:
    """What was heard so far, in nested contexts alike: who has left the inner one is still in the outer one.

    Attributes:
        first: whether a first signal came.
        counts_from: the time from which a further Ctrl-C is a request of its own.
        num_insisted: how many such came.
        num_raised: how many of them were answered by a KeyboardInterrupt.
    """

    first: bool = False
    counts_from: float = math.inf
    num_insisted: int = 0
    num_raised: int = 0


class Attention:
    """While entered in the main thread, Ctrl-C is answered at once, and a second one ends the process.

    A second one counts from half a second after the answer. What comes before is no second thought: the key was pressed
    twice, or a launcher passed on what the terminal had sent to all of its processes.

    Args:
        answer: what is said where the work does not leave at once.
        last_words: what is said where it does not leave after a second Ctrl-C either, and is ended.
    """

    _innermost: ClassVar[Attention | None] = None

    def __init__(
        self, answer: str = "stopping; Ctrl-C again stops at once", last_words: str = "stopped at once"
    ) -> None:
        self._answer = answer
        self._last_words = last_words
        self._heard = _Heard()
        self._outer: Attention | None = None
        self._writer: socket.socket | None = None
        self._before = -1
        self._num_marks = 0
        self._thread: threading.Thread | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self: A) -> A:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._outer, Attention._innermost = Attention._innermost, self
        if self._outer is not None:
            self._heard = self._outer._heard
        reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, args=(reader,), name="twofold-signals", daemon=True)
        self._thread.start()
        for number in self._handled():
            self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is None or self._thread is None:
            return
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before)
        self._writer.close()
        self._thread.join()
        self._writer = None
        Attention._innermost = self._outer

    def _handled(self) -> Sequence[int]:
        """The signals that `_receive` handles: Ctrl-C, unless it is ignored or someone else's."""
        python_s = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return (signal.SIGINT,) if python_s else ()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in the main thread."""
        if self._is_first() or self._is_insisted():
            raise KeyboardInterrupt

    def _is_first(self) -> bool:
        first, self._heard.first = not self._heard.first, True
        return first

    def _is_insisted(self) -> bool:
        """Tell whether a further Ctrl-C came that counts, and was not answered yet.

        When it came, the listening thread knows, not the handler, which may run many seconds later. What was sent
        before the mark that is sent here was heard when the mark is.
        """
        assert self._writer is not None
        awaited, end = self._num_marks + 1, time.monotonic() + 1.0
        with contextlib.suppress(OSError):
            self._writer.send(bytes([_MARK]))
            while self._num_marks < awaited and time.monotonic() < end:
                time.sleep(0.001)
        num_raised, self._heard.num_raised = self._heard.num_raised, self._heard.num_insisted
        return self._heard.num_insisted > num_raised

    def _listen(self, reader: socket.socket) -> None:
        """Answer signals as they come, in a thread of its own."""
        heard, num_before = self._heard, self._heard.num_insisted
        answer_at = end_at = math.inf
        with reader:
            while True:
                next_at = min(answer_at, end_at)
                reader.settimeout(None if next_at == math.inf else max(0.001, next_at - time.monotonic()))
                try:
                    received = reader.recv(1)
                except TimeoutError:
                    if time.monotonic() >= end_at:
                        self._end()
                    if time.monotonic() >= answer_at:
                        _say(self._answer)
                        answer_at, heard.counts_from = math.inf, time.monotonic() + _SECOND_AFTER_SECONDS
                    continue
                if not received:  # the writer is closed: the work has left
                    return
                now = time.monotonic()
                if received[0] == _MARK:
                    self._num_marks += 1
                elif received[0] in _SIGNALS and heard.counts_from == math.inf:
                    answer_at = now + _ANSWER_AFTER_SECONDS
                    heard.counts_from = answer_at + _SECOND_AFTER_SECONDS
                elif received[0] == signal.SIGINT and now >= heard.counts_from:
                    if heard.num_insisted > num_before:
                        self._end()
                    heard.num_insisted += 1
                    answer_at, end_at = math.inf, now + _LEAVE_WITHIN_SECONDS
                    heard.counts_from = now + _SECOND_AFTER_SECONDS

    def _end(self) -> None:
        _say(self._last_words + (_SHOW_CURSOR if sys.stderr.isatty() else ""))
        os._exit(128 + signal.SIGINT)


def _say(line: str) -> None:
    # Not by Python's own stream, whose lock the main thread may hold. On a terminal, ^C stands in the line already.
    start = "\n" if os.isatty(2) else ""
    os.write(2, f"{start}{line}\n".encode("utf-8", "surrogateescape"))


class StopRequest(Attention):
    """While entered, the first SIGINT or SIGTERM sets `received` and is answered; a later SIGINT stops at once.

    Signals can only be handled in the main thread; elsewhere (a notebook's worker) this does nothing.
    """

    received: int | None = None

    def _handled(self) -> Sequence[int]:
        return _SIGNALS

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._is_first():
            self.received = number
        if self._is_insisted():
            raise KeyboardInterrupt
