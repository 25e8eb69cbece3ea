"""Surfaces to watch an optimiser on: functions of one or two variables whose minima are known.

A network has too many weights to draw. What makes optimisers differ can be seen on two: a valley that is steep across
and flat along (quadratic, ill-conditioned, Rosenbrock), a point without slope that is no minimum (cubic, saddle),
several minima (wave, Himmelblau), plains beside walls (Beale), a gradient that is right only on average (noisy).

A surface is a frozen value, and a function: called with points of shape (..., dimension) it returns values of shape
(...). `find_surface` knows the named ones and reads formulas; `surface_from` takes any function of tensors. Gradients
and paths are computed in `tracing`. Neither this file nor `expression` needs torch: a mistyped name is refused at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from twofold.errors import TwofoldError, nearest
from twofold.landscape.expression import Expression, parse_expression

Box = tuple[tuple[float, float], ...]
Kind = Literal["minimum", "maximum", "saddle"]

# A path with a coordinate beyond this has diverged.
FAR_AWAY = 1e6


@dataclass(frozen=True)
class Stationary:
    """A point without slope, and the value there; a point of inflection, such as that of x³, counts as a saddle."""

    kind: Kind
    point: tuple[float, ...]
    value: float


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A function of one or two variables, and what is known about it.

    Attributes:
        formula: to be shown; that of a named surface can be read by `parse_expression`.
        dimension: 1 or 2.
        function: maps tensors (..., dimension) to (...), made of what autograd can differentiate twice.
        view: the box to draw, (low, high) for each coordinate.
        domain: the box where it is defined; None: wherever its value is finite.
        start: a good point to start from; None: the first of a few that is in the domain.
        steps: how many steps from there are worth drawing.
        stationary: the points without slope that are known, those in the view at least.
        noise: standard deviation of the normal noise that each step adds to each coordinate of the gradient.
        settings: for some rules, by name; chosen for the view and the number of steps.
    """

    name: str
    formula: str
    dimension: int
    function: Callable[[Any], Any] = field(repr=False)
    view: Box
    domain: Box | None = None
    start: tuple[float, ...] | None = None
    steps: int = 20
    stationary: tuple[Stationary, ...] = ()
    noise: float = 0.0
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    source: str = ""

    def __post_init__(self) -> None:
        if self.dimension not in (1, 2):
            raise TwofoldError(f"surface {self.name}: dimension must be 1 or 2, got {self.dimension}")
        for name in ("view", "domain", "start"):
            value = getattr(self, name)
            if value is not None and len(value) != self.dimension:
                raise TwofoldError(
                    f"surface {self.name}: {name} must be given for {self.dimension} coordinates, got {value!r}"
                )
        for name in ("view", "domain"):
            check_box(f"surface {self.name}: {name}", getattr(self, name) or ())
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise TwofoldError(f"surface {self.name}: noise must be 0 or more, and finite, got {self.noise!r}")

    def __call__(self, points: Any) -> Any:
        """Return the values at `points`, tensors of shape (..., dimension) and (...)."""
        return self.function(points)

    @property
    def minima(self) -> tuple[Stationary, ...]:
        """The known minima."""
        return tuple(point for point in self.stationary if point.kind == "minimum")


def check_box(what: str, box: Box) -> None:
    """Check that each side of a box goes from a lower to a higher number.

    Raises:
        TwofoldError: one does not.
    """
    for low, high in box:
        if not low < high or (what.endswith("view") and not math.isfinite(high - low)):
            raise TwofoldError(f"{what} must go from a lower to a higher number on each side, got {low:g} to {high:g}")


def find_surface(text: str) -> Surface:
    """Return the surface of that name, or the one that a formula describes.

    Raises:
        TwofoldError: it is neither; the message has the nearest names, or what in the formula is not allowed.

    >>> find_surface("himmelblau").minima[0].point
    (3.0, 2.0)
    >>> find_surface("x1**2 - x2**2").dimension
    2
    """
    if text in SURFACES:
        return SURFACES[text]
    try:
        expression = parse_expression(text)
    except TwofoldError as error:
        # Words and dashes alone are meant as a name.
        if re.fullmatch(r"[A-Za-z][A-Za-z_-]*", text):
            raise TwofoldError(
                f"unknown surface {text!r}, and no formula such as 'x**2 + 2*y**2' either: {nearest(text, SURFACES)}"
            ) from error
        raise
    return surface_from(expression, dimension=expression.dimension, name=expression.text)


def surface_from(
    function: Callable[[Any], Any],
    *,
    dimension: int,
    name: str = "own function",
    view: Box | None = None,
    domain: Box | None = None,
    start: Sequence[float] | None = None,
    noise: float = 0.0,
) -> Surface:
    """Return a surface made of any function of tensors.

    The arguments are the attributes of `Surface`; the view is -5 to 5 on each side if left out.

    Raises:
        TwofoldError: one of them is out of range.

    >>> surface_from(lambda points: (points**2).sum(-1), dimension=2, name="bowl").view
    ((-5.0, 5.0), (-5.0, 5.0))
    """
    return Surface(
        name=name,
        formula=function.text if isinstance(function, Expression) else name,
        dimension=dimension,
        function=function,
        view=view if view is not None else ((-5.0, 5.0),) * dimension,
        domain=domain,
        start=None if start is None else tuple(map(float, start)),
        noise=noise,
        source="the user's",
    )


