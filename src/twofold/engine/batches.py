"""Which samples make which step: a pure function of (seed, epoch), so that any step can be found again.

An epoch is a permutation of the training images, cut into steps of `batch_size * accumulate`. The last, partial step
is left out (each epoch leaves out other images); a set smaller than one step makes one step of all of it.

**Balanced sampling** draws from each stratum (each class) equally often, to within one image an epoch: rare ones are
repeated, and of common ones each epoch shows a part (Shen et al., "Relay backpropagation", 2016). Over all epochs, the
images of a stratum are dealt from one stack after another, each a permutation of them, so that none is seen for the
k-th time before all were seen k - 1 times. Slot s, counted over all epochs, belongs to stratum s mod C and is its
⌊s / C⌋-th draw: so the draws of an epoch need no others. The order of an epoch is one list, of which a process among
several would take its part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.keyed import bits, derive_key, permutation


@dataclass(frozen=True)
class BatchPlan:
    """The order of training: `num_images` shuffled anew each epoch.

    Attributes:
        num_images: in an epoch, but for a partial step.
        batch_size: images in a batch.
        accumulate: batches in a step.
        seed: of every order.
        strata: the stratum of each image, for balanced sampling; None where an epoch shows each image once.
    """

    num_images: int
    batch_size: int
    accumulate: int
    seed: int
    strata: Int64[Tensor, " n"] | None = field(default=None, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimiser steps in an epoch."""
        return max(1, self.num_images // (self.batch_size * self.accumulate))

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[Int64[Tensor, " batch"]]]:
        """Yield, for each step of `epoch` from `first_step` on, the sample numbers of its batches.

        The number of a sample is the index of its image, plus `num_images` for each time that the epoch draws that
        image before: what is keyed by the number, such as augmentation, differs between repeats.
        """
        per_step = self.batch_size * self.accumulate
        key = derive_key(self.seed, epoch, "order")
        if self.strata is None:
            order = permutation(key, self.num_images)
        else:
            drawn = self._balanced(epoch, min(self.num_images, self.steps_per_epoch * per_step))
            order = drawn[permutation(key, len(drawn))]
        for step in range(first_step, self.steps_per_epoch):
            samples = order[step * per_step : (step + 1) * per_step]
            # Even parts: a remainder of one image would leave batch normalisation nothing to average.
            num_batches = -(-len(samples) // self.batch_size)
            yield list(torch.tensor_split(samples, num_batches))

    def remarks(self) -> list[str]:
        """Return a line on what balanced sampling does to these images; none without it."""
        if self.strata is None:
            return []
        counts = self.strata.unique(return_counts=True)[1]
        few, many, times = int(counts.min()), int(counts.max()), self.num_images // len(counts)
        sizes = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        return [f"balanced sampling: each class about {times:,} times an epoch, of {sizes} images"]

    def _balanced(self, epoch: int, num_drawn: int) -> Int64[Tensor, " drawn"]:
        """Return the sample numbers of an epoch, stratum by stratum."""
        assert self.strata is not None
        strata, counts = self.strata.cpu().unique(return_counts=True)
        members = self.strata.cpu().argsort(stable=True).split(counts.tolist())
        parts = []
        for number, images in enumerate(members):
            # The draws of this stratum in the slots before this epoch, and in those up to its end.
            first, last = (
                -(-(slots - number) // len(strata)) for slots in (epoch * num_drawn, (epoch + 1) * num_drawn)
            )
            first_stack, end_stack = first // len(images), -(-last // len(images))
            counters = torch.arange(first_stack * len(images), end_stack * len(images))
            counters = counters.view(end_stack - first_stack, len(images))
            stacks = bits(derive_key(self.seed, "stack", int(strata[number])), counters).argsort(dim=1, stable=True)
            dealt = stacks.flatten()[first - first_stack * len(images) : last - first_stack * len(images)]
            parts.append(images[dealt] + self.num_images * _occurrences(dealt, len(images)))
        return torch.cat(parts)


def _occurrences(values: Int64[Tensor, " n"], num_values: int) -> Int64[Tensor, " n"]:
    """Return how often each value stands before its place."""
    order = values.argsort(stable=True)
    counts = values.bincount(minlength=num_values)
    starts = counts.cumsum(0) - counts
    places = torch.empty_like(values)
    places[order] = torch.arange(len(values)) - starts[values[order]]
    return places
