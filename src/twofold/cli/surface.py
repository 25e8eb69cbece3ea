"""`twofold surface NAME|FORMULA`: optimizers on a surface, as a figure, an animation and a table."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from twofold.cli.parse import FIGURES, parse, say_written, write_figure
from twofold.cli.settings import settings_form
from twofold.errors import TwofoldError, check_known
from twofold.landscape.surfaces import SURFACES, Surface, check_box, find_surface
from twofold.terminal import loading, print_json, print_table, say

if TYPE_CHECKING:
    from twofold.landscape.tracing import Trace

# The settings that each rule takes; a test compares them with the rules themselves, which need torch.
_EVERY = ("lr", "weight_decay")
SETTINGS: dict[str, tuple[str, ...]] = {
    "sgd": _EVERY,
    "momentum": (*_EVERY, "momentum"),
    "nesterov": (*_EVERY, "momentum"),
    "adagrad": (*_EVERY, "epsilon"),
    "rmsprop": (*_EVERY, "gamma", "epsilon"),
    "adadelta": (*_EVERY, "rho", "epsilon"),
    "adam": (*_EVERY, "beta1", "beta2", "epsilon"),
    "adamw": (*_EVERY, "beta1", "beta2", "epsilon"),
}


@dataclasses.dataclass(kw_only=True)
class _SurfaceArguments:
    """Let optimizers walk down a surface: prints where each one ends, and draws their paths."""

    FIGURES = (*FIGURES, ".gif")

    surface: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FORMULA")] = None
    """A surface (see --list), or a formula in x, or in x and y, such as "x**2 + 2*y**2 + sin(x*y)"."""
    list: bool = False
    """List the surfaces, and what a formula may use."""
    optimizer: tuple[str, ...] = ("sgd",)
    """One or several of sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam and adamw."""
    lr: tuple[float, ...] | None = None
    """Learning rate, or several for a path each; a good one is searched for if left out."""
    momentum: float | None = None
    """Momentum, for momentum and nesterov."""
    convention: Literal["d2l", "torch"] = "d2l"
    start: tuple[float, ...] | None = None
    """Where to start, a number for each coordinate; the surface's own start if left out."""
    steps: int | None = None
    """Number of steps; the surface's own, 20 for a formula, if left out."""
    noise: float | None = None
    """Standard deviation of what is added to each coordinate of the gradient, drawn anew each step."""
    seed: int | None = None
    """Seed of the noise."""
    figure: Path | None = None
    """The figure to write, .png, .svg, .pdf, or .gif for an animation; surface-NAME.png here if left out."""
    view: tuple[float, ...] | None = None
    """The part to draw, lowest and highest x, then y; what holds the paths if left out."""
    json: bool = False
    """Print one JSON object a path, with all its points and states; draws only with --figure."""
    lab: bool = False
    """Open the lab of descent with these settings, instead of printing and drawing."""


def arguments_form() -> type[_SurfaceArguments]:
    names = {name for settings in SETTINGS.values() for name in settings} - {"lr", "momentum"}
    return settings_form("SurfaceArguments", _SurfaceArguments, None, names)


def run(arguments: Sequence[str]) -> int:
    # A formula that begins with a minus gets a space before it, so that it is not taken for an option.
    is_formula = re.compile(r"-(?!-)(?!h$)(?![\d.]+(e[-+]?\d+)?$)").match
    guarded = [f" {argument}" if is_formula(argument) else argument for argument in arguments]
    parsed: Any = parse(arguments_form(), guarded, verb="surface")
    if parsed.list:
        _print_list()
        return 0
    if parsed.surface is None:
        raise TwofoldError("say which surface: NAME or a formula such as 'x**2 + 2*y**2'; twofold surface --list")
    surface = _surface(parsed.surface.strip(), parsed)
    given = _settings(parsed)
    view = None
    if parsed.view is not None:
        if len(parsed.view) != 2 * surface.dimension:
            wanted = 2 * surface.dimension
            raise TwofoldError(f"--view takes {wanted} numbers on {surface.name}, got {len(parsed.view)}")
        view = tuple(zip(parsed.view[::2], parsed.view[1::2], strict=True))
        check_box("--view", view)
    if parsed.lab:
        from twofold.cli.lab import open_lab
        from twofold.labs.given import NOTHING

        return open_lab("descent", _lab_words(surface, parsed, given), NOTHING)
    figure = parsed.figure
    if figure is None and not parsed.json:
        figure = Path(f"surface-{surface.name if surface.name in SURFACES else 'formula'}.png")
    traces = _traces(surface, parsed, given)
    if parsed.json:
        print_json(*map(_record, traces))
    else:
        _print_table(traces)
    if figure is not None:
        from twofold.figures.trace import draw_traces, save_animation

        if figure.suffix.lower() == ".gif":
            save_animation(traces, figure, view=view)
            say_written(figure)
        else:
            write_figure(draw_traces(traces, view=view), figure)
    return 0


