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

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.landscape.averaging import (
        Memory as Memory,
        impulse_weights as impulse_weights,
        measure_memory as measure_memory,
    )
    from twofold.landscape.expression import Expression as Expression, parse_expression as parse_expression
    from twofold.landscape.gradient_noise import (
        GradientSource as GradientSource,
        epoch_bias as epoch_bias,
        gradient_variance as gradient_variance,
    )
    from twofold.landscape.hessian import (
        Extremes as Extremes,
        classify_point as classify_point,
        extreme_eigenvalues as extreme_eigenvalues,
        hessian_axes as hessian_axes,
        hessian_eigenvalues as hessian_eigenvalues,
    )
    from twofold.landscape.stability import measure_stable_lr as measure_stable_lr, stable_lr as stable_lr
    from twofold.landscape.surfaces import (
        SURFACES as SURFACES,
        Surface as Surface,
        find_surface as find_surface,
        surface_from as surface_from,
    )
    from twofold.landscape.tracing import (
        Trace as Trace,
        race as race,
        suggest_settings as suggest_settings,
        trace as trace,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "averaging": "Memory impulse_weights measure_memory",
        "expression": "Expression parse_expression",
        "gradient_noise": "GradientSource epoch_bias gradient_variance",
        "hessian": "Extremes classify_point extreme_eigenvalues hessian_axes hessian_eigenvalues",
        "stability": "measure_stable_lr stable_lr",
        "surfaces": "SURFACES Surface find_surface surface_from",
        "tracing": "Trace race suggest_settings trace",
    },
)
