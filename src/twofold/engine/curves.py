"""Curves for TensorBoard: what metrics.jsonl has, as an event file.

TensorBoard's own writer, which torch wraps, writes in a thread of its own: where a disk is full, that thread ends in a
traceback, and the error turns up at some later call. A few values every second need no thread. Each record is written
and flushed at once, so that a run that is killed has the curves of all that it logged.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.errors import RunError

_FORMAT = "brain.Event:2"
_number = itertools.count()


class Curves:
    """An event file, open for writing.

    Args:
        folder: where it is made; TensorBoard reads all event files of a folder as one run.
        purge_step: on a resumed run, the step from which TensorBoard should forget the curves.

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        # Slow to import, so only when a run starts.
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events: Any = event_pb2  # both generated, without types
        self._summaries: Any = summary_pb2
        # Of two files of one second, the first in the order of names is read first.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")
        except OSError as error:
            raise RunError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._writer = RecordWriter(self._file)
        self._write(file_version=_FORMAT)
        if purge_step is not None:
            session = self._events.SessionLog
            self._write(step=purge_step, session_log=session(status=session.START))

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Write a point of each curve.

        Raises:
            RunError: the disk is full, or the folder is gone.
        """
        summary = self._summaries.Summary
        points = [summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=summary(value=points))

    def close(self) -> None:
        """Close the file; what it could not write has been said already."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, **fields: Any) -> None:
        event = self._events.Event(wall_time=time.time(), **fields)
        try:
            self._writer.write(event.SerializeToString())
            self._file.flush()
        except OSError as error:
            raise RunError(f"cannot write {self._path}: {error.strerror or error}") from error
