"""Schedules: how the learning rate η moves while training.

The gradient of a minibatch is noisy, and its noise does not shrink near the minimum as the gradient does. With a fixed
η the weights end up dancing around it; a falling η lets them settle (Robbins and Monro, 1951). At the very start, when
weights are random and running averages empty, a large step does harm: begin small and *warm up* (Goyal et al.,
"Accurate, large minibatch SGD", 2017).

Every schedule is a plain function of time. t counts steps or epochs, from 1 for `power`; progress runs from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def power(lr: float, alpha: float, t: int) -> float:
    """Return η·t^α, α usually −1 or −½, t = 1, 2, …

    >>> [round(power(1.0, -0.5, t), 3) for t in (1, 4, 100)]
    [1.0, 0.5, 0.1]
    """
    if t < 1:
        raise ValueError(f"t must be 1 or more, got {t}")
    return lr * t**alpha


def exponential(lr: float, alpha: float, t: int) -> float:
    """Return η·α^t, α a little below 1, e.g. 0.95.

    >>> exponential(1.0, 0.5, 3)
    0.125
    """
    if t < 0:
        raise ValueError(f"t must be 0 or more, got {t}")
    return lr * alpha**t


def step(lr: float, factor: float, period: float, t: float) -> float:
    """Return η·factor^⌊t/period⌋: a cut every few epochs.

    >>> [step(0.1, 0.5, 2, epoch) for epoch in (0, 1, 2, 3, 4)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    if period <= 0:
        raise ValueError(f"period must be above 0, got {period}")
    return lr * factor ** math.floor(t / period)


def one_cycle(lr: float, progress: float, *, warmup: float = 0.25, final_lr: float = 0.0) -> float:
    """Return η·progress/warmup on the way up, then a straight line down to final_lr·η.

    After Smith and Topin, "Super-convergence", 2018, without their third phase.

    >>> [round(one_cycle(0.4, p, warmup=0.2), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.2, 0.4, 0.2, 0.0]
    """
    return _warm(lr, progress, warmup, final_lr, lambda remaining: remaining)


def warmup_cosine(lr: float, progress: float, *, warmup: float = 0.05, final_lr: float = 0.0) -> float:
    """Return η·progress/warmup on the way up, then half a cosine down to final_lr·η: slow, fast, slow.

    Loshchilov and Hutter, "SGDR", 2017.

    >>> [round(warmup_cosine(0.4, p, warmup=0.0), 3) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.4, 0.341, 0.2, 0.059, 0.0]
    """
    return _warm(lr, progress, warmup, final_lr, lambda remaining: (1 - math.cos(math.pi * remaining)) / 2)


def _warm(lr: float, progress: float, warmup: float, final_lr: float, shape: Callable[[float], float]) -> float:
    if not (0 <= progress <= 1 and 0 <= warmup <= 1):
        raise ValueError(f"progress and warmup must lie in 0..1, got {progress} and {warmup}")
    if progress < warmup:
        return lr * progress / warmup
    remaining = (1 - progress) / (1 - warmup) if warmup < 1 else 1.0
    return lr * (final_lr + (1 - final_lr) * shape(remaining))
