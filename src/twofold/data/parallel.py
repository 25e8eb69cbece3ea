"""Threads that work a bounded distance ahead, with results in order; and how much memory there is to fill."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_UNKNOWN_MEMORY = 4 * 2**30


def num_workers() -> int:
    """Return how many threads decode images: one per CPU core that this process may use, at most 32."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(32, usable)


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, workers: int | None = None, ahead: int | None = None
) -> Iterator[R]:
    """Yield `function(item)` for each item in order, computed by `workers` threads up to `ahead` items in advance.

    Unlike `Executor.map` it never holds more than `ahead` results, so memory stays flat over any number of items.
    An exception is raised where its result would have been. A consumer that stops early ends the threads.
    """
    workers = workers or num_workers()
    ahead = ahead or 4 * workers
    pool = ThreadPoolExecutor(workers, thread_name_prefix="twofold-data")
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_memory() -> int:
    """Return the bytes that this process may still allocate: of the machine, or of its control group if smaller."""
    limits = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    if not limits:  # not Linux: without a figure for what is free, half of what is built in
        with contextlib.suppress(AttributeError, ValueError, OSError):
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    group = Path("/sys/fs/cgroup")
    # OSError: no control group. ValueError: its limit is "max".
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        limits.append(max(0, limit - used))
    return min(limits, default=_UNKNOWN_MEMORY)
