"""What is learnt about optimisation by looking at the function that is descended: its shape, its gradient, its steps.

    from twofold.landscape import trace

    trace("rosenbrock", "adam", steps=200, lr=0.1).verdict

| file | what |
| --- | --- |
| `surfaces.py` | functions of one or two variables whose minima are known; your own by a formula or a function |
| `expression.py` | a formula as text, parsed and never executed |
| `tracing.py` | the path of an update rule over a surface, step by step |
| `hessian.py` | curvature: eigenvalues of the Hessian of a surface or a network |
| `stability.py` | the learning rate above which gradient descent diverges, from the curvature or by trying |
| `gradient_noise.py` | bias and variance of the stochastic gradient of a network |
| `averaging.py` | how far back momentum and other running averages remember |

The convention of the update rules is D2L's here, unless another is given. `surfaces` and `expression` need no torch;
what does is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.landscape.averaging import Memory, impulse_weights, measure_memory
    from twofold.landscape.expression import Expression, parse_expression
    from twofold.landscape.gradient_noise import GradientSource, epoch_bias, gradient_variance
    from twofold.landscape.hessian import Extremes, classify_point, extreme_eigenvalues, hessian_eigenvalues
    from twofold.landscape.stability import measure_stable_lr, stable_lr
    from twofold.landscape.surfaces import SURFACES, Surface, find_surface, surface_from
    from twofold.landscape.tracing import Trace, suggest_settings, trace

__all__ = [
    "SURFACES",
    "Expression",
    "Extremes",
    "GradientSource",
    "Memory",
    "Surface",
    "Trace",
    "classify_point",
    "epoch_bias",
    "extreme_eigenvalues",
    "find_surface",
    "gradient_variance",
    "hessian_eigenvalues",
    "impulse_weights",
    "measure_memory",
    "measure_stable_lr",
    "parse_expression",
    "stable_lr",
    "suggest_settings",
    "surface_from",
    "trace",
]

_EXPORTS = {
    "averaging": ("Memory", "impulse_weights", "measure_memory"),
    "expression": ("Expression", "parse_expression"),
    "gradient_noise": ("GradientSource", "epoch_bias", "gradient_variance"),
    "hessian": ("Extremes", "classify_point", "extreme_eigenvalues", "hessian_eigenvalues"),
    "stability": ("measure_stable_lr", "stable_lr"),
    "surfaces": ("SURFACES", "Surface", "find_surface", "surface_from"),
    "tracing": ("Trace", "suggest_settings", "trace"),
}


def __getattr__(name: str) -> Any:
    for module, names in _EXPORTS.items():
        if name in names:
            return getattr(importlib.import_module(f"twofold.landscape.{module}"), name)
    raise AttributeError(f"module 'twofold.landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
