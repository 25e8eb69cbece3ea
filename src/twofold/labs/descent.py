"""The lab of descent: update rules racing over a surface, by `landscape.tracing`, and each of their steps by hand."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.landscape.hessian import classify_point, hessian_axes
from twofold.landscape.stability import stable_lr
from twofold.landscape.surfaces import SURFACES, Surface, check_box, find_surface
from twofold.landscape.tracing import Trace, evaluate, race, start_point, suggest_settings, value_and_gradient
from twofold.scratch.optim import COUNTING, RULES, decayed
from twofold.terminal import command

MOST_STEPS = 500
_SIDE = 97
_POINTS_OF_A_CURVE = 481
_LEVELS = 14
# Where no learning rate of those that are tried keeps a rule on the surface.
_CAREFUL_LR = 0.001
_CONSTANTS = ("momentum", "gamma", "rho", "beta1", "beta2")
_WORDS = {"eps": "epsilon"}

TWO_FORMS = tuple(rule for rule, (form, _) in RULES.items() if "convention" in inspect.signature(form).parameters)
"""The rules that D2L and torch write differently."""

RuleName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw"]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Point = Annotated[tuple[Number, ...], Field(min_length=1, max_length=2)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rules = Annotated[tuple[RuleName, ...], Field(max_length=8), AfterValidator(lambda names: tuple(dict.fromkeys(names)))]


class DescentSettings(LabSettings):
    """What decides the lab of descent.

    Attributes:
        surface: the name of one, or a formula in x, or in x and y.
        view: the part that is drawn: lowest and highest x, then y.
        start: where all rules start; the surface's own start if left out.
        rules: those that race.
        lr: learning rates of some rules; one that is missing is searched for.
        momentum, gamma, rho, beta1, beta2: shares of the averages that are kept, of the rules that have one.
        epsilon, weight_decay: as each rule has it if left out.
        convention: of the rules; "both" lets those race themselves that have two forms.
        noise: standard deviation of what is added to the gradient; the surface's own if left out.
        seed: of the noise.
        steps: how many.
        step: the one that is looked at; the last if left out.
        look: the point whose Hessian is shown; the start if left out.
    """

    surface: Annotated[str, Field(max_length=400)] = "ill-conditioned"
    view: Annotated[tuple[Number, ...], Field(min_length=2, max_length=4)] | None = None
    start: Point | None = None
    rules: Rules = ("sgd", "momentum", "adam")
    lr: dict[RuleName, Annotated[float, Field(gt=0, le=1e4)]] = Field(default_factory=dict)
    momentum: Share = 0.9
    gamma: Share = 0.9
    rho: Share = 0.9
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Annotated[float, Field(ge=0, le=1e3)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    convention: Literal["d2l", "torch", "both"] = "d2l"
    noise: Annotated[float, Field(ge=0, le=1e3)] | None = None
    seed: Annotated[int, Field(ge=0, le=9999)] = 0
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 50
    step: Annotated[int, Field(ge=0, le=MOST_STEPS)] | None = None
    look: Point | None = None


class DescentLab(Lab):
    """See `twofold lab descent`."""

    name = "descent"
    Settings = DescentSettings
    reads = (*(f"scratch.optim:{rule}" for rule in RULES), "scratch.optim:decayed")
    exercises: ClassVar = (
        Exercise(
            "Point at a place where the Hessian (the matrix of second derivatives) has a negative eigenvalue; not "
            "every surface has one. What does it look like there?",
            "指向海森矩阵（二阶导数矩阵）有负特征值的一点；并非每个曲面都有。那里的曲面是什么形状？",
            lambda s, shown: min(shown["here"]["eigenvalues"] or [0.0]) < 0,
        ),
        Exercise(
            "Find a learning rate at which sgd jumps from side to side of the valley, and still converges. That may "
            "take more steps.",
            "找一个学习率，使 sgd 在山谷两侧来回跳动，但仍然收敛。可能需要更多步数。",
            lambda s, shown: any(_zigzags(path) and path["verdict"] == "converged" for path in _of(shown, "sgd")),
        ),
        Exercise(
            "On the quadratic, let sgd diverge with a learning rate at most 10 % above the largest stable one, 2/λmax: "
            "the list beside the surface has it.",
            "在二次函数上，让 sgd 发散，且学习率不超过最大稳定学习率 2/λmax 的 1.1 倍；曲面旁的列表给出了它的值。",
            lambda s, shown: s.surface == "quadratic" and not shown["surface"]["noise"] and _just_diverges(shown),
        ),
        Exercise(
            "Make momentum end 100 times lower than sgd in the long valley (ill-conditioned), both below 1.",
            "在狭长山谷（ill-conditioned）中，让动量法的终值比 sgd 低 100 倍，且两者都小于 1。",
            lambda s, shown: s.surface == "ill-conditioned" and _is_100_times_lower(shown),
        ),
        Exercise(
            "Make adam's effective rates (step / −gradient) positive, and differ ten times between the coordinates.",
            "让 adam 在两个坐标上的有效学习率（步长 / 负梯度）都为正，且相差十倍。",
            lambda s, shown: any(_differ_ten_times(path) for path in _of(shown, "adam")),
        ),
        Exercise(
            "On the saddle, start exactly on the ridge (y = 0), where every rule stays. What lets one escape below −1?",
            "在鞍面上，恰好从脊线（y = 0）出发，没有规则能离开它。怎样才能让某个规则逃到 −1 以下？",
            lambda s, shown: s.surface == "saddle" and shown["start"][1] == 0 and _lowest_end(shown) < -1,
        ),
        Exercise(
            "Show both conventions. Momentum walks the same path in both, only its velocity differs. "
            "Find a rule, and settings, whose two paths part by more than 0.1.",
            "同时显示两种约定。动量法在两者中路径相同，只有速度不同；找出一个规则及其设置，使两条路径相差超过 0.1。",
            lambda s, shown: s.convention == "both" and _largest_gap(shown) > 0.1,
        ),
    )

    def __init__(self, opened: Any) -> None:
        super().__init__(opened)
        self._race: tuple[DescentSettings, list[Trace], list[str]] | None = None

    def about(self) -> dict[str, Any]:
        """Return the surfaces and rules to choose from."""
        return {
            "surfaces": [
                {"name": each.name, "formula": each.formula, "source": each.source} for each in SURFACES.values()
            ],
            "rules": list(RULES),
            "most_steps": MOST_STEPS,
        }

    def compute(self, settings: DescentSettings) -> dict[str, Any]:
        """Return the paths, what each rule did at the step, and the surface at the point that is looked at."""
        surface = _surface(settings)
        traces, verdicts = self._raced(settings, surface)
        start = traces[0].path[0] if traces else start_point(surface, settings.start)
        step = settings.steps if settings.step is None else min(settings.step, settings.steps)
        paths = [_path(walk, verdict, step) for walk, verdict in zip(traces, verdicts, strict=True)]
        here = start
        if settings.look is not None and len(settings.look) == surface.dimension:
            here = torch.tensor(settings.look, dtype=torch.float64)
        return {
            "surface": {
                "name": surface.name,
                "formula": surface.formula,
                "dimension": surface.dimension,
                "noise": surface.noise,
                "view": _view(surface, settings.view),
                "stationary": [{"kind": each.kind, "point": each.point} for each in surface.stationary],
            },
            "start": start.tolist(),
            "steps": settings.steps,
            "step": step,
            "paths": paths,
            "ahead": _ahead(paths),
            "here": _here(surface, here, settings.momentum),
        }

    def act(self, action: str, settings: DescentSettings) -> dict[str, Any]:
        """Return what is shown, and with it the values of the surface, which paths alone do not change."""
        if action != "surface":
            return super().act(action, settings)
        surface = _surface(settings)
        return {**self.compute(settings), "grid": _grid(surface.name, surface.formula, _view(surface, settings.view))}

    def command(self, settings: DescentSettings) -> Command:
        """Return the lines that print the same paths, and the program that computes them."""
        if not settings.rules:
            return Command(print_line(self.name, settings, self.opened), _program(settings))
        return Command(_shell_line(settings), _program(settings))

    def _raced(self, settings: DescentSettings, surface: Surface) -> tuple[list[Trace], list[str]]:
        """Return the walks and how each ended; the last ones are kept, for looking at their steps."""
        decided = settings.model_copy(update={"step": None, "look": None, "view": None})
        if self._race is None or self._race[0] != decided:
            racers = [(rule, _options(settings, rule, convention)) for rule, convention in _racers(settings)]
            traces = race(surface, racers, settings.start, settings.steps, seed=settings.seed)
            self._race = decided, traces, [walk.verdict for walk in traces]
        return self._race[1:]


def _surface(settings: DescentSettings) -> Surface:
    surface = find_surface(settings.surface.strip())
    return surface if settings.noise is None else replace(surface, noise=settings.noise)


def _view(surface: Surface, asked: tuple[float, ...] | None) -> tuple[tuple[float, float], ...]:
    """Return the box that is drawn; that of another dimension is left over from another surface."""
    if asked is None or len(asked) != 2 * surface.dimension:
        return tuple((low, high) for low, high in surface.view)
    view = tuple(zip(asked[::2], asked[1::2], strict=True))
    check_box("view", view)
    return view


@functools.lru_cache(maxsize=8)
def _grid(name: str, formula: str, view: tuple[tuple[float, float], ...]) -> dict[str, Any]:
    """Return the values on a grid of the view, (rows, columns) from the lowest y, or (points,) in one dimension.

    The levels of its contours are dense where the surface is low, as a map's in a valley are not: each ring around a
    minimum holds about as much more of the map than the one inside it.
    """
    surface = find_surface(name if name in SURFACES else formula)
    if surface.dimension == 1:
        x = torch.linspace(*view[0], _POINTS_OF_A_CURVE, dtype=torch.float64)
        values = evaluate(surface, x[:, None])
    else:
        x, y = (torch.linspace(*side, _SIDE, dtype=torch.float64) for side in view)
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        values = evaluate(surface, torch.stack([columns, rows], dim=-1))
    finite = values[values.isfinite()]
    shares = torch.linspace(0, 1, _LEVELS + 1, dtype=torch.float64) ** 2
    levels = torch.quantile(finite, shares).unique() if len(finite) else torch.zeros(1, dtype=torch.float64)
    return {"values": values, "levels": levels}


@functools.lru_cache(maxsize=64)
def suggested_lr(surface: str, rule: str) -> float:
    """Return a learning rate for a rule on a surface, which does not depend on what else is set."""
    found = find_surface(surface)
    try:
        return float(suggest_settings(found, rule, steps=min(found.steps, 60))["lr"])
    except TwofoldError:
        return _CAREFUL_LR


def _lr(settings: DescentSettings, rule: str) -> float:
    given = {str(name): lr for name, lr in settings.lr.items()}
    return given[rule] if rule in given else suggested_lr(settings.surface.strip(), rule)


def _racers(settings: DescentSettings) -> list[tuple[str, str]]:
    """Return the rules and conventions that race; with "both", twice where a rule has two forms."""
    if settings.convention != "both":
        return [(rule, settings.convention) for rule in settings.rules]
    forms = {rule: ("d2l", "torch") if rule in TWO_FORMS else ("d2l",) for rule in settings.rules}
    return [(rule, convention) for rule, conventions in forms.items() for convention in conventions]


def _options(settings: DescentSettings, rule: str, convention: str) -> dict[str, Any]:
    """Return what `trace` is given for a rule: what is not as it would be anyway, and momentum."""
    takes = inspect.signature(RULES[rule][0]).parameters
    options: dict[str, Any] = {"lr": _lr(settings, rule)}
    for name in _CONSTANTS:
        value = getattr(settings, name)
        if name in takes and (name == "momentum" or value != takes[name].default):
            options[name] = value
    if "eps" in takes and settings.epsilon is not None:
        options["eps"] = settings.epsilon
    if settings.weight_decay is not None:
        options["weight_decay"] = settings.weight_decay
    if convention != "d2l":
        options["convention"] = convention
    return options


def _path(walk: Trace, verdict: str, step: int) -> dict[str, Any]:
    nearest = walk.nearest_minimum()
    at = min(step, walk.num_steps)
    return {
        "rule": walk.optimizer,
        "convention": walk.settings["convention"],
        "lr": walk.settings["lr"],
        "path": walk.path,
        "values": walk.values,
        "verdict": verdict,
        "distance": None if nearest is None else nearest[1],
        "here": float(walk.values[at]),
        "last": float(walk.values[-1]),
        "at": _step_by_hand(walk, at),
    }


def _step_by_hand(walk: Trace, step: int) -> dict[str, Any]:
    """Return what happened at a step, counted from 1, computed by the readable rule from the state before it.

    Of step 0 there are only the point and a state of zeros.
    """
    names = RULES[walk.optimizer][1]
    if step == 0:
        return {"step": 0, "point": walk.path[0], "state": {name: torch.zeros_like(walk.path[0]) for name in names}}
    rule = RULES[walk.optimizer][0]
    before = {name: _before(walk, name, step) for name in names}
    x, state = walk.path[step - 1].clone(), {name: rows.clone() for name, rows in before.items()}
    takes = inspect.signature(rule).parameters
    options = {name: value for name, value in {"weight_decay": 0.0, **walk.settings}.items() if name in takes}
    if walk.optimizer in COUNTING:
        options["step"] = step
    grad, decay = walk.gradients[step - 1], walk.settings.get("weight_decay", 0.0)
    if decay and "weight_decay" not in takes:
        grad = decayed(grad, x, decay)
    rule(x, grad, *state.values(), **options)
    return {
        "step": step,
        "from": walk.path[step - 1],
        "point": x,
        "gradient": walk.gradients[step - 1],
        "update": x - walk.path[step - 1],
        "effective": walk.effective_rates[step - 1],
        "before": before,
        "state": state,
    }


def _before(walk: Trace, name: str, step: int) -> Tensor:
    """Return a part of the rule's state before a step, as the readable form keeps it."""
    if step == 1:
        return torch.zeros_like(walk.path[0])
    kept = walk.state[name][step - 2]
    # In D2L's convention AdaGrad's sum begins at ε in the engine; the readable form adds it under the root.
    in_sum = walk.optimizer == "adagrad" and walk.settings["convention"] == "d2l"
    return kept - walk.settings["eps"] if in_sum else kept


