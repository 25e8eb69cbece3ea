"""The bridge for update rules: `scratch.optim` inside a normal `torch.optim.Optimizer`.

The engine, its checkpoints and torch's schedulers see an optimiser like any other; the arithmetic of a step is the
readable form's, in torch's convention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from twofold.errors import check_known
from twofold.scratch import optim


class ScratchOptimizer(torch.optim.Optimizer):
    """One rule of `scratch.optim.RULES` over torch's parameter groups.

    Args:
        params: parameters, or groups of them as torch takes them.
        rule: the name of the rule.
        weight_decay: for "adamw" its own, for the others added to the gradient.
        settings: the rule's own arguments, such as `lr`; a group may differ.

    Raises:
        TwofoldError: there is no such rule.
    """

    def __init__(self, params: Iterable[Any], rule: str, *, weight_decay: float = 0.0, **settings: float | str) -> None:
        check_known("rule", rule, optim.RULES)
        super().__init__(params, {"weight_decay": weight_decay, **settings})
        self.rule = rule
        self._settings = tuple(settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        update, kept = optim.RULES[self.rule]
        for group in self.param_groups:
            settings = {name: group[name] for name in self._settings}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    state.update({name: torch.zeros_like(parameter) for name in kept})
                state["step"] += 1
                grad, extra = parameter.grad, {}
                if self.rule == "adamw":
                    extra["weight_decay"] = group["weight_decay"]
                elif group["weight_decay"]:
                    grad = optim.decayed(grad, parameter, group["weight_decay"])
                if self.rule in optim.COUNTING:
                    extra["step"] = int(state["step"])
                update(parameter, grad, *(state[name] for name in kept), **settings, **extra)
        return loss
