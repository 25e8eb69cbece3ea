"""Parameter groups: which parameters decay, and which learn faster or slower.

Weight decay shrinks weights towards zero, which keeps the function simple. Shrinking biases, or the scale and shift of
a normalisation layer, does not, and costs accuracy: so by default they are left alone (Goyal et al., "Accurate, large
minibatch SGD", 2017; He et al., "Bag of tricks", 2019). A learning rate scaled by part of the network is for
fine-tuning, where a fresh head learns ten times faster than the body.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TypedDict

from torch import nn

from twofold.errors import SettingError


class Group(TypedDict):
    """One group as torch's optimisers take it; `lr_scale` multiplies the schedule's learning rate."""

    params: list[nn.Parameter]
    names: list[str]
    weight_decay: float
    lr_scale: float


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    decay_norm_and_bias: bool = False,
    lr_scale: Mapping[str, float] | None = None,
    decay_scale: Mapping[str, float] | None = None,
    lr_factors: Mapping[str, float] | None = None,
) -> list[Group]:
    """Sort the trainable parameters of `model` into groups of equal settings, in the order of `model.parameters()`.

    Args:
        model: the network.
        weight_decay: for weights of convolutions and dense layers.
        decay_norm_and_bias: decay every other parameter as well.
        lr_scale: shell-style pattern of parameter names (`"fc.*"`) to a factor on the learning rate; where several
            match, the last one counts.
        decay_scale: the same for a factor on the weight decay.
        lr_factors: another factor on the learning rate by the parameter's full name; 1 for names that are missing.

    Raises:
        TwofoldError: a pattern that no parameter's name matches.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for setting, patterns in (("lr_scale", lr_scale or {}), ("decay_scale", decay_scale or {})):
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(name, pattern) for name, _ in named):
                example = named[-1][0] if named else "none"
                raise SettingError(f"{{}} matches no parameter; the last one is named {example!r}", {setting: patterns})

    groups: dict[tuple[float, float], Group] = {}
    for name, parameter in named:
        decays = decay_norm_and_bias or parameter.ndim > 1
        decay = weight_decay * _last_match(name, decay_scale or {}) if decays else 0.0
        scale = _last_match(name, lr_scale or {}) * (lr_factors or {}).get(name, 1.0)
        group = groups.setdefault((scale, decay), Group(params=[], names=[], weight_decay=decay, lr_scale=scale))
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _last_match(name: str, patterns: Mapping[str, float]) -> float:
    factors = [factor for pattern, factor in patterns.items() if fnmatch.fnmatchcase(name, pattern)]
    return factors[-1] if factors else 1.0
