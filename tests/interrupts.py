"""Ctrl-C in the middle of work: for tests of any room."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest


def interrupt_in(monkeypatch: pytest.MonkeyPatch, module: object, name: str, *, call: int = 1) -> None:
    """Send this process a SIGINT, as Ctrl-C does, when a function is called for the `call`-th time."""
    original: Callable[..., object] = getattr(module, name)
    calls = iter(range(1, 1_000_000))

    def interrupted(*arguments: object, **options: object) -> object:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, interrupted)
