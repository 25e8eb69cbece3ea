"""What does not decide the result of a run: how it is watched, saved and fed."""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine.watching import Watcher
from twofold.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a run that leave its result alone.

    Attributes:
        show: print progress.
        checkpoint_seconds: time between two saves of the state.
        skip_broken: go on without images that cannot be read.
        memory_limit: bytes of decoded images to keep in memory; larger sets are read from disk as they are needed.
            A quarter of the free memory if left out.
        save_every: number of epochs after which the weights of an epoch are kept, each time in a file of its own.
        keep_best: number of the best epochs whose weights are kept, each in a file of its own.
        watch: looks on, may hold the run up or stop it, and may change settings.

    Raises:
        TwofoldError: `save_every` or `keep_best` is below 1.
    """

    show: bool = True
    checkpoint_seconds: float = 60.0
    skip_broken: bool = False
    memory_limit: int | None = None
    save_every: int | None = None
    keep_best: int | None = None
    watch: Watcher | None = None

    def __post_init__(self) -> None:
        for name in ("save_every", "keep_best"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{{}} must be 1 or more, got {value!r}", name)
