"""The checkpoints of a run: whatever happens while one is written, a good one is left.

A new one is written beside the old, flushed and renamed; the one before stays as `previous`. SIGKILL, a full disk or a
bad sector in between leave at least one that can be gone on from; `inference.weights_file` finds what is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from twofold.inference.weights_file import BrokenCheckpointError, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Checkpoints:
    """The three checkpoints of a run: `last` and `previous` to go on from, `best` to use."""

    folder: Path

    @property
    def last(self) -> Path:
        """The newest state of the run."""
        return self.folder / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The state before the newest, in reserve."""
        return self.folder / "previous.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best epoch, with the preprocessing spec."""
        return self.folder / "best.safetensors"

    def save_last(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Make this the newest state; the one before becomes `previous`."""
        save_checkpoint(self.last, tensors, record, keep=self.previous)

    def load_newest(self) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
        """Return the newest good state, and a line for each one that had to be passed over.

        Raises:
            BrokenCheckpointError: there is no good one.
        """
        faults: list[str] = []
        for path in (self.last, self.previous):
            try:
                tensors, record = load_checkpoint(path)
            except BrokenCheckpointError as error:
                faults.append(str(error))
            else:
                return tensors, record, faults
        raise BrokenCheckpointError(f"nothing to go on from: {'; '.join(faults)}")
