"""Who looks on while a run goes, in the thread that trains: may hold it up, stop it, or change its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.engine.build import Training
    from twofold.engine.run import RunFolder
    from twofold.engine.state import Counters
    from twofold.records import EpochRecord


class Watcher:
    """Base class of watchers; this one lets a run go. What it does must leave weights and torch's generators alone.

    Attributes:
        stops: set it, from any thread, and the run stops after its step, saved, as after Ctrl-C.
    """

    stops = False

    def begin(self, training: Training, run: RunFolder, counters: Counters) -> None:
        """Look at a network that is ready for its next step. Comes again after each change of settings."""

    def after_step(self, counters: Counters, loss: float) -> Mapping[str, Any] | None:
        """Look at a step that is done. The time that this takes does not count as training.

        Args:
            counters: how far the run has come.
            loss: of the step, before its update.

        Returns:
            Settings of the recipe to go on with, see `changes.change`; None to leave it as it is.
        """

    def after_epoch(self, line: EpochRecord) -> None:
        """Look at what an epoch measured."""
