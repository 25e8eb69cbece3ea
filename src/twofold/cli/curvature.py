"""`twofold curvature [MODEL | RUN]`: the extreme eigenvalues of the loss's Hessian, over a training or at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from twofold.cli.parse import check_least, parse, say_written, typed
from twofold.errors import TwofoldError, check_known
from twofold.models.registry import MODELS, check_model_options
from twofold.terminal import loading, note, print_json, print_table, track

if TYPE_CHECKING:
    from twofold.landscape.hessian import Extremes
    from twofold.study.curvature import CurvaturePoint


@dataclasses.dataclass(kw_only=True)
class CurvatureArguments:
    """Watch how the loss bends: train a network by gradient descent on a few images, or take a run's weights.

    Prints the largest and the smallest eigenvalue of the loss's Hessian beside the loss. On a quadratic, gradient
    descent diverges where the largest exceeds 2(1 + momentum) / lr.
    """

    what: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN")] = None
    """A network to train (see `twofold models`), or a run folder to measure; lenet-bn of half its width if left out."""
    data: str | None = None
    """A named data set or a folder of images to train on; fashion-mini if left out."""
    model_options: dict[str, str] = dataclasses.field(default_factory=dict)
    skip_broken: bool = False
    images: int = 256
    """Training images to use, drawn at random."""
    batch_size: int | None = None
    """Images in a batch; all of them at once if left out."""
    lr: float | None = None
    """Learning rate; 0.05 if left out."""
    momentum: float | None = None
    """Momentum; none if left out."""
    steps: int | None = None
    """Steps of training; 200 if left out."""
    every: int | None = None
    """Steps from one measurement to the next; 10 if left out."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    figure: Path | None = None
    json: bool = False


# What is trained where no network is named: small enough for a minute.
_MODEL, _OPTIONS = "lenet-bn", {"width": 0.5}
# What only a training has.
_OF_TRAINING = ("data", "model_options", "batch_size", "lr", "momentum", "steps", "every", "figure")


def run(arguments: Sequence[str]) -> int:
    parsed = parse(CurvatureArguments, arguments, verb="curvature")
    check_least(1, images=parsed.images)
    check_least(0, seed=parsed.seed)
    if parsed.what is not None and parsed.what not in MODELS and ("/" in parsed.what or Path(parsed.what).exists()):
        return _measure_run(parsed, Path(parsed.what))
    return _watch(parsed)


def _measure_run(parsed: CurvatureArguments, folder: Path) -> int:
    for flag in (f"--{name.replace('_', '-')}" for name in _OF_TRAINING if getattr(parsed, name)):
        raise TwofoldError(f"{flag} belongs to a training, and {folder} is a run; leave {flag} out")
    with loading("torch"):
        from twofold.study.curvature import measure_run

    point = measure_run(
        folder,
        num_images=parsed.images,
        seed=parsed.seed,
        device=parsed.device,
        skip_broken=parsed.skip_broken,
        show=not parsed.json,
    )
    found = point.extremes
    if parsed.json:
        print_json(_record(point))
        return 0
    print(f"largest eigenvalue   {found.largest:.4g} ± {_error(found.largest_error, found)}")
    print(f"smallest eigenvalue  {found.smallest:.4g} ± {_error(found.smallest_error, found)}")
    print(f"loss {point.loss:.4f}, accuracy {point.accuracy:.4f} on {parsed.images:,} of its training images")
    if found.largest > 0:
        bound = f"{2 / found.largest:.3g}, 2/largest"
        note(f"on a quadratic of this curvature, gradient descent is stable below a learning rate of {bound}")
    return 0


def _watch(parsed: CurvatureArguments) -> int:
    model = check_known("model", _MODEL if parsed.what is None else parsed.what, MODELS)
    options: dict[str, Any] = {name: typed(value) for name, value in parsed.model_options.items()}
    if parsed.what is None:
        options = {**_OPTIONS, **options}
    check_model_options(model, options)
    given = {name: getattr(parsed, name) for name in ("data", "batch_size", "lr", "momentum", "steps", "every")}
    given = {name: value for name, value in given.items() if value is not None}
    with loading("torch"):
        from twofold.study.curvature import CurvatureSettings, watch_curvature

    given |= {
        "num_images": parsed.images,
        **{name: getattr(parsed, name) for name in ("seed", "device", "skip_broken")},
    }
    settings = CurvatureSettings(model=model, model_options=options, **given)
    if not parsed.json:
        note(f"{settings.steps:,} steps, and {len(settings.measured_steps):,} measurements of two eigenvalues each")
    points, rows = [], []
    watched = watch_curvature(settings, show=not parsed.json)
    for point in track(watched, total=len(settings.measured_steps), label="measuring curvature"):
        points.append(point)
        if parsed.json:
            print_json(_record(point))
        found = point.extremes
        smallest = (f"{found.smallest:.4g}", _error(found.smallest_error, found))
        largest = (f"{found.largest:.4g}", _error(found.largest_error, found), f"{found.largest / settings.edge:.2f}")
        fit = (f"{point.loss:.4f}", f"{point.accuracy:.3f}")
        rows.append((str(point.step), *fit, *smallest, *largest, str(found.num_products)))
    own = "".join(f" {name}={value}" for name, value in options.items())
    batches = "all at once" if settings.batch_size is None else f"in batches of {settings.batch_size}"
    momentum = f", momentum γ = {settings.momentum:g}" if settings.momentum else ""
    title = f"{model}{own} on {settings.num_images} images of {settings.data}, {batches}, η = {settings.lr:g}{momentum}"
    edge_name = "2(1 + γ)/η" if settings.momentum else "2/η"
    if not parsed.json:
        columns = (">step", ">loss", ">accuracy", ">smallest", ">±", ">largest", ">±", ">of the edge", ">products")
        caption = f"edge of stability on a quadratic: {settings.edge:.4g}, which is {edge_name}"
        print_table(columns, rows, title=title, caption=caption)
    last = points[-1].step if points else 0
    if last < settings.steps:
        note(f"diverged after step {last}: loss or gradient is no longer finite; try --lr {settings.lr / 10:g}")
    if parsed.figure is not None and points:
        from twofold.figures.curvature import draw_curvature

        steps, losses, extremes = ([getattr(point, name) for point in points] for name in ("step", "loss", "extremes"))
        draw_curvature(steps, losses, extremes, settings.edge, parsed.figure, title=title, edge_name=edge_name)
        say_written(parsed.figure)
    return 0


def _error(bound: float, found: Extremes) -> str:
    """The error as shown: the bound of the method, but no less than float32 leaves uncertain."""
    return f"{max(bound, 1e-4 * max(abs(found.smallest), abs(found.largest))):.1g}"


def _record(point: CurvaturePoint) -> dict[str, Any]:
    return {"step": point.step, "loss": point.loss, "accuracy": point.accuracy, **dataclasses.asdict(point.extremes)}
