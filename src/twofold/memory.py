"""Freed memory: kept for the next training step, instead of being asked for from the system again; or given back.

A training step allocates and frees the same large tensors every time. glibc hands each of them back to the operating
system, which gives out zeroed pages on the next request, one page fault for every 4 KiB: ResNet-18 on a batch of 128
images of 96 px takes about 90,000 faults a step. Kept in the process, the memory is simply used again.

mallopt changes the whole process, and not all of it can be undone: glibc by itself raises its threshold for mapping
pages to the size of what was freed, and stops doing so for good with the first call. So this belongs to the command
line, whose process it is; `twofold.train` and the rest of the library leave their caller's allocator alone. A program
that wants the same starts with `MALLOC_MMAP_MAX_=0`, `MALLOC_TRIM_THRESHOLD_=2147483647` and
`MALLOC_TOP_PAD_=67108864` in its environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL

# Parameters of glibc's mallopt (malloc.h), and their values when a process starts.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _TOP_PAD: 128 * 1024, _MMAP_MAX: 65_536}
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * 2**20, _MMAP_MAX: 0}


@contextlib.contextmanager
def freed_memory_is_kept() -> Iterator[None]:
    """Have glibc keep what is freed inside; afterwards its values at start are set and free memory is given back.

    Does nothing with another C library.
    """
    library = _glibc()
    if library is None:
        yield
        return
    try:
        for parameter, value in _KEEPING.items():
            library.mallopt(parameter, value)
        yield
    finally:
        for parameter, value in _DEFAULTS.items():
            library.mallopt(parameter, value)
        give_back()


def give_back() -> None:
    """Have glibc give what is free in this process back to the system.

    Each thread frees into a heap of its own, of which glibc by itself gives back no more than the end: a process with
    threads that come and go keeps nearly the most that each has ever used. Does nothing with another C library.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _glibc() -> CDLL | None:
    # Here, and not above: every start of the command line would wait for them.
    import ctypes
    import platform

    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