def _surface(text: str, parsed: Any) -> Surface:
    surface = find_surface(text)
    if parsed.noise is not None:
        surface = dataclasses.replace(surface, noise=parsed.noise)
    if parsed.seed is not None and not surface.noise:
        raise TwofoldError(f"--seed decides the noise, and {text} has none; leave it out, or give --noise")
    if parsed.start is not None and len(parsed.start) != surface.dimension:
        wanted = "one number" if surface.dimension == 1 else "two numbers"
        raise TwofoldError(f"--start takes {wanted} on {text}, got {len(parsed.start)}")
    return surface


def _settings(parsed: Any) -> dict[str, Any]:
    """The settings that were given, each of which some optimizer must take."""
    if not parsed.optimizer:
        raise TwofoldError(f"--optimizer takes one or several of {', '.join(SETTINGS)}")
    for name in parsed.optimizer:
        check_known("optimizer", name, SETTINGS)
    if parsed.lr is not None and not parsed.lr:
        raise TwofoldError("--lr takes one or several numbers, got none")
    names = {name for rule in SETTINGS.values() for name in rule}
    given = {name: getattr(parsed, name) for name in sorted(names) if getattr(parsed, name) is not None}
    for name in given:
        takers = [rule for rule, known in SETTINGS.items() if name in known]
        if not set(takers) & set(parsed.optimizer):
            flag, ours = f"--{name.replace('_', '-')}", ", ".join(parsed.optimizer)
            raise TwofoldError(f"{flag} is for {', '.join(takers)}, not for {ours}; leave it out")
    return given


def _traces(surface: Surface, parsed: Any, given: dict[str, Any]) -> list[Trace]:
    with loading("torch"):
        from twofold.landscape.tracing import start_point, trace

        start_point(surface, parsed.start)
    where = _where(parsed)
    return [trace(surface, rule, **where, show=True, **settings) for rule, settings in _walks(surface, parsed, given)]


def _where(parsed: Any) -> dict[str, Any]:
    return {"start": parsed.start, "steps": parsed.steps, "seed": parsed.seed or 0}


