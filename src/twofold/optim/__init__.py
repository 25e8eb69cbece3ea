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

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.optim.groups import parameter_groups as parameter_groups
    from twofold.optim.rules import (
        OPTIMIZERS as OPTIMIZERS,
        SGD as SGD,
        AdaDelta as AdaDelta,
        AdaGrad as AdaGrad,
        Adam as Adam,
        AdamW as AdamW,
        Momentum as Momentum,
        Nesterov as Nesterov,
        RMSProp as RMSProp,
        Rule as Rule,
        create_optimizer as create_optimizer,
    )
    from twofold.optim.schedule import SCHEDULES as SCHEDULES, Schedule as Schedule
    from twofold.optim.scheduler import ScheduleLR as ScheduleLR
    from twofold.optim.scratch_form import ScratchOptimizer as ScratchOptimizer

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "groups": "parameter_groups",
        "rules": "OPTIMIZERS SGD AdaDelta AdaGrad Adam AdamW Momentum Nesterov RMSProp Rule create_optimizer",
        "schedule": "SCHEDULES Schedule",
        "scheduler": "ScheduleLR",
        "scratch_form": "ScratchOptimizer",
    },
)
