"""Batches of data that lie in memory, in the order in which torch's DataLoader would give them.

The book reads each image by itself, in four worker processes that start anew each epoch; for small images that costs
several times what the training does. Here a batch is one indexing of a tensor.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class ArrayData(torch.utils.data.TensorDataset):
    """Tensors of the same length, read row by row or a batch at a time."""

    def batch(self, indices: Tensor) -> list[Tensor]:
        """Return the rows at `indices` of each tensor."""
        return [each[indices] for each in self.tensors]


class Batches:
    """An epoch of batches, taken by `next(batches)` or, as older chapters write it, by `batches.next()`."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    next = __next__


class Loader:
    """Batches of `dataset`, an epoch each time it is iterated.

    After `torch.manual_seed(n)` they come in the order of `torch.utils.data.DataLoader(dataset, batch_size, shuffle)`.
    """

    def __init__(self, dataset: Any, batch_size: int, shuffle: bool = False) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Batches:
        return Batches(self._batches())

    def _batches(self) -> Iterator[Any]:
        order = torch.arange(len(self.dataset))
        _draw_seed()  # DataLoader draws one for its workers first, whether it has any or not
        if self.shuffle:
            generator = torch.Generator()
            generator.manual_seed(_draw_seed())
            order = torch.randperm(len(self.dataset), generator=generator)
        for indices in order.split(self.batch_size):
            yield self.dataset.batch(indices)


def _draw_seed() -> int:
    return int(torch.empty((), dtype=torch.int64).random_())


def load_array(data_arrays: Sequence[Tensor], batch_size: int, is_train: bool = True) -> Loader:
    """Return batches of rows of the tensors `data_arrays`, shuffled where `is_train`.

    Idea: `twofold show minibatches`.
    """
    return Loader(ArrayData(*data_arrays), batch_size, shuffle=is_train)


def get_dataloader_workers() -> int:
    """Return how many processes the book reads data with: four."""
    return 4


def data_iter(batch_size: int, features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random batches of features and labels, an epoch.

    Idea: `twofold show minibatches`.
    """
    order = list(range(len(features)))
    random.shuffle(order)
    for indices in torch.tensor(order).split(batch_size):
        yield features[indices], labels[indices]
