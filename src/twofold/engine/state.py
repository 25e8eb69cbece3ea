"""All that changes while a network trains, and its way into a checkpoint and back.

Randomness is not among it: it is a pure function of (seed, epoch, sample), see `twofold.keyed`. Nor is the learning
rate: it is a pure function of progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from twofold.engine.build import Training
from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_weights


@dataclass
class Counters:
    """How far a run has come: numbers that a checkpoint's record holds exactly.

    Attributes:
        step: steps done.
        epoch: epochs done.
        step_in_epoch: steps done in the present epoch.
        seen: images seen in it.
        losses: the sum over those images of the loss, and of its parts.
        counts: the sum over those images of what the task counts in training.
        train_seconds: time spent in training, without evaluation.
        epoch_seconds: the same in the present epoch.
        best: what the best epoch measured on the validation images.
        best_epoch: which it was, counted from 1.
        lr: of the last step; an epoch's line has it even where a resumed run has no step left to make.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    seen: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    train_seconds: float = 0.0
    epoch_seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    lr: float = 0.0

    def start_epoch(self) -> None:
        """Begin the next epoch's sums."""
        self.epoch += 1
        self.step_in_epoch = self.seen = 0
        self.losses, self.counts = {}, {}
        self.epoch_seconds = 0.0

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, metric: str) -> Counters:
        """Return the counters in a checkpoint's record; `metric` is the only one that older checkpoints knew.

        Raises:
            TwofoldError: a later version wrote them.
        """
        record = dict(record)
        if "loss_sum" in record:
            loss, correct, best = record.pop("loss_sum"), record.pop("correct"), record.pop("best_value")
            record |= {"losses": {"loss": loss}, "counts": {metric: correct}}
            record |= {"best": {} if best is None else {metric: best}}
        if unknown := record.keys() - {each.name for each in fields(cls)}:
            raise TwofoldError(
                f"the run's state was saved by a later version of Twofold, for it counts {', '.join(sorted(unknown))}; "
                "go on with that version"
            )
        return cls(**record)


def state_tensors(training: Training) -> dict[str, Tensor]:
    """Return every tensor of the network, of its moving average and of the optimiser, under a name."""
    tensors = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    if training.average is not None:
        tensors |= {f"average.{name}": value for name, value in training.average.state_dict().items()}
    names = _names_by_place(training)
    for place, slots in training.optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimizer.{names[place]}.{slot}"] = value
    return tensors


def _names_by_place(training: Training) -> list[str]:
    """Return the names of the parameters in the order in which the optimiser counts them: group by group.

    Which groups there are depends on the settings: with another weight decay the same parameter has another number.
    """
    names = {parameter: name for name, parameter in training.model.named_parameters()}
    return [names[parameter] for group in training.optimizer.param_groups for parameter in group["params"]]


def restore_tensors(training: Training, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Take network, moving average and optimiser from a checkpoint's tensors.

    Raises:
        TwofoldError: they belong to another architecture or another optimiser.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    load_weights(training.model, parts.get("model", {}), source=source)
    if training.average is not None:
        load_weights(training.average, parts.get("average", {}), source=source)
    slots: dict[int, dict[str, Tensor]] = {}
    places = {name: place for place, name in enumerate(_names_by_place(training))}
    state = training.optimizer.state_dict()
    try:
        for name, value in parts.get("optimizer", {}).items():
            parameter, _, slot = name.rpartition(".")
            # Runs of before had numbers in place of names.
            place = int(parameter) if parameter.isdecimal() else places.get(parameter)
            if place is None:
                raise ValueError(f"there is no parameter {parameter[:200]}")
            slots.setdefault(place, {})[slot] = value
        training.optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
    except ValueError as error:
        raise TwofoldError(f"{source} holds the state of another optimiser: {error}") from error
