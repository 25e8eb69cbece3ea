"""Where to compute: the book's names for devices."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def cpu() -> torch.device:
    """Return the CPU."""
    return torch.device("cpu")


def gpu(i: int = 0) -> torch.device:
    """Return the GPU number `i`, whether there is one or not."""
    return torch.device(f"cuda:{i}")


def num_gpus() -> int:
    """Return how many GPUs there are."""
    return torch.cuda.device_count()


def try_gpu(i: int = 0) -> torch.device:
    """Return the GPU number `i` if there is one, else the CPU."""
    return gpu(i) if num_gpus() > i else cpu()


def try_all_gpus() -> list[torch.device]:
    """Return all GPUs, or the CPU where there is none.

    The book's function returns an empty list there, and what is given it fails at `devices[0]`.
    """
    return [gpu(index) for index in range(num_gpus())] or [cpu()]


def split_batch(X: Tensor, y: Tensor, devices: list[torch.device]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the parts of a batch, one on each device."""
    assert len(X) == len(y), f"X has {len(X)} examples and y {len(y)}"
    if devices[0].type == "cpu":
        return (X,), (y,)
    return nn.parallel.scatter(X, devices), nn.parallel.scatter(y, devices)
