"""What makes an update rule fast on the CPU: to read and write each element of memory once.

A step is bound by memory: of ResNet-18 it moves 47 MB of weights, as much of gradients, and the state. Two ways:

- torch's *fused* kernels, through its functional optimisers (`torch.optim.adam.adam` and the like), for SGD, momentum,
  AdaGrad, Adam, and RMSProp as a limit of Adam. They walk through memory, not through indices, and check neither: all
  tensors of a parameter must be dense and laid out alike (`laid_out_like`).
- where torch has no such kernel, operations on *pieces* that stay in the CPU's cache from the first to the last.

On a GPU the same calls run torch's kernels there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad as torch_adagrad
from torch.optim.adam import adam as torch_adam
from torch.optim.sgd import sgd as torch_sgd

# Elements of a piece: few enough that five arrays of it fit into a core's second-level cache, enough that the cost of a
# call does not matter.
PIECE = 1 << 17
# A step count so large that 1 − βᵗ is 1: Adam without its correction.
_LONG_AFTER_THE_START = 1e9


def sgd(
    x: list[Tensor],
    grad: list[Tensor],
    velocity: list[Tensor] | None = None,
    *,
    lr: float | Tensor,
    weight_decay: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Update `x` in place: v ← γv + (1 − τ)(g + λx), x ← x − ηv, τ the dampening; no velocity for plain SGD."""
    if velocity is not None and momentum == 0.0:
        # torch's kernel then ignores velocity and dampening. Kept up here, so that momentum can be raised later.
        for one, g, v in zip(x, decayed(grad, x, weight_decay), velocity, strict=True):
            torch.mul(g, 1.0 - dampening, out=v)
            one.sub_(v, alpha=lr)  # type: ignore[arg-type]
        return
    settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov, "maximize": False}
    buffers: list[Tensor | None] = [None] * len(x) if velocity is None else [*velocity]
    torch_sgd(x, grad, buffers, fused=is_fusible(x), foreach=False, weight_decay=weight_decay, **settings)


def adagrad(
    x: list[Tensor],
    grad: list[Tensor],
    square_sum: list[Tensor],
    *,
    lr: float | Tensor,
    eps: float,
    weight_decay: float,
) -> None:
    """Update `x` in place: s ← s + g², x ← x − ηg/(√s + ε)."""
    on_cpu = x[0].device.type == "cpu"
    how = {"fused": is_fusible(x), "foreach": False} if on_cpu else {}
    steps = [torch.zeros(())] * len(x)  # for a decay of the learning rate, which is not used
    settings = {"lr": lr, "weight_decay": weight_decay, "eps": eps, "lr_decay": 0.0, "maximize": False}
    torch_adagrad(x, grad, square_sum, steps, **how, **settings)


def adam(
    x: list[Tensor],
    grad: list[Tensor],
    grad_avg: list[Tensor],
    square_avg: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool = False,
) -> None:
    """Take a step of Adam, of AdamW where the weight decay is `decoupled`, and count it in `steps`."""
    how = {"fused": is_fusible(x), "foreach": False, "decoupled_weight_decay": decoupled}
    settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    torch_adam(x, grad, grad_avg, square_avg, [], steps, **how, **settings, amsgrad=False, maximize=False)


def rmsprop(
    x: list[Tensor],
    grad: list[Tensor],
    square_avg: list[Tensor],
    *,
    lr: float | Tensor,
    gamma: float,
    eps: float,
    weight_decay: float,
) -> None:
    """Take a step of RMSProp in torch's convention: Adam with β₁ = 0, so late that the correction of its start is 1."""
    # With β₁ = 0 Adam's average of gradients is the gradient: the kernel reads it and writes it back as it was. Where
    # weights decay it would write g + λx, so there it gets tensors of its own.
    averages = [torch.zeros_like(g) for g in grad] if weight_decay else grad
    late = [torch.tensor(_LONG_AFTER_THE_START)] * len(x)
    adam(x, grad, averages, square_avg, late, lr=lr, beta1=0.0, beta2=gamma, eps=eps, weight_decay=weight_decay)


def decayed(grad: list[Tensor], x: list[Tensor], weight_decay: float) -> list[Tensor]:
    """Return g + λx of each parameter; the gradients themselves where nothing decays."""
    return [g.add(one, alpha=weight_decay) for g, one in zip(grad, x, strict=True)] if weight_decay else grad


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


def update_in_pieces(update: Callable[..., None], *columns: list[Tensor], **settings: Any) -> None:
    """Call `update` with the pieces of each row of tensors, one after the other."""
    for row in zip(*columns, strict=True):
        for piece in pieces(*row):
            update(*piece, **settings)


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
    flat = (torch.as_strided(one.detach(), (one.numel(),), (1,)) for one in tensors)
    yield from zip(*(one.split(PIECE) for one in flat), strict=True)


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
