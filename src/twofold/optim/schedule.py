"""Learning-rate schedules as pure functions of how far training has come.

A schedule here has no state: it maps progress, from 0 at the first step to 1 at the end, to a learning rate. So it
means the same for a run that is resumed, for any number of epochs, and for a budget of minutes.

- constant: η(t) = η.
- step: η(t) = η · f^k, k the number of finished periods of `step_epochs`.
- power: η(t) = η · t^α, t the epoch from 1 on, α below 0 (Robbins and Monro, 1951: α at least -1 and below -1/2).
- exponential: η(t) = η · α^t, t the epoch from 0 on, α below 1.
- one-cycle: up in a straight line for the share `warmup`, down in a straight line to `final_lr` · η (after Smith and
  Topin, "Super-convergence", 2018, without their third phase).
- warmup-cosine: up in a straight line, then along half a cosine (Loshchilov and Hutter, "SGDR", 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleName = Literal["constant", "step", "power", "exponential", "one-cycle", "warmup-cosine"]
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning-rate schedule.

    Attributes:
        name: its form, see the module.
        lr: the peak learning rate η.
        warmup: share of training, 0..1, over which the learning rate rises from nearly 0.
        final_lr: learning rate at the end, as a share of `lr`.
        step_epochs: length of a step's period in epochs.
        step_factor: what each period multiplies the learning rate by.
        alpha: exponent of the epoch (power), or what an epoch multiplies the learning rate by (exponential).
    """

    name: ScheduleName
    lr: float
    warmup: float = 0.0
    final_lr: float = 0.0
    step_epochs: float = 1.0
    step_factor: float = 1.0
    alpha: float = 0.0

    def at(self, progress: float, epoch: float) -> float:
        """Return the learning rate at `progress` (0..1, share of training done) and `epoch` (from 0, with fraction)."""
        if self.name == "constant":
            return self.lr
        if self.name == "step":
            return self.lr * self.step_factor ** math.floor(epoch / self.step_epochs)
        if self.name == "power":
            return self.lr * (1.0 + epoch) ** self.alpha
        if self.name == "exponential":
            return self.lr * self.alpha**epoch
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        remaining = (1.0 - progress) / (1.0 - self.warmup) if self.warmup < 1.0 else 1.0
        if self.name == "warmup-cosine":
            remaining = 0.5 * (1.0 - math.cos(math.pi * remaining))
        return self.lr * (self.final_lr + (1.0 - self.final_lr) * remaining)
