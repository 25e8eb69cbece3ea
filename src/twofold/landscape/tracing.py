"""The path of an update rule over a surface, step by step, with the rule's state at each.

The point on the surface is a parameter, and the rules of `twofold.optim` move it: the code that trains networks,
watched on two weights instead of millions. Everything is in float64, and nothing is drawn from a global generator: the
same call gives the same path. The default convention is D2L's, whose figures these paths are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.keyed import derive_key, uniform
from twofold.landscape.surfaces import FAR_AWAY, Stationary, Surface, find_surface
from twofold.optim.rules import create_optimizer
from twofold.optim.schedule import Schedule
from twofold.terminal import track

MOST_STEPS = 100_000
# "Converged": the minimum is within this share of the view's diagonal, about the width of a marker in a figure.
_ARRIVED = 0.01
# Where no start is given, the first of these at which the surface is defined; D2L's comes first.
_STARTS = ((-5.0, -2.0), (4.0, 3.0), (2.0, 1.5), (1.0, 0.5), (0.5, 0.25))
_RATES = tuple(digit * 10.0**power for power in range(-5, 1) for digit in (1, 2, 5))


def evaluate(surface: Surface, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Return the surface's values at `points`; not finite where it is not defined.

    Raises:
        TwofoldError: the points have the wrong number of coordinates, or the function returns no value for each.
    """
    if points.shape[-1] != surface.dimension:
        raise TwofoldError(
            f"points must have {surface.dimension} coordinates on {surface.name}, got shape {tuple(points.shape)}"
        )
    values = surface(points)
    if not isinstance(values, Tensor) or values.shape != points.shape[:-1] or not values.is_floating_point():
        got = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise TwofoldError(
            f"surface {surface.name} must map points of shape (..., {surface.dimension}) to values of shape (...): "
            f"for {tuple(points.shape)} it returned {got}"
        )
    return values


