"""`compile=True`: the readable form of a rule, made one loop over memory and one call for all tensors by torch.compile.

Worth it for AdaDelta, and RMSProp in D2L's convention, on larger networks: torch has no fused kernel for them. Of a
training step of ResNet-18 (8 images of 96 px, float32, one thread of an Intel Xeon, model 167, torch 2.15: 250 ms)
AdaDelta's update takes 50 ms in pieces and 16 compiled; a step of LeNet gains 1 %. Adam's kernel is faster than what
the compiler makes of it, so Adam is not offered. It needs a C++ compiler and some seconds at the first step.

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

# Of one parameter group: parameters, gradients and each kind of state in the order of the rule's arguments; and the
# rule's settings. "weight_decay" among them is added to the gradient.
Group = tuple[Sequence[Sequence[Tensor]], Mapping[str, Any]]

# The compiled update of each rule, its settings' names and list of tensors, for all optimisers of the process.
UPDATES: dict[object, Callable[..., None]] = {}


def key_of(rule: Callable[..., None], groups: Sequence[Group]) -> object:
    """Return what distinguishes a compiled update: rule, settings but for numbers, threads, layouts of parameters."""
    layouts = []
    for (x, *_), settings in groups:
        names = tuple(value if isinstance(value, str) else name for name, value in settings.items())
        layouts.append((names, *((w.shape, w.stride(), w.dtype, w.device) for w in x)))
    return rule, torch.get_num_threads(), *layouts


def update(key: object, rule: Callable[..., None], groups: Sequence[Group]) -> None:
    """Carry out `rule`, one of `scratch.optim`, on each parameter of all groups; the first call with a key compiles."""
    if key not in UPDATES:
        # torch keeps what it compiled with the code of a function, and eight variants at most: so each key has its own.
        own = types.FunctionType(_update_groups.__code__.replace(), _update_groups.__globals__)
        # Before each call torch would check anew all that it saw when it compiled: 2 % of a step of LeNet. The key
        # covers what the remaining checks, those of state and gradients, leave out.
        options: Any = {"guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
        UPDATES[key] = torch.compile(own, dynamic=False, options=options)
    scalars = [
        {name: value if isinstance(value, str) else _scalar(float(value)) for name, value in settings.items()}
        for _, settings in groups
    ]
    UPDATES[key](rule, [columns for columns, _ in groups], scalars)


def _update_groups(rule: Any, groups: Any, scalars: Any) -> None:
    for columns, given in zip(groups, scalars, strict=True):
        settings = {name: value for name, value in given.items() if name != "weight_decay"}
        for x, grad, *state in zip(*columns, strict=True):
            rule(x, decayed(grad, x, given["weight_decay"]) if "weight_decay" in given else grad, *state, **settings)


@lru_cache(maxsize=64)
def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