def _named(name: str, formula: str, **known: Any) -> Surface:
    expression = parse_expression(formula)
    return Surface(name=name, formula=formula, dimension=expression.dimension, function=expression, **known)


def _minimum(*point: float, value: float = 0.0) -> Stationary:
    return Stationary("minimum", point, value)


# Those of D2L's figures; for rules that D2L draws with other settings, or not at all, chosen to match.
_D2L_SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"lr": 0.4},
    "momentum": {"lr": 0.4, "momentum": 0.5},
    "nesterov": {"lr": 0.2, "momentum": 0.5},
    "adagrad": {"lr": 0.4},
    "rmsprop": {"lr": 0.4},
    "adam": {"lr": 0.4},
    "adamw": {"lr": 0.4},
}
_QUADRATIC = _named(
    "quadratic",
    "0.1*x1**2 + 2*x2**2",
    view=((-5.5, 1.0), (-3.0, 1.0)),
    start=(-5.0, -2.0),
    stationary=(_minimum(0.0, 0.0),),
    settings=_D2L_SETTINGS,
    source="D2L's example: slope along x2 twenty times that along x1",
)

SURFACES: dict[str, Surface] = {
    surface.name: surface
    for surface in (
        _QUADRATIC,
        replace(
            _QUADRATIC, name="noisy", noise=0.5, source="the quadratic with a minibatch's gradient: right on average"
        ),
        _named(
            "ill-conditioned",
            "25*(x1 - x2)**2 + 0.25*(x1 + x2)**2",
            view=((-5.5, 2.0), (-5.5, 2.0)),
            start=(-5.0, -3.5),
            steps=60,
            stationary=(_minimum(0.0, 0.0),),
            source="a valley that no axis follows; the Hessian's eigenvalues are 100 and 1",
        ),
        _named(
            "parabola",
            "x**2",
            view=((-11.0, 11.0),),
            start=(10.0,),
            steps=10,
            stationary=(_minimum(0.0),),
            settings={"sgd": {"lr": 0.2}, "momentum": {"lr": 0.2, "momentum": 0.5}},
            source="D2L's example of step sizes: gradient descent diverges for a learning rate above 1",
        ),
        _named(
            "wave",
            "x*cos(pi*x)",
            view=((-1.0, 2.0),),
            start=(-0.9,),
            stationary=(
                _minimum(-0.273852686800850912, value=-0.178602511547733274),
                _minimum(1.09040822194672122, value=-1.04672112466057115),
                Stationary("maximum", (0.273852686800850912,), 0.178602511547733274),
            ),
            source="a local minimum on the way to a lower one; outside the view it keeps oscillating",
        ),
        _named(
            "cubic",
            "x**3",
            view=((-2.0, 2.0),),
            start=(1.8,),
            stationary=(Stationary("saddle", (0.0,), 0.0),),
            settings={"sgd": {"lr": 0.1}},
            source="D2L's example of a point without slope that is no minimum",
        ),
        _named(
            "saddle",
            "x1**2 - x2**2",
            view=((-2.0, 2.0), (-2.0, 2.0)),
            start=(-1.8, 0.001),
            stationary=(Stationary("saddle", (0.0, 0.0), 0.0),),
            source="D2L's example: a minimum along x1, a maximum along x2",
        ),
        _named(
            "beale",
            "(1.5 - x1 + x1*x2)**2 + (2.25 - x1 + x1*x2**2)**2 + (2.625 - x1 + x1*x2**3)**2",
            view=((-1.0, 4.5), (-2.0, 2.0)),
            start=(1.0, 1.5),
            steps=100,
            stationary=(_minimum(3.0, 0.5), Stationary("saddle", (0.0, 1.0), 14.203125)),
            source="Beale, 1958",
        ),
        _named(
            "himmelblau",
            "(x1**2 + x2 - 11)**2 + (x1 + x2**2 - 7)**2",
            view=((-5.0, 5.0), (-5.0, 5.0)),
            start=(-0.5, -1.5),
            steps=40,
            stationary=(
                _minimum(3.0, 2.0),
                _minimum(-2.8051180869527449, 3.1313125182505730),
                _minimum(-3.7793102533777469, -3.2831859912861694),
                _minimum(3.5844283403304917, -1.8481265269644036),
                Stationary("maximum", (-0.27084459066734761, -0.92303855647998146), 181.61652152258270),
                Stationary("saddle", (3.3851541836070209, 0.073851879837749288), 13.311926270405590),
                Stationary("saddle", (0.086677504555396352, 2.8842547011747761), 67.719150087526140),
                Stationary("saddle", (-3.0730257507643896, -0.081353044287967511), 104.01516291755811),
                Stationary("saddle", (-0.12796134673068007, -1.9537149802445764), 178.33723920192746),
            ),
            source="Himmelblau, 1972: four minima, all of value 0",
        ),
        _named(
            "rosenbrock",
            "(1 - x1)**2 + 100*(x2 - x1**2)**2",
            view=((-2.0, 2.0), (-1.0, 3.0)),
            start=(-1.2, 1.0),
            steps=200,
            stationary=(_minimum(1.0, 1.0),),
            source="Rosenbrock, 1960: a flat, bent valley between steep walls",
        ),
    )
}
