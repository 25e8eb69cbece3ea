"""The bridge for update rules: `scratch.optim` inside a normal `torch.optim.Optimizer`.

The engine, its checkpoints and torch's schedulers see an optimiser like any other; the arithmetic of a step is the
readable form's, in torch's convention.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from twofold.errors import TwofoldError, check_known
from twofold.scratch import optim

# Arguments of a rule that this class passes at each step.
_GIVEN = frozenset({"step", "weight_decay"})


class ScratchOptimizer(torch.optim.Optimizer):
    """One rule of `scratch.optim.RULES` over torch's parameter groups.

    Args:
        params: parameters, or groups of them as torch takes them.
        rule: the name of the rule.
        weight_decay: λ; decoupled for "adamw", λx is added to the gradient for the others.
        settings: the rule's arguments, such as `lr`; a group may have others.

    Raises:
        TwofoldError: there is no such rule, or it has no such setting.
    """

    def __init__(self, params: Iterable[Any], rule: str, *, weight_decay: float = 0.0, **settings: float | str) -> None:
        update, _ = optim.RULES[check_known("rule", rule, optim.RULES)]
        takes = inspect.signature(update).parameters.values()
        own = {argument.name: argument.default for argument in takes if argument.kind is argument.KEYWORD_ONLY}
        for name in settings:
            check_known(f"setting of {rule}", name, own.keys() - _GIVEN)
        defaults = {name: settings.get(name, default) for name, default in own.items() if name not in _GIVEN}
        if missing := [name for name, value in defaults.items() if value is inspect.Parameter.empty]:
            raise TwofoldError(f"{rule} needs {', '.join(missing)}")
        super().__init__(params, {**defaults, "weight_decay": weight_decay})
        self.rule = rule
        self._settings = tuple(defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule, "_settings": self._settings}

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
                    state.update({name: torch.zeros_like(parameter) for name in kept})
                    if self.rule in optim.COUNTING:
                        state["step"] = torch.zeros(())
                grad, extra = parameter.grad, {}
                if self.rule == "adamw":
                    extra["weight_decay"] = group["weight_decay"]
                elif group["weight_decay"]:
                    grad = optim.decayed(grad, parameter, group["weight_decay"])
                if self.rule in optim.COUNTING:
                    state["step"] += 1
                    extra["step"] = int(state["step"])
                update(parameter, grad, *(state[name] for name in kept), **settings, **extra)
        return loss