def _walks(surface: Surface, parsed: Any, given: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each optimizer with its settings, a learning rate that is searched for among them."""
    from twofold.figures.trace import MOST_PATHS
    from twofold.landscape.tracing import suggest_settings

    pairs = [(rule, lr) for rule in dict.fromkeys(parsed.optimizer) for lr in dict.fromkeys(parsed.lr or (None,))]
    if len(pairs) > MOST_PATHS:
        remedy = "give fewer --optimizer or --lr"
        raise TwofoldError(f"a figure has room for {MOST_PATHS} paths, got {len(pairs)}; {remedy}")
    walks = []
    for rule, lr in pairs:
        settings: dict[str, Any] = {name: given[name] for name in SETTINGS[rule] if name in given and name != "lr"}
        settings["convention"] = parsed.convention
        if "epsilon" in settings:
            settings["eps"] = settings.pop("epsilon")
        if lr is not None:
            settings["lr"] = lr
        walks.append((rule, suggest_settings(surface, rule, **_where(parsed), show=True, **settings)))
    return walks


def _lab_words(surface: Surface, parsed: Any, given: dict[str, Any]) -> list[str]:
    """The settings as the lab of descent takes them, those that the surface has of its own spelled out."""
    if parsed.json or parsed.figure is not None:
        raise TwofoldError("--lab goes without --json and --figure: the lab draws, and has the command for the numbers")
    if parsed.lr is not None and len(set(parsed.lr)) > 1:
        raise TwofoldError("--lab takes one --lr: in the lab each optimizer has one, and they can be changed there")
    with loading("torch"):
        from twofold.landscape.tracing import start_point

        start = start_point(surface, parsed.start).tolist()
    walks = dict(_walks(surface, parsed, given))
    values: dict[str, Any] = {
        "surface": parsed.surface.strip(),
        "rules": list(walks),
        "lr": {rule: settings["lr"] for rule, settings in walks.items()},
        "convention": parsed.convention,
        "start": start,
        "steps": surface.steps if parsed.steps is None else parsed.steps,
    }
    momenta = [settings["momentum"] for settings in walks.values() if "momentum" in settings]
    values |= {"momentum": momenta[0]} if momenta else {}
    values |= {name: value for name, value in given.items() if name not in ("lr", "momentum")}
    values |= {name: getattr(parsed, name) for name in ("view", "noise", "seed") if getattr(parsed, name) is not None}
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


def _print_list() -> None:
    from twofold.landscape.expression import ALLOWED

    for surface in SURFACES.values():
        minima = ", ".join(_point(minimum.point) for minimum in surface.minima) or "none"
        print(f"{surface.name}: {surface.formula}")
        where = f"{surface.steps} steps from {_point(surface.start or ())}; minima: {minima}; {surface.source}"
        print(textwrap.fill(where, 80, initial_indent="    ", subsequent_indent="    "))
    print(textwrap.fill(f"or a formula of your own: {ALLOWED}", 80))


def _print_table(traces: list[Trace]) -> None:
    from twofold.figures.trace import describe

    surface = traces[0].surface
    name = surface.formula if surface.name == surface.formula else f"{surface.name}: {surface.formula}"
    most = max(trace.num_steps for trace in traces)
    rows = []
    for trace in traces:
        nearest = trace.nearest_minimum()
        distance = f"{nearest[1]:.3g}" if nearest else "none known"
        bends, kind = _hessian(trace)
        hessian = f"{', '.join(f'{bend:.3g}' for bend in bends)} {kind}" if bends else "not finite"
        end = (_point(trace.last.tolist()), f"{float(trace.values[-1]):.3g}", distance)
        rows.append((describe(trace, end=False), *end, trace.verdict, hessian))
    columns = ("path…", ">last point", ">value", ">to minimum", "verdict", "Hessian…")
    say(name)
    title = f"from {_point(traces[0].path[0].tolist())}, {most:,} step{'s' * (most != 1)}"
    caption = "Hessian: its eigenvalues at the last point, and what that would be if the gradient were zero"
    print_table(columns, rows, title=title, caption=caption)


def _hessian(trace: Trace) -> tuple[list[float], str]:
    """The Hessian's eigenvalues at the last point, smallest first, and what a point with them is."""
    from twofold.landscape.hessian import classify_point, hessian_eigenvalues

    try:
        bends = hessian_eigenvalues(trace.surface, trace.last)
    except TwofoldError:
        return [], ""
    return bends.tolist(), classify_point(bends)


def _record(trace: Trace) -> dict[str, Any]:
    nearest = trace.nearest_minimum()
    bends, kind = _hessian(trace)
    effective = [[None if math.isnan(rate) else rate for rate in rates] for rates in trace.effective_rates.tolist()]
    return {
        "surface": trace.surface.name,
        "formula": trace.surface.formula,
        "optimizer": trace.optimizer,
        "settings": trace.settings,
        "steps": trace.num_steps,
        "verdict": trace.verdict,
        "ended_at": trace.ended_at,
        **{name: getattr(trace, name).tolist() for name in ("path", "values", "gradients", "learning_rates")},
        "effective_rates": effective,
        "state": {name: rows.tolist() for name, rows in trace.state.items()},
        "nearest_minimum": None if nearest is None else list(nearest[0].point),
        "distance": None if nearest is None else nearest[1],
        "hessian": {"eigenvalues": bends, "verdict": kind} if bends else None,
    }


def _point(point: Sequence[float]) -> str:
    return f"({', '.join(f'{coordinate:.4g}' for coordinate in point)})"
