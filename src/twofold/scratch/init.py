"""How weights start: random, and of the right size.

Two outputs of a layer that start with equal weights, and go on to be used with equal weights, get equal gradients and
stay twins for ever: the start must be random. Its *size* matters as well. In y = W x each output is a sum of n products
W_i x_i. Where all factors are independent with mean 0, a product has the variance Var(W) Var(x), and the sum n times
that: a layer multiplies the variance by n·Var(W). Too large a start and the signal explodes through the layers, too
small and it dies. The "fan" of a weight counts what is summed up:

    fan_in  = inputs that flow into one output = in_channels · kernel_height · kernel_width
    fan_out = outputs that one input flows into = out_channels · kernel_height · kernel_width

- **Xavier** (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010)
  keeps the variance forward and backward as well as one variance can: Var(W) = 2 / (fan_in + fan_out).
- **Kaiming** (He et al., "Delving deep into rectifiers", 2015) doubles the 1 / fan that keeps the variance, since the
  activation ReLU, max(x, 0), sets half of the signal to zero:
  Var(W) = 2 / fan.

A uniform distribution on [-a, a] has variance a²/3, so a = √(3 Var(W)).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor

from twofold.scratch import data


def constant(shape: tuple[int, ...], value: float) -> Tensor:
    """Return a tensor of `shape` filled with `value`: biases start at 0, scales at 1.

    >>> constant((2,), 1.0)
    tensor([1., 1.])
    """
    return torch.zeros(shape) + value


def normal(
    shape: tuple[int, ...], mean: float = 0.0, std: float = 0.01, *, generator: Generator | None = None
) -> Tensor:
    """Return weights drawn from N(mean, std²): D2L's start for linear regression.

    >>> weight = normal((100, 100), std=0.01, generator=torch.Generator().manual_seed(0))
    >>> weight.std().round(decimals=3)
    tensor(0.0100)
    """
    return data.normal(mean, std, shape, generator=generator)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (out, in) or (out, in, kernel_height, kernel_width).

    >>> fans((16, 6, 5, 5))
    (150, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"a fan needs a weight of two or more dimensions, got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def uniform(shape: tuple[int, ...], bound: float, *, generator: Generator | None = None) -> Tensor:
    """Return weights drawn evenly from [-bound, bound].

    >>> weight = uniform((100, 100), 0.5, generator=torch.Generator().manual_seed(0))
    >>> weight.min().round(decimals=2), weight.max().round(decimals=2)
    (tensor(-0.5000), tensor(0.5000))
    """
    return torch.rand(shape, generator=generator) * (2 * bound) - bound


def xavier_uniform(shape: tuple[int, ...], *, generator: Generator | None = None) -> Tensor:
    """Return weights drawn evenly from [-a, a], a = √(6 / (fan_in + fan_out)).

    >>> bool(xavier_uniform((300, 300), generator=torch.Generator().manual_seed(0)).abs().max() <= 0.1)
    True
    """
    return uniform(shape, math.sqrt(3 * _xavier_variance(shape)), generator=generator)


def xavier_normal(shape: tuple[int, ...], *, generator: Generator | None = None) -> Tensor:
    """Return weights drawn from N(0, 2 / (fan_in + fan_out)).

    >>> weight = xavier_normal((100, 100), generator=torch.Generator().manual_seed(0))
    >>> weight.std().round(decimals=2)  # √(2/200)
    tensor(0.1000)
    """
    return normal(shape, 0.0, math.sqrt(_xavier_variance(shape)), generator=generator)


def kaiming_uniform(
    shape: tuple[int, ...], *, mode: Literal["fan_in", "fan_out"] = "fan_in", generator: Generator | None = None
) -> Tensor:
    """Return weights drawn evenly from [-a, a], a = √(6 / fan).

    >>> weight = kaiming_uniform((100, 600), generator=torch.Generator().manual_seed(0))
    >>> weight.max().round(decimals=2)  # √(6/600)
    tensor(0.1000)
    """
    return uniform(shape, math.sqrt(3 * _kaiming_variance(shape, mode)), generator=generator)


def kaiming_normal(
    shape: tuple[int, ...], *, mode: Literal["fan_in", "fan_out"] = "fan_in", generator: Generator | None = None
) -> Tensor:
    """Return weights drawn from N(0, 2 / fan).

    `mode` says which signal keeps its size: "fan_in" the one forward, "fan_out" the gradient backward.

    >>> weight = kaiming_normal((200, 100), generator=torch.Generator().manual_seed(0))
    >>> weight.std().round(decimals=2)  # √(2/100)
    tensor(0.1400)
    """
    return normal(shape, 0.0, math.sqrt(_kaiming_variance(shape, mode)), generator=generator)


def _xavier_variance(shape: tuple[int, ...]) -> float:
    fan_in, fan_out = fans(shape)
    return 2 / (fan_in + fan_out)


def _kaiming_variance(shape: tuple[int, ...], mode: str) -> float:
    fan_in, fan_out = fans(shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return 2 / (fan_in if mode == "fan_in" else fan_out)
