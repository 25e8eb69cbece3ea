"""Dropout: in training, set a random part of the values to zero, so that none can be relied upon alone.

Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012; Srivastava et al.,
2014. Each value is dropped with probability p, and the others are divided by 1 − p: the mean stays what it was. (The
papers scale in eval mode instead: all values are kept there, and multiplied by 1 − p.)

    y = m x,    m = 0 with probability p, else 1 / (1 − p),    E[m] = 1

In eval mode nothing is dropped and nothing needs to be rescaled. Drawing the mask and applying it are two functions:
backward must use the mask of forward.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def dropout_mask(
    x: Float[Tensor, "*shape"], p: float = 0.5, *, generator: Generator | None = None
) -> Float[Tensor, "*shape"]:
    """Return a mask for `x`: 0 with probability p, 1 / (1 − p) otherwise.

    >>> mask = dropout_mask(torch.ones(1000), 0.75)
    >>> sorted(set(mask.tolist()))
    [0.0, 4.0]
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must lie in 0..1, got {p}")
    if p in (0.0, 1.0):  # nothing to draw
        return torch.full_like(x, 1 - p)
    # In row-major order, however x lies in memory, so that the mask does not depend on the memory layout.
    mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    return mask.bernoulli_(1 - p, generator=generator) / (1 - p)


def dropout(x: Float[Tensor, "*shape"], mask: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return m x.

    >>> dropout(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 2.0]))
    tensor([2., 0., 6.])
    """
    return x * mask


def dropout_backward(grad: Float[Tensor, "*shape"], mask: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return m g: y = m x is linear, and m its slope.

    >>> dropout_backward(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 2.0]))
    tensor([2., 0., 2.])
    """
    return grad * mask
