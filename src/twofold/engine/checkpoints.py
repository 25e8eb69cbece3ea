"""The checkpoints of a run: whatever happens while one is written, a good one is left.

A new one is written beside the old, flushed and renamed; the one before stays as `previous`. SIGKILL, a full disk or a
bad sector in between leave at least one that can be gone on from; `inference.weights_file` finds what is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from twofold.errors import RunError
from twofold.inference.weights_file import BrokenCheckpointError, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: `last` and `previous` to go on from, `best` to use, and further epochs to use.

    The weights of an epoch that are kept because of its number are epoch-NNNN.safetensors; those of one of the best
    epochs are best-NNNN.safetensors, so that the one can go when a better one comes, and the other stays.
    """

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

    def of_epoch(self, epoch: int) -> Path:
        """Return the file of an epoch that is kept because of its number."""
        return self.folder / f"epoch-{epoch:04d}.safetensors"

    def of_best(self, epoch: int) -> Path:
        """Return the file of an epoch that is kept because it is one of the best."""
        return self.folder / f"best-{epoch:04d}.safetensors"

    def keep_of_best(self, epochs: Collection[int]) -> None:
        """Remove the files of best epochs that are no longer among the best.

        Raises:
            RunError: one cannot be removed.
        """
        kept = {self.of_best(epoch) for epoch in epochs}
        for path in self.folder.glob("best-*.safetensors"):
            if path not in kept:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise RunError(f"cannot remove {path}: {error.strerror or error}") from error

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
                if record.get("kind") != "weights":
                    return tensors, record, faults
                faults.append(f"{path} holds the weights of a network, not the state of a run")
        raise BrokenCheckpointError(f"nothing to go on from: {'; '.join(faults)}")
