"""All that changes while a network trains, and its way into a checkpoint and back.

Randomness is not among it: it is a pure function of (seed, epoch, sample), see `twofold.keyed`. Nor is the learning
rate: it is a pure function of progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_weights


@dataclass
class Counters:
    """How far a run has come: numbers that a checkpoint's record holds exactly."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    seen: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    train_seconds: float = 0.0
    epoch_seconds: float = 0.0
    best_value: float | None = None
    best_epoch: int | None = None
    lr: float = 0.0  # of the last step: an epoch's line tells it, even where a resumed run has no step left to make

    def start_epoch(self) -> None:
        """Begin the next epoch's sums."""
        self.epoch += 1
        self.step_in_epoch = self.seen = self.correct = 0
        self.loss_sum = self.epoch_seconds = 0.0


@dataclass
class TrainState:
    """The network, its moving average, the optimiser and the counters."""

    model: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    counters: Counters

    @property
    def evaluated(self) -> nn.Module:
        """The network whose weights are judged and kept: the moving average where there is one."""
        return self.model if self.average is None else self.average.module

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state under a name."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            for slot, value in slots.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{slot}"] = value
        return tensors

    def record(self) -> dict[str, Any]:
        """Return the counters as a JSON-able record."""
        return asdict(self.counters)

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any], *, source: str) -> None:
        """Take the state from a checkpoint's tensors and record.

        Raises:
            TwofoldError: they belong to another architecture.
        """
        parts = _split(tensors)
        load_weights(self.model, parts.get("model", {}), source=source)
        if self.average is not None:
            load_weights(self.average, parts.get("average", {}), source=source)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in parts.get("optimizer", {}).items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        state = self.optimizer.state_dict()
        try:
            self.optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
        except ValueError as error:
            raise TwofoldError(f"{source} holds the state of another optimiser: {error}") from error
        self.counters = Counters(**record)


def _split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = value
    return parts


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of the weights and normalisation statistics of `model`.

    Averaging the last 1/(1 - decay) steps cancels much of the noise of their gradients (Polyak and Juditsky, 1992).
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