def _ahead(paths: Sequence[Mapping[str, Any]]) -> int | None:
    """Return which path is lowest at the step; None if there is none."""
    return min(range(len(paths)), key=lambda i: paths[i]["here"], default=None)


def _here(surface: Surface, point: Tensor, momentum: float) -> dict[str, Any]:
    """Return value, slope and curvature at a point; None for what is not finite."""
    value, slope = value_and_gradient(surface, point)
    here: dict[str, Any] = {"point": point.tolist(), "value": float(value), "gradient": slope.tolist()}
    here |= {"eigenvalues": None, "axes": None, "condition": None, "kind": None, "stable": None}
    if not math.isfinite(value):
        return here
    try:
        bends, axes = hessian_axes(surface, point)
    except TwofoldError:
        return here
    low, high = float(bends[0]), float(bends[-1])
    here |= {"eigenvalues": bends.tolist(), "axes": axes.tolist(), "kind": classify_point(bends)}
    if surface.dimension == 2 and low > 0:
        here["condition"] = high / low
    if high > 0:
        here["stable"] = {
            "sgd": stable_lr(high),
            "momentum": stable_lr(high, momentum=momentum),
            "nesterov": stable_lr(high, momentum=momentum, nesterov=True),
        }
    return here


def _of(shown: Mapping[str, Any], rule: str) -> list[Mapping[str, Any]]:
    return [path for path in shown["paths"] if path["rule"] == rule]


