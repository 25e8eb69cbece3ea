"""Which samples make which step: a pure function of (seed, epoch), so that any step can be found again.

An epoch is a permutation of the training images, cut into steps of `batch_size * accumulate`. The last, partial step
is left out (each epoch leaves out other images); a set smaller than one step makes one step of all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.keyed import derive_key, permutation


@dataclass(frozen=True)
class BatchPlan:
    """The order of training: `num_images` shuffled anew each epoch."""

    num_images: int
    batch_size: int
    accumulate: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimiser steps in an epoch."""
        return max(1, self.num_images // (self.batch_size * self.accumulate))

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[Int64[Tensor, " batch"]]]:
        """Yield, for each step of `epoch` from `first_step` on, the sample indices of its batches."""
        order = permutation(derive_key(self.seed, epoch, "order"), self.num_images)
        per_step = self.batch_size * self.accumulate
        for step in range(first_step, self.steps_per_epoch):
            samples = order[step * per_step : (step + 1) * per_step]
            # Even parts: a remainder of one image would leave batch normalisation nothing to average.
            num_batches = -(-len(samples) // self.batch_size)
            yield list(torch.tensor_split(samples, num_batches))
