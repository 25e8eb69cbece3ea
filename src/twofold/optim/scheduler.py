"""A schedule as a torch scheduler, for training loops other than Twofold's."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LambdaLR

from twofold.errors import TwofoldError
from twofold.optim.schedule import Schedule


class ScheduleLR(LambdaLR):
    """Set the learning rate of each parameter group as a `Schedule` says; call `step()` after each optimiser step.

    A group's own learning rate counts as a share of the schedule's peak: a head that starts at ten times the peak keeps
    ten times the learning rate of the others throughout.

    Args:
        optimizer: whose learning rates to set.
        schedule: learning rate as a function of progress.
        total_steps: steps of the whole training.
        steps_per_epoch: steps of an epoch, for the schedules that count epochs.

    Raises:
        TwofoldError: `total_steps` or `steps_per_epoch` is below 1.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, *, total_steps: int, steps_per_epoch: int = 1
    ) -> None:
        for name, value in (("total_steps", total_steps), ("steps_per_epoch", steps_per_epoch)):
            if value < 1:
                raise TwofoldError(f"{name} must be 1 or more, got {value}")

        def factor(step: int) -> float:
            # As in the engine, progress is that of the middle of the step: neither end has a learning rate of 0.
            progress = min(1.0, (step + 0.5) / total_steps)
            return schedule.at(progress, step / steps_per_epoch) / schedule.lr

        super().__init__(optimizer, factor)
