"""`twofold surface NAME|FORMULA`: optimisers on a surface, as a picture, an animation and a table."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from twofold.cli.parse import FIGURES, check_figure, parse
from twofold.errors import TwofoldError, check_known
from twofold.landscape.surfaces import SURFACES, Box, Surface, check_box, find_surface
from twofold.terminal import loading, note, output

if TYPE_CHECKING:
    from twofold.landscape.trace import Trace

# What each rule can be told; a test compares it with the rules themselves, which need torch.
_EVERY = ("lr", "weight_decay")
SETTINGS: dict[str, tuple[str, ...]] = {
    "sgd": _EVERY,
    "momentum": (*_EVERY, "momentum"),
    "nesterov": (*_EVERY, "momentum"),
    "adagrad": (*_EVERY, "eps"),
    "rmsprop": (*_EVERY, "gamma", "eps"),
    "adadelta": (*_EVERY, "rho", "eps"),
    "adam": (*_EVERY, "beta1", "beta2", "eps"),
    "adamw": (*_EVERY, "beta1", "beta2", "eps"),
}


@dataclasses.dataclass(kw_only=True)
class SurfaceArguments:
    """Let optimisers walk down a surface: prints where each one ends, and draws their paths."""

    surface: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FORMULA")] = None
    """A surface (see --list), or a formula in x, or in x and y, such as "x**2 + 2*y**2 + sin(x*y)"."""
    list: bool = False
    """List the surfaces, and what a formula may use."""
    optimizer: tuple[str, ...] = ("sgd",)
    """One or several of sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam, adamw."""
    lr: tuple[float, ...] | None = None
    """Learning rate; several draw a path each. If left out: the notes', or the best of some that are tried."""
    momentum: float | None = None
    """Share γ of the velocity that is kept (momentum, nesterov)."""
    gamma: float | None = None
    """Share γ of the average of squares that is kept (rmsprop)."""
    rho: float | None = None
    """Share ρ of the averages that is kept (adadelta)."""
    beta1: float | None = None
    """Share of the average of gradients that is kept (adam, adamw)."""
    beta2: float | None = None
    """Share of the average of squares that is kept (adam, adamw)."""
    eps: float | None = None
    """What keeps the division finite, ε."""
    weight_decay: float | None = None
    """Weight decay λ."""
    convention: Literal["d2l", "torch"] = "d2l"
    """Whose way to write the rules; `twofold show momentum` shows the difference."""
    start: tuple[float, ...] | None = None
    """Where to start, one number a coordinate; the surface's own start if left out."""
    steps: int | None = None
    """How many steps to take; the surface's own number, 20 for formulas, if left out."""
    noise: float | None = None
    """Standard deviation of what is added to each coordinate of the gradient, anew each step."""
    seed: int | None = None
    """Decides the noise; 0 if left out."""
    figure: Path | None = None
    """The picture to write (.png, .svg, .pdf, or .gif for an animation); surface-NAME.png here if left out."""
    view: tuple[float, ...] | None = None
    """The part to draw: lowest and highest x, then y; holds the paths if left out."""
    json: bool = False
    """Print one JSON object a path, with all its points and states; draws only with --figure."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold surface`."""
    parsed = parse(SurfaceArguments, [_guarded(argument) for argument in arguments], verb="surface")
    if parsed.list:
        _print_list()
        return 0
    if parsed.surface is None:
        raise TwofoldError("say which surface: NAME or a formula such as 'x**2 + 2*y**2'; twofold surface --list")
    surface = _surface(parsed.surface.strip(), parsed)
    given = _settings(parsed)
    view = _view(parsed.view, surface)
    figure = parsed.figure
    if figure is None and not parsed.json:
        figure = Path(f"surface-{surface.name if surface.name in SURFACES else 'formula'}.png")
    if figure is not None and figure.suffix.lower() != ".gif":
        if figure.suffix.lower() not in FIGURES:
            raise TwofoldError(f"--figure must end in {', '.join((*FIGURES, '.gif'))}, got {figure}")
        check_figure("--figure", figure)
    elif figure is not None and not figure.parent.is_dir():
        raise TwofoldError(f"--figure is {figure}, but there is no folder {figure.parent}")
    traces = _traces(surface, parsed, given)
    if parsed.json:
        for one in traces:
            print(json.dumps(_record(one), ensure_ascii=False))
    else:
        output().print(_table(traces))
    if figure is not None:
        _draw(traces, figure, view)
        note(f"wrote {figure}")
    return 0


def _guarded(argument: str) -> str:
    """Return a formula that begins with a minus with a space before it, so that it is not taken for an option."""
    is_number = re.fullmatch(r"-[\d.]+(e[-+]?\d+)?", argument)
    is_formula = re.match(r"-(?!-)(?!h$)", argument) and not is_number
    return f" {argument}" if is_formula else argument


def _surface(text: str, parsed: SurfaceArguments) -> Surface:
    surface = find_surface(text)
    if parsed.noise is not None:
        surface = dataclasses.replace(surface, noise=parsed.noise)
    if parsed.seed is not None and not surface.noise:
        raise TwofoldError(f"--seed decides the noise, and {text} has none; leave it out, or give --noise")
    if parsed.start is not None and len(parsed.start) != surface.dimension:
        wanted = "one number" if surface.dimension == 1 else "two numbers"
        raise TwofoldError(f"--start takes {wanted} on {text}, got {len(parsed.start)}")
    return surface


