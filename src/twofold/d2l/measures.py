"""Sums, times, accuracy and loss while a network trains."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn


def as_float(value: Any) -> float:
    """Return the value of a number or of a tensor of one element, which may need gradients."""
    return float(value.detach() if isinstance(value, Tensor) else value)


class Accumulator:
    """Sums of `n` values: `add(1.5, 3)`, read as `sums[0]`."""

    def __init__(self, n: int) -> None:
        self.data = [0.0] * n

    def add(self, *args: Any) -> None:
        """Add one value to each sum."""
        self.data = [total + as_float(value) for total, value in zip(self.data, args, strict=False)]

    def reset(self) -> None:
        """Set all sums to zero."""
        self.data = [0.0] * len(self.data)

    def __getitem__(self, idx: Any) -> Any:
        return self.data[idx]


class Timer:
    """A stopwatch that keeps each of its times, in seconds. It runs from the start on."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start()

    def start(self) -> None:
        """Start anew."""
        self.tik = time.time()

    def stop(self) -> float:
        """Keep the time since `start`, and return it."""
        self.times.append(time.time() - self.tik)
        return self.times[-1]

    def avg(self) -> float:
        """Return the mean of the times."""
        return sum(self.times) / len(self.times)

    def sum(self) -> float:
        """Return the sum of the times."""
        return sum(self.times)

    def cumsum(self) -> list[float]:
        """Return the time until the end of each."""
        return list(accumulate(self.times))


def accuracy(y_hat: Tensor, y: Tensor) -> float:
    """Return how many predictions are right: `y_hat` are logits (examples, classes), or labels."""
    predicted = y_hat.argmax(dim=1) if y_hat.dim() > 1 and y_hat.shape[1] > 1 else y_hat
    return float((predicted.type(y.dtype) == y).sum())


@torch.no_grad()
def evaluate_accuracy_gpu(net: Any, data_iter: Iterable[Any], device: torch.device | None = None) -> float:
    """Return the share of `data_iter`'s labels that `net` gets right, on the network's own device if none is given.

    A network of torch is left in eval mode.
    """
    if isinstance(net, nn.Module):
        net.eval()
        device = device or next((each.device for each in net.parameters()), None)
    right = Accumulator(2)
    for X, y in data_iter:
        inputs = [each.to(device) for each in X] if isinstance(X, list) else X.to(device)
        right.add(accuracy(net(inputs), y.to(device)), y.numel())
    return right[0] / right[1]


@torch.no_grad()
def evaluate_accuracy(data_iter: Iterable[Any], net: Any, device: torch.device | None = None) -> float:
    """Return the share of `data_iter`'s labels that `net` gets right, on the network's own device if none is given.

    A network of torch is measured in eval mode and left in training mode; a function that takes `is_training` gets
    False.
    """
    is_module = isinstance(net, nn.Module)
    if is_module:
        device = device or next((each.device for each in net.parameters()), None)
        net.eval()
    options = {} if is_module or "is_training" not in inspect.signature(net).parameters else {"is_training": False}
    right = Accumulator(2)
    for X, y in data_iter:
        right.add(accuracy(net(X.to(device), **options), y.to(device)), len(y))
    if is_module:
        net.train()
    return right[0] / right[1]


def evaluate_loss(net: Callable[[Tensor], Tensor], data_iter: Iterable[Any], loss: Callable[..., Tensor]) -> float:
    """Return the mean of the losses of all examples."""
    total = Accumulator(2)
    for X, y in data_iter:
        out = net(X)
        losses = loss(out, y.reshape(out.shape))
        total.add(losses.sum(), losses.numel())
    return total[0] / total[1]
