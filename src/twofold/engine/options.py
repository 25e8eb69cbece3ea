"""What does not decide the result of a run: how it is watched, saved and fed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a run that leave its result alone.

    Attributes:
        show: print progress.
        checkpoint_seconds: time between two saves of the state.
        skip_broken: go on without images that cannot be read.
        memory_limit: bytes of decoded images to keep in memory; larger sets are read from disk as they are needed.
            A quarter of the free memory if left out.
    """

    show: bool = True
    checkpoint_seconds: float = 60.0
    skip_broken: bool = False
    memory_limit: int | None = None