def _zigzags(path: Mapping[str, Any]) -> bool:
    """Whether the first steps turn back more than they go on."""
    steps = path["path"][:9].diff(dim=0)
    return len(steps) > 2 and bool(((steps[1:] * steps[:-1]).sum(dim=1) < 0).all())


def _just_diverges(shown: Mapping[str, Any]) -> bool:
    most = (shown["here"]["stable"] or {}).get("sgd", 0.0)
    return any(path["verdict"].startswith("diverg") and path["lr"] <= 1.1 * most for path in _of(shown, "sgd"))


def _is_100_times_lower(shown: Mapping[str, Any]) -> bool:
    sgd, momentum = _of(shown, "sgd"), _of(shown, "momentum")
    return bool(sgd and momentum) and 100 * momentum[0]["last"] <= sgd[0]["last"] < 1


def _differ_ten_times(path: Mapping[str, Any]) -> bool:
    rates = path["at"].get("effective")
    if rates is None or len(rates) < 2:
        return False
    low, high = sorted(map(float, rates))
    return low > 0 and high >= 10 * low


def _lowest_end(shown: Mapping[str, Any]) -> float:
    return min((path["last"] for path in shown["paths"]), default=0.0)


def _largest_gap(shown: Mapping[str, Any]) -> float:
    """Return how far the two conventions of a rule are apart, at most."""
    gaps = [0.0]
    for first, second in itertools.pairwise(shown["paths"]):
        if first["rule"] == second["rule"]:
            both = min(len(first["path"]), len(second["path"]))
            gaps.append(float((first["path"][:both] - second["path"][:both]).abs().max()))
    return max(gaps)


