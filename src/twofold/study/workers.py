"""Tasks spread over processes, with their progress, errors and end under control.

A worker is a fresh Python process (spawned, not forked: torch's threads do not survive a fork) that takes a task at a
time through a pipe and sends back what happens. Ctrl-C at a terminal reaches every process of the group; the workers
ignore it and the parent ends them. When the parent dies, however it dies, the pipe breaks, and with it the worker.

This file loads without torch: a worker begins to listen before it imports anything heavy.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from twofold.errors import RunError, TwofoldError

T = TypeVar("T")
# Takes a task and a function to report its progress with; may raise.
Work = Callable[[T, Callable[[Any], None]], None]

_POLL_SECONDS = 0.2


class Workers(Generic[T]):
    """`count` processes that do tasks; a context.

    Args:
        count: how many.
        begin: called in each process, once, with `argument`; returns what does a task. A function of a module.
        argument: what `begin` needs; it is pickled for each process.
    """

    def __init__(self, count: int, begin: Callable[[Any], Work[T]], argument: Any) -> None:
        self._count = count
        self._begin = begin
        self._argument = argument
        self._processes: dict[Connection, Any] = {}

    def __enter__(self) -> Workers[T]:
        context = multiprocessing.get_context("spawn")
        with _children_ignore_interrupts():
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_listen, args=(theirs, self._begin, self._argument), daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process
        return self

    def __exit__(self, *exception: object) -> None:
        # Nothing is lost: what a task has done is on the disk, and leaving in good order takes torch seconds.
        for process in self._processes.values():
            process.kill()
        for pipe, process in self._processes.items():
            process.join()
            pipe.close()

    def run(self, tasks: Sequence[T], on_event: Callable[[Any], None], on_wait: Callable[[], None]) -> None:
        """Do all `tasks`, each in the first process that is free, in their order.

        Args:
            tasks: what to do.
            on_event: called here with whatever a task reports.
            on_wait: called a few times a second; may raise to stop.

        Raises:
            TwofoldError: what a task raised.
            RunError: a process died.
        """
        left = deque(tasks)
        idle = list(self._processes)
        busy: set[Connection] = set()
        while left or busy:
            while left and idle:
                pipe = idle.pop(0)
                # A process that has died is found when its pipe is read.
                with contextlib.suppress(OSError):
                    pipe.send(left.popleft())
                busy.add(pipe)
            on_wait()
            for ready in wait(list(busy), timeout=_POLL_SECONDS):
                assert isinstance(ready, Connection)
                try:
                    kind, content = ready.recv()
                except (EOFError, OSError):
                    raise _died(self._processes[ready]) from None
                if kind == "event":
                    on_event(content)
                elif kind == "done":
                    busy.remove(ready)
                    idle.append(ready)
                else:
                    message, exit_code = content
                    if exit_code is None:
                        raise RuntimeError(f"a process of this command failed:\n{message}")
                    raise (RunError if exit_code == RunError.exit_code else TwofoldError)(message)


def _died(process: Any) -> RunError:
    process.join(timeout=5)
    code = process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    hint = "; the system may have run out of memory: try fewer --jobs" if code == -signal.SIGKILL else ""
    return RunError(f"a worker process ended {how}{hint}")


def _listen(pipe: Connection, begin: Callable[[Any], Work[T]], argument: Any) -> None:
    """Do tasks until the pipe breaks, in a process of its own."""
    work: Work[T] | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                work = work or begin(argument)
                work(task, lambda event: pipe.send(("event", event)))
            except TwofoldError as error:
                pipe.send(("error", (str(error), error.exit_code)))
            except (BrokenPipeError, ConnectionError):
                return
            except Exception:  # noqa: BLE001 (shown with its traceback by the parent)
                pipe.send(("error", (traceback.format_exc(), None)))
            else:
                pipe.send(("done", None))


@contextlib.contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment: what is ignored stays so in a new program."""
    before = None
    with contextlib.suppress(ValueError):  # not the main thread, where signals cannot be set
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
