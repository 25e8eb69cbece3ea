"""Random weights that are always the same: torch draws them from one generator, which all threads share.

Whoever draws from it takes a turn first, so that each draws as if it were alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

import torch


class Turns:
    """A lock for those who draw from torch's own generator, which the process has once; given in the order of asking.

    Two runs in two pages so take turns, a step each.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold it."""
        self.take()
        try:
            yield
        finally:
            self.give()

    def take(self) -> None:
        """Wait for it. A thread that holds it must not ask for it again."""
        own = object()
        with self._condition:
            self._waiting.append(own)
            self._condition.wait_for(lambda: self._waiting[0] is own)

    def give(self) -> None:
        """Let the next one have it."""
        with self._condition:
            self._waiting.popleft()
            self._condition.notify_all()


TURNS = Turns()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's generator as after `torch.manual_seed(seed)`; put it back as it was, one thread at a time.

    A run that trains in another page waits meanwhile: its draws stay its own.
    """
    with TURNS.taken(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
