"""Random weights that are always the same: torch draws them from one generator, which all threads share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_DRAWING = threading.Lock()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's generator as after `torch.manual_seed(seed)`; put it back as it was, one thread at a time."""
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
