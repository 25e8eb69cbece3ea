"""How weights follow the gradient of the loss: update rules, learning-rate schedules, parameter groups.

    from twofold.optim import AdamW, Schedule, ScheduleLR, parameter_groups

| file | what |
| --- | --- |
| `rules.py` | SGD to AdamW as `torch.optim.Optimizer`s, in torch's and D2L's convention; `create_optimizer` by name |
| `layout.py` | memory layout: what fused kernels need, and pieces that fit the CPU's cache |
| `compiled.py` | `compile=True`: the readable form of a rule, through torch.compile |
| `scratch_form.py` | the readable form of a rule as it is, inside a `torch.optim.Optimizer` |
| `schedule.py` | learning rate as a pure function of progress; needs no torch |
| `scheduler.py` | a schedule as a torch scheduler, for other training loops |
| `groups.py` | which parameters decay, and which learn faster or slower |

The readable form is `twofold.scratch.optim`. What needs torch is imported when it is first used, so that recipes and
the command line can name schedules without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from twofold.optim.schedule import SCHEDULES, Schedule

if TYPE_CHECKING:
    from twofold.optim.groups import parameter_groups
    from twofold.optim.rules import (
        OPTIMIZERS,
        SGD,
        AdaDelta,
        AdaGrad,
        Adam,
        AdamW,
        Momentum,
        Nesterov,
        RMSProp,
        Rule,
        create_optimizer,
    )
    from twofold.optim.scheduler import ScheduleLR
    from twofold.optim.scratch_form import ScratchOptimizer

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "RMSProp",
    "Rule",
    "Schedule",
    "ScheduleLR",
    "ScratchOptimizer",
    "create_optimizer",
    "parameter_groups",
]

_HOME = {"parameter_groups": "groups", "ScheduleLR": "scheduler", "ScratchOptimizer": "scratch_form"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'twofold.optim' has no attribute {name!r}")
    return getattr(importlib.import_module(f"twofold.optim.{_HOME.get(name, 'rules')}"), name)


def __dir__() -> list[str]:
    return __all__
