"""Update rules: how the weights follow the gradient.

Here x is a weight and g = ∂L/∂x its gradient (in the other files x goes into a layer). Where g is positive, raising x
raises the loss, so every rule goes the other way. They differ in how far. In order of appearance:

- **Gradient descent** x ← x − ηg, η the learning rate (Cauchy, 1847). With the gradient of all examples it is gradient
  descent, of one *stochastic* gradient descent (SGD; Robbins and Monro, 1951), of a few *minibatch* SGD.
- **Momentum** (Polyak, 1964): a ball that rolls. Part γ of the last step's velocity is kept; steps that agree add up to
  1/(1 − γ) of them, steps that zigzag cancel.
- **Nesterov** (1983; Sutskever et al., 2013): take the gradient a step ahead, where momentum will carry the weight.
- **AdaGrad** (Duchi, Hazan and Singer, 2011): divide each weight's step by how large its gradients have been in all, so
  that rare ones get larger steps.
- **RMSProp** (Tieleman and Hinton, 2012): by how large they have been lately; else the steps only ever shrink.
- **AdaDelta** (Zeiler, 2012): let the size of past steps stand in for η.
- **Adam** (Kingma and Ba, 2015): momentum over RMSProp, both corrected for having started at zero.
- **AdamW** (Loshchilov and Hutter, 2019): weight decay beside the adaptive step instead of inside it.

**Two conventions.** D2L and torch do not always write the same rule. Both are here, under `convention`:

| rule | "d2l" | "torch" |
| --- | --- | --- |
| momentum | v ← γv + ηg; x ← x − v | v ← γv + g; x ← x − ηv |
| AdaGrad, RMSProp | η g / √(s + ε) | η g / (√s + ε) |
| AdaDelta | x ← x − g′ | x ← x − η g′, with η = 1 unless said otherwise |

For momentum the paths are equal while η stays, since then v_d2l = η v_torch; they part when η changes: torch rescales
the velocity with it, in D2L's the velocity stays. The position of ε matters where s is not much larger than it.

Each rule changes the weights and its own state in place, and returns nothing. The state starts at zero. The averages
s ← γs + (1 − γ)a stand in the code as s += (1 − γ)(a − s), which is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Convention = Literal["d2l", "torch"]
# Weights, their gradient and the state beside them have one shape.
Values = Float[Tensor, "*shape"]


def sgd(x: Values, grad: Values, *, lr: float) -> None:
    """x ← x − ηg.

    >>> x = torch.tensor([-5.0, -2.0])
    >>> sgd(x, torch.tensor([0.2, 4.0]) * x, lr=0.4)  # one step down 0.1 x1² + 2 x2²
    >>> x
    tensor([-4.6000,  1.2000])
    """
    x -= lr * grad


def momentum(
    x: Values, grad: Values, velocity: Values, *, lr: float, momentum: float = 0.9, convention: Convention = "torch"
) -> None:
    """v ← γv + ηg; x ← x − v (D2L), or v ← γv + g; x ← x − ηv (torch), γ = `momentum`.

    >>> x, v = torch.tensor([1.0]), torch.tensor([0.5])
    >>> momentum(x, torch.tensor([2.0]), v, lr=0.1, momentum=0.5, convention="d2l")
    >>> v, x  # 0.5 · 0.5 + 0.1 · 2
    (tensor([0.4500]), tensor([0.5500]))
    """
    velocity *= momentum
    if _is_d2l(convention):
        velocity += lr * grad
        x -= velocity
    else:
        velocity += grad
        x -= lr * velocity


def nesterov(x: Values, grad: Values, velocity: Values, *, lr: float, momentum: float = 0.9) -> None:
    """v ← γv + g; x ← x − η(g + γv): the weights are kept a step ahead, where the next gradient is wanted.

    Plain momentum would hold w ← w − ηv. Keep x = w − ηγv instead, where momentum alone takes w next. With v′ the new
    v, x′ = w − ηv′ − ηγv′; put in w = x + ηγv and ηv′ = ηγv + ηg, and x − ηg − ηγv′ remains.

    >>> x, v = torch.tensor([1.0]), torch.tensor([0.0])
    >>> nesterov(x, torch.tensor([1.0]), v, lr=0.1, momentum=0.5)
    >>> x  # 1 − 0.1 (1 + 0.5 · 1)
    tensor([0.8500])
    """
    velocity *= momentum
    velocity += grad
    x -= lr * (grad + momentum * velocity)


def adagrad(
    x: Values, grad: Values, square_sum: Values, *, lr: float, eps: float = 1e-6, convention: Convention = "torch"
) -> None:
    """s ← s + g²; x ← x − η g / √(s + ε) (D2L), or η g / (√s + ε) (torch).

    >>> x, s = torch.tensor([1.0]), torch.tensor([7.0])
    >>> adagrad(x, torch.tensor([3.0]), s, lr=0.4, eps=0.0)
    >>> s, x  # 7 + 9, then 1 − 0.4 · 3 / 4
    (tensor([16.]), tensor([0.7000]))
    """
    square_sum += grad**2
    x -= lr * grad / _root(square_sum, eps, convention)


def rmsprop(
    x: Values,
    grad: Values,
    square_avg: Values,
    *,
    lr: float,
    gamma: float = 0.9,
    eps: float = 1e-6,
    convention: Convention = "torch",
) -> None:
    """s ← γs + (1 − γ)g²; x ← x − η g / √(s + ε) (D2L), or η g / (√s + ε) (torch).

    >>> x, s = torch.tensor([1.0]), torch.tensor([0.0])
    >>> rmsprop(x, torch.tensor([2.0]), s, lr=0.1, gamma=0.75, eps=0.0)
    >>> s, x  # 0.25 · 4, then 1 − 0.1 · 2 / 1
    (tensor([1.]), tensor([0.8000]))
    """
    square_avg += (1 - gamma) * (grad**2 - square_avg)
    x -= lr * grad / _root(square_avg, eps, convention)


def adadelta(
    x: Values,
    grad: Values,
    square_avg: Values,
    delta_avg: Values,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
) -> None:
    """s ← ρs + (1 − ρ)g²; g′ = √((Δ + ε)/(s + ε)) g; x ← x − g′; Δ ← ρΔ + (1 − ρ)g′².

    D2L has no learning rate here; torch multiplies g′ by η, which is 1 unless changed: one form serves both.

    >>> x, s, delta = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.0])
    >>> adadelta(x, torch.tensor([2.0]), s, delta, rho=0.75, eps=0.25)
    >>> x  # s = 1; g′ = √(0.25 / 1.25) · 2
    tensor([0.1056])
    """
    square_avg += (1 - rho) * (grad**2 - square_avg)
    step = ((delta_avg + eps) / (square_avg + eps)).sqrt() * grad
    x -= lr * step
    delta_avg += (1 - rho) * (step**2 - delta_avg)


def adam(
    x: Values,
    grad: Values,
    grad_avg: Values,
    square_avg: Values,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    step: int = 1,
) -> None:
    """v ← β₁v + (1 − β₁)g; s ← β₂s + (1 − β₂)g²; x ← x − η v̂ / (√ŝ + ε), v̂ = v/(1 − β₁ᵗ), ŝ = s/(1 − β₂ᵗ).

    Both averages start at zero, which is no gradient at all: after t = `step` steps (counted from 1) the
    weights of what was seen add up to 1 − βᵗ only. Dividing by that makes them true averages.

    >>> x, v, s = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.0])
    >>> adam(x, torch.tensor([0.01]), v, s, lr=0.1)  # the first step is η, whatever the size of the gradient
    >>> x
    tensor([0.9000])
    """
    grad_avg += (1 - beta1) * (grad - grad_avg)
    square_avg += (1 - beta2) * (grad**2 - square_avg)
    corrected_avg, corrected_square = grad_avg / (1 - beta1**step), square_avg / (1 - beta2**step)
    x -= lr * corrected_avg / (corrected_square.sqrt() + eps)


def adamw(
    x: Values,
    grad: Values,
    grad_avg: Values,
    square_avg: Values,
    *,
    lr: float = 0.001,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    step: int = 1,
) -> None:
    """x ← (1 − ηλ)x, then Adam: the decay λ shrinks every weight alike.

    Added to the gradient instead (`decayed`), it would be divided by √ŝ too, and the weights with the largest gradients
    would decay least.

    >>> x, v, s = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.0])
    >>> adamw(x, torch.tensor([0.01]), v, s, lr=0.1, weight_decay=0.5)
    >>> x  # (1 − 0.1 · 0.5) · 1 − 0.1
    tensor([0.8500])
    """
    x *= 1 - lr * weight_decay
    adam(x, grad, grad_avg, square_avg, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step)


def decayed(grad: Values, x: Values, weight_decay: float) -> Values:
    """Return g + λx: the gradient of the loss plus that of ½λ|x|², which pulls every weight to zero.

    >>> decayed(torch.tensor([1.0]), torch.tensor([10.0]), 0.01)
    tensor([1.1000])
    """
    return grad + weight_decay * x


# Each rule and the state that it keeps beside a tensor of weights, in the order of its arguments.
RULES: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "sgd": (sgd, ()),
    "momentum": (momentum, ("velocity",)),
    "nesterov": (nesterov, ("velocity",)),
    "adagrad": (adagrad, ("square_sum",)),
    "rmsprop": (rmsprop, ("square_avg",)),
    "adadelta": (adadelta, ("square_avg", "delta_avg")),
    "adam": (adam, ("grad_avg", "square_avg")),
    "adamw": (adamw, ("grad_avg", "square_avg")),
}
COUNTING = ("adam", "adamw")  # these also want to know which step it is


class Optimizer:
    """A rule with its state, over groups of weights that each have their own settings.

    A group is a dictionary: its "params" and any setting that differs from the `defaults`. It may be changed between
    steps, which is how the learning rate is set by hand while training.

    >>> weight, bias = torch.tensor([1.0]), torch.tensor([1.0])
    >>> optimizer = Optimizer("sgd", [{"params": [weight]}, {"params": [bias], "lr": 1.0}], lr=0.1)
    >>> optimizer.step([torch.tensor([1.0]), torch.tensor([1.0])])
    >>> weight, bias
    (tensor([0.9000]), tensor([0.]))
    >>> for group in optimizer.groups:
    ...     group["lr"] *= 0.1
    """

    def __init__(self, rule: str, groups: Sequence[dict[str, Any]] | Sequence[Tensor], **defaults: float | str) -> None:
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
        if groups and isinstance(groups[0], Tensor):
            groups = [{"params": list(groups)}]
        self.groups: list[dict[str, Any]] = [{**defaults, **group} for group in groups]  # type: ignore[dict-item]
        self._rule, kept = RULES[rule]
        self._counts_steps = rule in COUNTING
        self._state = [[torch.zeros_like(x) for _ in kept] for group in self.groups for x in group["params"]]
        self.num_steps = 0

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update every weight, given its gradient, in the order of the groups."""
        if len(gradients) != len(self._state):
            raise ValueError(f"as many gradients as weights are needed, got {len(gradients)} for {len(self._state)}")
        self.num_steps += 1
        counted = {"step": self.num_steps} if self._counts_steps else {}
        remaining = iter(zip(gradients, self._state, strict=True))
        for group in self.groups:
            settings = {name: value for name, value in group.items() if name != "params"}
            for x in group["params"]:
                grad, state = next(remaining)
                self._rule(x, grad, *state, **settings, **counted)


def _root(square: Tensor, eps: float, convention: Convention) -> Tensor:
    return (square + eps).sqrt() if _is_d2l(convention) else square.sqrt() + eps


def _is_d2l(convention: Convention) -> bool:
    if convention not in ("d2l", "torch"):
        raise ValueError(f"convention must be 'd2l' or 'torch', got {convention!r}")
    return convention == "d2l"