def gradient(surface: Surface, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Return the surface's gradient at each of `points`, by autograd and without noise.

    Raises:
        TwofoldError: as for `evaluate`; or the function is not made of operations that autograd records.
    """
    return value_and_gradient(surface, points)[1]


def value_and_gradient(
    surface: Surface, points: Float[Tensor, "*batch dim"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch dim"]]:
    """Return what `evaluate` and `gradient` return, at the cost of `gradient` alone."""
    x = points.detach().clone().requires_grad_()
    with torch.enable_grad():
        values = evaluate(surface, x)
        if not values.requires_grad:
            raise TwofoldError(
                f"surface {surface.name} must be made of torch operations on its points, so that it has a gradient"
            )
        (slope,) = torch.autograd.grad(values, x, torch.ones_like(values))
    return values.detach(), slope


def gradient_noise(surface: Surface, seed: int, step: int) -> Float64[Tensor, " dim"]:
    """Return the noise in the surface's gradient at a step: normal, and a pure function of (seed, step).

    It is the gradient of a function ε·x that is drawn anew each step and is 0 on average, so the noisy gradient is
    unbiased, as a minibatch's is.
    """
    key = derive_key(seed, step, "surface noise")
    first, second = uniform(key, torch.arange(2 * surface.dimension)).to(torch.float64).reshape(2, -1)
    # Box and Muller, 1958; 1 - u is in (0, 1], so the logarithm is finite.
    return surface.noise * (-2.0 * (1.0 - first).log()).sqrt() * (2.0 * math.pi * second).cos()


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """What an optimiser did on a surface, for n steps: row k of a path is where it stood after k of them.

    Attributes:
        settings: all settings of the rule, the defaults too; "lr" is the first step's.
        path: the points.
        values: the surface's values there, without noise.
        gradients: what each update saw, noise included.
        state: the rule's state after each update, by name: velocity, square_sum, ….
        learning_rates: η of each update.
        ended: why it ended before its last step, such as "diverged at step 12"; empty if it did not.
        ended_at: the step that could not be taken or counted, or None.
    """

    surface: Surface
    optimizer: str
    settings: dict[str, Any] = field(default_factory=dict)
    path: Float64[Tensor, "points dim"]
    values: Float64[Tensor, " points"]
    gradients: Float64[Tensor, "steps dim"]
    state: dict[str, Float64[Tensor, "steps dim"]]
    learning_rates: Float64[Tensor, " steps"]
    ended: str = ""
    ended_at: int | None = None

    @property
    def num_steps(self) -> int:
        """Number of steps taken."""
        return len(self.path) - 1

    @property
    def updates(self) -> Float64[Tensor, "steps dim"]:
        """What each step added to the point."""
        return self.path.diff(dim=0)

    @property
    def effective_rates(self) -> Float64[Tensor, "steps dim"]:
        """The learning rate that each coordinate really had at each step: its update divided by its negative gradient.

        Gradient descent's is η. Under AdaGrad it only falls; under momentum it grows to η/(1 − γ) while the gradient
        stays. NaN where the gradient is 0.
        """
        return torch.where(self.gradients == 0, math.nan, -self.updates / self.gradients)

    @property
    def last(self) -> Float64[Tensor, " dim"]:
        """The last point."""
        return self.path[-1]

    def nearest_minimum(self) -> tuple[Stationary, float] | None:
        """Return the known minimum that is nearest to the last point, and how far it is; None if none is known."""
        distances = [(minimum, math.dist(self.last.tolist(), minimum.point)) for minimum in self.surface.minima]
        return min(distances, key=lambda pair: pair[1], default=None)

    @property
    def verdict(self) -> str:
        """How it ended: "converged", "diverging" (higher than it began, in longer steps), "still moving", or `ended`.

        Converged: a Newton step from the last point is no longer than a hundredth of the view's diagonal, and neither
        was the last step. So momentum that passes through a minimum has not converged, and neither has AdaGrad whose
        steps have become small far from it.
        """
        if self.ended:
            return self.ended
        steps = self.updates.norm(dim=1)
        if self.num_steps and self.values[-1] > self.values[0] and steps[-1] > steps[0]:
            return "diverging"
        near = _ARRIVED * math.dist(*zip(*self.surface.view, strict=True))
        last_step = float(steps[-1]) if self.num_steps else 0.0
        has_arrived = last_step <= near and _newton_step(self.surface, self.last) <= near
        return "converged" if has_arrived else "still moving"


def trace(
    surface: Surface | str,
    optimizer: str,
    start: Sequence[float] | None = None,
    steps: int | None = None,
    *,
    schedule: Schedule | None = None,
    seed: int = 0,
    show: bool = False,
    **settings: Any,
) -> Trace:
    """Let an optimiser walk over a surface.

    It ends early where a coordinate exceeds 1e6, or where the path leaves the domain or is no longer finite; see
    `Trace.ended`.

    Args:
        surface: a surface, the name of one, or a formula.
        optimizer: a rule of `rules.OPTIMIZERS`.
        start: where to start from; the surface's own start if left out.
        steps: how many steps to take; `surface.steps` if left out.
        schedule: η over the steps, a step counting as an epoch; constant if left out.
        seed: decides the noise, where the surface has some.
        settings: the rule's settings; convention="d2l" unless given.

    Raises:
        TwofoldError: there is no such surface or rule, a setting is unknown or out of range, or the surface is not
            defined at the start.

    >>> first = trace("quadratic", "sgd", steps=2, lr=0.4)
    >>> first.path  # each step multiplies x1 by 1 - 0.4 * 0.2 and x2 by 1 - 0.4 * 4
    tensor([[-5.0000, -2.0000],
            [-4.6000,  1.2000],
            [-4.2320, -0.7200]], dtype=torch.float64)
    """
    if schedule is not None:
        if "lr" in settings:
            raise TwofoldError(f"lr={settings['lr']} goes without a schedule, which has a learning rate of its own")
        settings["lr"] = schedule.lr
    (walk,) = _walked(surface, [(optimizer, settings)], start, steps, schedule=schedule, seed=seed, show=show)
    return walk


def race(
    surface: Surface | str,
    racers: Sequence[tuple[str, Mapping[str, Any]]],
    start: Sequence[float] | None = None,
    steps: int | None = None,
    *,
    seed: int = 0,
) -> list[Trace]:
    """Let optimisers walk over a surface side by side; return what `trace` returns for each.

    All their gradients are computed at once, so that three cost little more than one: the labs draw them while the
    start is dragged. `racers` are rules and their settings; the other arguments, and the errors, are those of `trace`.

    >>> [float(walk.values[-1]) for walk in race("quadratic", [("sgd", {"lr": 0.4}), ("sgd", {"lr": 0.6})], steps=1)]
    [4.996, 17.616]
    """
    return _walked(surface, racers, start, steps, seed=seed)


class _Walk:
    """An optimiser on its way: where it stands, what it has seen, and why it ended if it did."""

    def __init__(self, surface: Surface, optimizer: str, origin: Tensor, settings: Mapping[str, Any]) -> None:
        self.surface, self.optimizer = surface, optimizer
        self.x = origin.clone()
        self.rule = create_optimizer(optimizer, [self.x], **{"convention": "d2l", **settings})
        self.group = self.rule.param_groups[0]
        self.path, self.values = [origin], [evaluate(surface, origin)]
        self.gradients: list[Tensor] = []
        self.rates: list[float] = []
        self.state: dict[str, list[Tensor]] = {name: [] for name in self.rule.state_names}
        self.ended, self.ended_at = "", None

    def end(self, why: str, step: int) -> None:
        self.ended, self.ended_at = f"{why} step {step + 1}", step + 1

    def move(self, seen: Tensor) -> Tensor:
        """Let the rule see a gradient; return the point where it steps to."""
        self.x.grad = seen.clone()
        self.rule.update()
        return self.x.clone()

    def keep(self, point: Tensor, value: Tensor, seen: Tensor) -> None:
        """Take a step into the path."""
        self.path.append(point)
        self.values.append(value)
        self.gradients.append(seen)
        self.rates.append(float(self.group["lr"]))
        for name, rows in self.state.items():
            rows.append(self.rule.state[self.x][name].clone())

    def trace(self) -> Trace:
        def stacked(rows: list[Tensor]) -> Tensor:
            return torch.stack(rows) if rows else torch.zeros((0, self.surface.dimension), dtype=torch.float64)

        used = {name: value for name, value in self.rule.defaults.items() if name != "compile"}
        if not used["weight_decay"]:
            del used["weight_decay"]
        return Trace(
            surface=self.surface,
            optimizer=self.optimizer,
            settings=used,
            path=torch.stack(self.path),
            values=torch.stack(self.values),
            gradients=stacked(self.gradients),
            state={name: stacked(rows) for name, rows in self.state.items()},
            learning_rates=torch.tensor(self.rates, dtype=torch.float64),
            ended=self.ended,
            ended_at=self.ended_at,
        )


def _walked(
    surface: Surface | str,
    racers: Sequence[tuple[str, Mapping[str, Any]]],
    start: Sequence[float] | None,
    steps: int | None,
    *,
    schedule: Schedule | None = None,
    seed: int,
    show: bool = False,
) -> list[Trace]:
    surface = find_surface(surface) if isinstance(surface, str) else surface
    steps = surface.steps if steps is None else steps
    if not 0 <= steps <= MOST_STEPS:
        raise TwofoldError(f"steps must be from 0 to {MOST_STEPS:,}, got {steps}")
    origin = start_point(surface, start)
    walks = [_Walk(surface, optimizer, origin, settings) for optimizer, settings in racers]
    going, slopes = walks, [gradient(surface, origin)] * len(walks)
    label = f"{walks[0].optimizer}, steps" if walks else ""
    for step in track(range(steps), total=steps, label=label, enabled=show):
        noise = gradient_noise(surface, seed, step) if surface.noise else None
        moved = []
        for walk, slope in zip(going, slopes, strict=True):
            if schedule is not None:
                # As in training, progress is that of the middle of the step: neither end has a learning rate of 0.
                walk.group["lr"] = schedule.at((step + 0.5) / steps, float(step))
            seen = slope if noise is None else slope + noise
            if not _is_finite(seen):
                walk.end("no finite gradient for", step)
                continue
            point = walk.move(seen)
            if _is_finite(point) and not _is_outside(surface, point):
                moved.append((walk, point, seen))
            else:
                walk.end("diverged at" if _is_far(point) else "left the domain at", step)
        if not moved:
            break
        # One point alone stays as it is, for functions that take no others.
        points = moved[0][1] if len(moved) == 1 else torch.stack([point for _, point, _ in moved])
        values, slopes_there = value_and_gradient(surface, points)
        going, slopes = [], []
        for (walk, point, seen), value, slope in zip(
            moved, values.reshape(-1), slopes_there.reshape(-1, surface.dimension), strict=True
        ):
            if not math.isfinite(value):
                walk.end("diverged at" if _is_far(point) else "left the domain at", step)
                continue
            walk.keep(point, value, seen)
            if _is_far(point):
                walk.end("diverged at", step)
                continue
            going.append(walk)
            slopes.append(slope)
        if not going:
            break
    return [walk.trace() for walk in walks]


def start_point(surface: Surface, start: Sequence[float] | None = None) -> Float64[Tensor, " dim"]:
    """Return the point to start from: `start`, the surface's own, or the first of a few where the surface is defined.

    Raises:
        TwofoldError: the start has the wrong number of coordinates, or the surface is not defined there.
    """
    start = surface.start if start is None else start
    if start is not None:
        if len(start) != surface.dimension:
            raise TwofoldError(
                f"start must have {surface.dimension} coordinate{'s' * (surface.dimension > 1)} on {surface.name}, "
                f"got {_listed(start)}"
            )
        point = torch.tensor([float(value) for value in start], dtype=torch.float64)
        if problem := _problem(surface, point):
            raise TwofoldError(f"start {_listed(start)} cannot be used: {problem}; choose another start")
        return point
    for candidate in _STARTS:
        point = torch.tensor(candidate[: surface.dimension], dtype=torch.float64)
        if not _problem(surface, point):
            return point
    raise TwofoldError(f"{surface.name} is not finite at any of the points tried; say where to start from")


def suggest_settings(
    surface: Surface,
    optimizer: str,
    start: Sequence[float] | None = None,
    steps: int | None = None,
    *,
    seed: int = 0,
    show: bool = False,
    **given: Any,
) -> dict[str, Any]:
    """Return settings for `trace` with these arguments: those given, the surface's own, and a learning rate.

    Where neither the surface nor the rule (AdaDelta: 1) has a learning rate of its own, 1, 2 and 5 times the powers of
    ten from 0.00001 to 1 are tried on the whole path, all at once. The best has the lowest value on average over the
    path without leaving the view: the average rejects leaps up a wall, the view what would fall without end.

    Raises:
        TwofoldError: as for `trace`; or every learning rate leads out of the view, so that one must be given.
    """
    settings = {**surface.settings.get(optimizer, {}), **given}
    if optimizer == "adadelta":
        settings.setdefault("lr", 1.0)
    if "lr" in settings:
        return settings
    origin = start_point(surface, start)
    points = [torch.nn.Parameter(origin.clone()) for _ in _RATES]
    groups = [{"params": [point], "lr": lr} for point, lr in zip(points, _RATES, strict=True)]
    rule = create_optimizer(optimizer, groups, **{"convention": "d2l", **settings, "lr": _RATES[0]})
    # The lowest and the highest corner of the view, widened by its own size where the start is outside.
    low, high = torch.tensor(surface.view, dtype=torch.float64).T
    span, outside = high - low, (origin < low) | (origin > high)
    low = torch.where(outside, torch.minimum(low, origin - span), low)
    high = torch.where(outside, torch.maximum(high, origin + span), high)
    stays = torch.ones(len(_RATES), dtype=torch.bool)
    total = torch.zeros(len(_RATES), dtype=torch.float64)
    steps = surface.steps if steps is None else steps
    for step in track(range(steps), total=steps, label=f"{optimizer}, trying learning rates", enabled=show):
        values, slopes = value_and_gradient(surface, torch.stack([point.detach() for point in points]))
        total += values
        if surface.noise:
            slopes = slopes + gradient_noise(surface, seed, step)
        for point, slope, going in zip(points, slopes, stays.tolist(), strict=True):
            point.grad = slope.clone() if going else None
        rule.step()
        here = torch.stack([point.detach() for point in points])
        stays &= ((here >= low) & (here <= high)).all(dim=1) & slopes.isfinite().all(dim=1)
    total += evaluate(surface, torch.stack([point.detach() for point in points]))
    lowest = torch.where(stays & total.isfinite(), total, math.inf)
    if not lowest.isfinite().any():
        raise TwofoldError(
            f"no learning rate of {_RATES[0]:g} to {_RATES[-1]:g} keeps {optimizer} in the view of {surface.name}; "
            "give a learning rate"
        )
    return {**settings, "lr": _RATES[int(lowest.argmin())]}


def _problem(surface: Surface, point: Tensor) -> str:
    if not bool((point.abs() <= FAR_AWAY).all()):
        return f"its coordinates must be finite, and {FAR_AWAY:g} at most"
    if _is_outside(surface, point):
        assert surface.domain is not None
        sides = " and ".join(f"{low:g} to {high:g}" for low, high in surface.domain)
        return f"{surface.name} is defined for {sides}"
    if not evaluate(surface, point).isfinite():
        return f"{surface.name} is not finite there"
    if not gradient(surface, point).isfinite().all():
        return f"the gradient of {surface.name} is not finite there"
    return ""


def _is_finite(point: Tensor) -> bool:
    return all(map(math.isfinite, point.tolist()))


def _is_far(point: Tensor) -> bool:
    # NaN is as far as infinity.
    return not all(abs(value) <= FAR_AWAY for value in point.tolist())


def _is_outside(surface: Surface, point: Tensor) -> bool:
    sides = surface.domain or ()
    return any(not low <= value <= high for value, (low, high) in zip(point.tolist(), sides, strict=False))


def _newton_step(surface: Surface, point: Tensor) -> float:
    """Return the length of a Newton step: the distance to where the parabola through `point` has no slope."""
    slope = gradient(surface, point)
    matrix = torch.autograd.functional.hessian(surface, point)
    assert isinstance(matrix, Tensor)
    if not matrix.isfinite().all():
        return math.inf
    bends, axes = torch.linalg.eigh((matrix + matrix.T) / 2)
    along = axes.T @ slope
    # Where there is no slope the step is 0, whatever the curvature.
    return float(torch.where(along.abs() < 1e-12, 0.0, along / bends).norm())


def _listed(point: Sequence[float]) -> str:
    return f"({', '.join(f'{float(value):g}' for value in point)})"
