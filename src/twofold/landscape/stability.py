"""How large a step may be: the learning rate past which an update rule diverges on a quadratic bowl.

Along an eigenvector with eigenvalue λ, gradient descent multiplies the distance from the minimum by 1 − ηλ at each
step. Past η = 2/λ that is below −1: each step lands further away, on the other side. The steepest direction goes first,
so the bound is 2/λ_max. Momentum γ raises it to 2(1 + γ)/λ_max, since the velocity left from the step before points
back across the valley; looking ahead (Nesterov) takes much of that back, 2(1 + γ)/((1 + 2γ)λ_max).

The formulas are in `stable_lr`; `measure_stable_lr` finds the same bound without them, by trying. Networks are no
quadratics, yet trained with all images at once they sharpen until λ_max reaches this bound, and stay there: the edge of
stability (Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", 2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.optim.rules import create_optimizer

_FAR = 1e12
_DOUBLINGS = 60


def stable_lr(largest_eigenvalue: float, *, momentum: float = 0.0, nesterov: bool = False) -> float:
    """Return the learning rate past which gradient descent diverges on a quadratic (Polyak, 1964, for momentum).

    `largest_eigenvalue` is the Hessian's, λ_max, above 0; momentum γ is 0 for none.

    >>> stable_lr(4.0), stable_lr(4.0, momentum=0.5)
    (0.5, 0.75)
    """
    if largest_eigenvalue <= 0:
        raise TwofoldError(
            f"largest_eigenvalue must be above 0, got {largest_eigenvalue}: the function curves up nowhere"
        )
    if not 0 <= momentum < 1:
        raise TwofoldError(f"momentum must be at least 0 and below 1, got {momentum}")
    ahead = 1 + 2 * momentum if nesterov else 1
    return 2 * (1 + momentum) / (ahead * largest_eigenvalue)


def measure_stable_lr(
    hessian: Float[Tensor, "dim dim"],
    *,
    optimizer: str = "sgd",
    steps: int = 1000,
    precision: float = 1e-3,
    **settings: Any,
) -> float:
    """Return the learning rate past which an update rule diverges on ½ xᵀHx, found by bisection with the rule itself.

    A learning rate counts as stable if after `steps` steps the point is nearer to the minimum than after half of them.

    H is symmetric, all its eigenvalues above 0. The rule is sgd, momentum or nesterov, whose steps grow with the slope;
    rules that divide by the slope circle the minimum instead. `precision` is the width of the last interval, as a share
    of the result.

    Raises:
        TwofoldError: the matrix has an eigenvalue that is not above 0, or no learning rate makes the rule diverge.
    """
    if not 0 < precision < 1:
        raise TwofoldError(f"precision must be between 0 and 1, got {precision}")
    hessian = hessian.double()
    values, vectors = torch.linalg.eigh(hessian)
    if values[0] <= 0:
        raise TwofoldError(f"hessian must have eigenvalues above 0, got one of {values[0]:g}: there is no minimum")
    # A component of 1 along each eigenvector, so that none is left out.
    start = vectors.sum(dim=1)

    def is_stable(lr: float) -> bool:
        x = start.clone().requires_grad_()
        rule = create_optimizer(optimizer, [x], lr=lr, **settings)
        at_half = math.inf
        for step in range(steps):
            distance = float(x.detach().norm())
            if step == steps // 2:
                at_half = distance
            if not distance < _FAR:
                return False
            x.grad = hessian @ x.detach()
            rule.step()
        return float(x.detach().norm()) < at_half

    lr = 1.0
    for _ in range(_DOUBLINGS):
        if not is_stable(lr):
            break
        lr *= 2
    else:
        raise TwofoldError(f"{optimizer} does not diverge on this function, whatever the learning rate")
    low, high = 0.0, lr
    while high - low > precision * high:
        middle = (low + high) / 2
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return (low + high) / 2
