"""Memory layout: what makes an update rule fast on the CPU is to read and write each element once.

A step is bound by memory: of ResNet-18 it moves 47 MB of weights, as much of gradients, and the state. Two ways:

- torch's *fused* kernels, one loop over memory for a whole rule. They walk through memory, not through indices, and do
  not check it: all tensors of a parameter must be dense (`is_fusible`) and laid out alike (`laid_out_like`).
- operations on *pieces* that stay in the CPU's cache from a rule's first operation to its last, for rules of which
  torch has no such kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Elements of a piece: few enough that five arrays of it fit into a core's second-level cache, enough that the cost of a
# call does not matter.
PIECE = 1 << 17


def is_fusible(x: list[Tensor]) -> bool:
    """Whether torch's fused kernels may walk through the memory of these tensors."""
    return x[0].device.type in {"cpu", "cuda"} and all(map(_is_dense, x))


def laid_out_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return `value` in the memory layout of its parameter: itself where it has that already.

    A state or gradient laid out row by row would be added to the wrong weights of a channels-last tensor.
    """
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same stretch of memory of each tensor, `PIECE` elements at a time; whole where that cannot be.

    Args:
        tensors: of one shape and one memory layout.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.numel() <= PIECE or not _is_dense(first):
        yield tensors
        return
    # The elements in the order in which they lie in memory.
    flat = (torch.as_strided(tensor.detach(), (tensor.numel(),), (1,)) for tensor in tensors)
    yield from zip(*(tensor.split(PIECE) for tensor in flat), strict=True)


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
