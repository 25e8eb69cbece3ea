"""`compile=True`: the readable form of a rule, made one loop over memory and one call for all tensors by torch.compile.

Worth it for AdaDelta and for RMSProp in D2L's convention, of which torch has no fused kernel; Adam's kernel is faster
than what the compiler makes of it, so Adam is not offered. It needs a C++ compiler and some seconds at the first step.

Settings are tensors, since a Python number would be built into the code and a schedule changes it at every step.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from twofold.scratch.optim import decayed

# Lists of tensors that one optimiser compiles: each takes seconds, and gradients may come and go.
MOST_LISTS = 8

# The compiled update of each rule, its settings' names and list of tensors, for all optimisers of the process.
UPDATES: dict[object, Callable[..., None]] = {}


def key_of(rule: Callable[..., None], x: Sequence[Tensor], settings: Mapping[str, Any]) -> object:
    """Return what distinguishes a compiled update: the rule, its settings (not their values), the layout of `x`."""
    names = tuple(value if isinstance(value, str) else name for name, value in settings.items())
    return rule, names, tuple((one.shape, one.stride(), one.dtype, one.device) for one in x)


def update(
    key: object, rule: Callable[..., None], columns: Sequence[Sequence[Tensor]], settings: Mapping[str, Any]
) -> None:
    """Carry out `rule` on each row of `columns`, compiled; the first call with a key compiles.

    Args:
        key: of `key_of`.
        rule: an update rule of `scratch.optim`.
        columns: parameters, gradients, and each kind of state in the order of the rule's arguments.
        settings: numbers and words of the rule; "weight_decay" is added to the gradient.
    """
    if key not in UPDATES:
        # torch keeps what it compiled with the code of a function, and eight variants at most: so each key has its own.
        own = types.FunctionType(_update_lists.__code__.replace(), _update_lists.__globals__)
        UPDATES[key] = torch.compile(own, dynamic=False)
    given = {name: value if isinstance(value, str) else _scalar(float(value)) for name, value in settings.items()}
    UPDATES[key](rule, columns, given.pop("weight_decay", None), given)


def _update_lists(rule: Any, columns: Any, weight_decay: Any, settings: Any) -> None:
    for x, grad, *state in zip(*columns, strict=True):
        rule(x, grad if weight_decay is None else decayed(grad, x, weight_decay), *state, **settings)


@lru_cache(maxsize=64)
def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