def _settings(parsed: SurfaceArguments) -> dict[str, Any]:
    """Return the settings that were given, each of which some optimiser must take."""
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
            raise TwofoldError(
                f"--{name.replace('_', '-')} is for {', '.join(takers)}, not for {', '.join(parsed.optimizer)}; "
                "leave it out"
            )
    return given


def _view(numbers: tuple[float, ...] | None, surface: Surface) -> Box | None:
    if numbers is None:
        return None
    if len(numbers) != 2 * surface.dimension:
        raise TwofoldError(f"--view takes {2 * surface.dimension} numbers on {surface.name}, got {len(numbers)}")
    box = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    check_box("--view", box)
    return box


def _traces(surface: Surface, parsed: SurfaceArguments, given: dict[str, Any]) -> list[Trace]:
    with loading("torch"):
        from twofold.figures.trace import MOST_PATHS
        from twofold.landscape.trace import start_point, suggest_settings, trace

        start_point(surface, parsed.start)
    rates = parsed.lr or (None,)
    pairs = [(rule, lr) for rule in dict.fromkeys(parsed.optimizer) for lr in dict.fromkeys(rates)]
    if len(pairs) > MOST_PATHS:
        raise TwofoldError(
            f"a picture has room for {MOST_PATHS} paths, got {len(pairs)}; give fewer --optimizer or --lr"
        )
    traces = []
    for rule, lr in pairs:
        settings: dict[str, Any] = {name: given[name] for name in SETTINGS[rule] if name in given and name != "lr"}
        settings["convention"] = parsed.convention
        if lr is not None:
            settings["lr"] = lr
        where: dict[str, Any] = {"start": parsed.start, "steps": parsed.steps, "seed": parsed.seed or 0, "show": True}
        settings = suggest_settings(surface, rule, **where, **settings)
        traces.append(trace(surface, rule, **where, **settings))
    return traces


def _draw(traces: list[Trace], figure: Path, view: Box | None) -> None:
    from twofold.figures.drawing import save_picture
    from twofold.figures.trace import draw_traces, save_animation

    if figure.suffix.lower() == ".gif":
        save_animation(traces, figure, view=view)
    else:
        save_picture(draw_traces(traces, view=view), figure)


def _print_list() -> None:
    from rich.table import Table

    from twofold.landscape.expression import ALLOWED

    table = Table(caption=f"or a formula of your own: {ALLOWED}", caption_justify="left")
    for column in ("surface", "formula", "start", "steps", "minima", "what it shows"):
        table.add_column(column, overflow="fold", justify="right" if column == "steps" else "left")
    for surface in SURFACES.values():
        minima = " ".join(_point(one.point) for one in surface.minima) or "none"
        start = _point(surface.start or ())
        table.add_row(surface.name, surface.formula, start, str(surface.steps), minima, surface.source)
    output().print(table)


def _table(traces: list[Trace]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    surface = traces[0].surface
    name = surface.formula if surface.name == surface.formula else f"{surface.name}: {surface.formula}"
    start = _point(traces[0].path[0].tolist())
    most = max(one.num_steps for one in traces)
    title = f"{name}\nfrom {start}, {most:,} step{'s' * (most != 1)}"
    caption = "Hessian: its eigenvalues at the last point, and what that would be without slope"
    table = Table(
        title=title, title_justify="left", title_style="", caption=caption, caption_justify="left", box=SIMPLE_HEAD
    )
    table.add_column("path", overflow="fold")
    for column, right in (("last point", True), ("value", True), ("to minimum", True), ("verdict", False)):
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    table.add_column("Hessian", overflow="fold")
    for one in traces:
        nearest = one.nearest_minimum()
        bends, kind = _hessian(one)
        table.add_row(
            _describe(one),
            _point(one.last.tolist()),
            f"{float(one.values[-1]):.3g}",
            f"{nearest[1]:.3g}" if nearest else "none known",
            one.verdict,
            f"{', '.join(f'{bend:.3g}' for bend in bends)} {kind}" if bends else "not finite",
        )
    return table


def _describe(one: Trace) -> str:
    from twofold.figures.trace import describe

    return describe(one, end=False)


def _hessian(one: Trace) -> tuple[list[float], str]:
    """Return the Hessian's eigenvalues at the last point, smallest first, and what a point with them is."""
    from twofold.landscape.hessian import classify_point, hessian_eigenvalues

    try:
        bends = hessian_eigenvalues(one.surface, one.last)
    except TwofoldError:
        return [], ""
    return bends.tolist(), classify_point(bends)


def _record(one: Trace) -> dict[str, Any]:
    nearest = one.nearest_minimum()
    bends, kind = _hessian(one)
    return {
        "surface": one.surface.name,
        "formula": one.surface.formula,
        "optimizer": one.optimizer,
        "settings": one.settings,
        "steps": one.num_steps,
        "verdict": one.verdict,
        "ended_at": one.ended_at,
        "path": one.path.tolist(),
        "values": one.values.tolist(),
        "gradients": one.gradients.tolist(),
        "learning_rates": one.learning_rates.tolist(),
        "effective_rates": [
            [None if math.isnan(rate) else rate for rate in rates] for rates in one.effective_rates.tolist()
        ],
        "state": {name: rows.tolist() for name, rows in one.state.items()},
        "nearest_minimum": None if nearest is None else list(nearest[0].point),
        "distance": None if nearest is None else nearest[1],
        "hessian": {"eigenvalues": bends, "verdict": kind} if bends else None,
    }


def _point(point: Sequence[float]) -> str:
    return f"({', '.join(f'{coordinate:.4g}' for coordinate in point)})"