def _start(settings: DescentSettings, surface: Surface) -> tuple[float, ...]:
    given = settings.start if settings.start is not None else surface.start
    return given if given is not None else tuple(start_point(surface).tolist())


def _shell_line(settings: DescentSettings) -> str:
    """Return commands that print the paths, one for all rules that share a learning rate and a convention."""
    groups: dict[tuple[float, str], list[str]] = {}
    for rule, convention in _racers(settings):
        groups.setdefault((_lr(settings, rule), convention), []).append(rule)
    surface = _surface(settings)
    where: list[object] = ["--start", *_start(settings, surface), "--steps", settings.steps]
    where += [] if settings.noise is None else ["--noise", settings.noise]
    where += ["--seed", settings.seed] if surface.noise and settings.seed else []
    lines = []
    for (lr, convention), rules in groups.items():
        words: dict[str, Any] = {}
        for rule in rules:
            words |= _options(settings, rule, convention)
        given = [
            word
            for name, value in words.items()
            if name not in ("lr", "convention")
            for word in (f"--{_WORDS.get(name, name).replace('_', '-')}", value)
        ]
        given += ["--convention", convention] if convention != "d2l" else []
        lines.append(
            command("surface", settings.surface.strip(), "--optimizer", *rules, "--lr", lr, *given, *where, "--json")
        )
    return " && ".join(lines)


def _program(settings: DescentSettings) -> str:
    surface = _surface(settings)
    lines = ["import torch", "", "from twofold.landscape import find_surface, hessian_eigenvalues, trace", ""]
    lines += [f"surface = find_surface({settings.surface.strip()!r})"]
    if settings.noise is not None:
        lines.insert(0, "from dataclasses import replace\n")
        lines += [f"surface = replace(surface, noise={settings.noise})"]
    start = _start(settings, surface)
    lines += [f"start, steps = {start}, {settings.steps}", "walks = ["]
    seed = f", seed={settings.seed}" if surface.noise and settings.seed else ""
    for rule, convention in _racers(settings):
        given = ", ".join(f"{name}={value!r}" for name, value in _options(settings, rule, convention).items())
        lines += [f"    trace(surface, {rule!r}, start, steps{seed}, {given}),"]
    lines += ["]", "for walk in walks:", "    print(walk.optimizer, walk.values[-1].item(), walk.verdict)"]
    look = settings.look if settings.look is not None and len(settings.look) == surface.dimension else start
    lines += [f"bends = hessian_eigenvalues(surface, torch.tensor({list(look)}))", "print(bends)"]
    return "\n".join(lines)
