"""What a running average remembers: the weight that each past gradient has in it.

Momentum keeps v ← γv + g, so a gradient that came k steps ago counts γᵏ. The weights add up to 1/(1 − γ), which is why
momentum 0.9 takes steps ten times as long where the gradients agree. Most of the sum is recent: the last n = 1/(1 − γ)
gradients hold the share 1 − γⁿ, which goes to 1 − 1/e = 63 % as γ nears 1. So momentum 0.9 averages about the last ten
gradients, 0.99 the last hundred. The averages in Adam and RMSProp have the same weights times 1 − γ, which add up to 1.

Here that is measured: the optimiser sees one gradient of 1 and then gradients of 0, and what its state still holds of
the 1 after k steps is the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from twofold.errors import TwofoldError, check_known
from twofold.optim.rules import OPTIMIZERS, create_optimizer


@dataclass(frozen=True)
class Memory:
    """What an average with decay γ was measured to hold.

    Attributes:
        weights: the weight of the gradient k steps ago, for k = 0, 1, 2 …
        total: their sum.
        horizon: 1/(1 − γ), rounded: the number of gradients that it is said to average.
        recent_share: the share of the sum that the last `horizon` gradients hold.
        mean_age: how many steps ago a gradient came on average, by weight; the newest is 0.
    """

    weights: tuple[float, ...]
    total: float
    horizon: int
    recent_share: float
    mean_age: float


def impulse_weights(optimizer: str, state: str, *, steps: int, **settings: Any) -> Float64[Tensor, " steps"]:
    """Return what the tensor `state` of an optimiser holds of a single gradient of 1, after 1, 2, … `steps` steps.

    The state is one that the rule keeps, such as velocity or grad_avg; the settings are the rule's, such as
    momentum=0.9, and its learning rate is 1.
    """
    check_known("optimizer", optimizer, OPTIMIZERS)
    check_known(f"state of {optimizer}", state, OPTIMIZERS[optimizer].state_names)
    if steps < 1:
        raise TwofoldError(f"steps must be 1 or more, got {steps}")
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    rule = create_optimizer(optimizer, [parameter], lr=1.0, **settings)
    weights = torch.empty(steps, dtype=torch.float64)
    for step in range(steps):
        parameter.grad = torch.full_like(parameter, 1.0 if step == 0 else 0.0)
        rule.step()
        weights[step] = rule.state[parameter][state].item()
    return weights


def measure_memory(optimizer: str, state: str, decay_name: str, decay: float) -> Memory:
    """Return what the running average `state` of an optimiser remembers.

    The state is a running average: velocity, grad_avg, square_avg or delta_avg; its decay γ, at least 0 and below 1, is
    the setting `decay_name`: momentum, gamma, rho, beta1 or beta2.

    >>> memory = measure_memory("momentum", "velocity", "momentum", 0.9)
    >>> memory.horizon, round(memory.total, 6), round(memory.recent_share, 4)
    (10, 10.0, 0.6513)
    """
    if not 0 <= decay < 1:
        raise TwofoldError(f"{decay_name} must be at least 0 and below 1, got {decay}")
    horizon = round(1 / (1 - decay))
    # γᵏ after 40 horizons is below e⁻⁴⁰ = 4e-18 of the first weight: nothing in float64.
    weights = impulse_weights(optimizer, state, steps=40 * horizon, **{decay_name: decay})
    total = float(weights.sum())
    return Memory(
        weights=tuple(weights.tolist()),
        total=total,
        horizon=horizon,
        recent_share=float(weights[:horizon].sum()) / total,
        mean_age=float(torch.arange(len(weights), dtype=weights.dtype) @ weights) / total if total else 0.0,
    )
