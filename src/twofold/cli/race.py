"""`twofold race`: update rules compared on a real network, fairly, with a page at the end."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.study.race import (
    DEFAULT_OPTIMIZERS,
    RaceFolder,
    RaceSettings,
    check_name,
    cores,
    require_optuna,
)
from twofold.terminal import loading, note, output

if TYPE_CHECKING:
    from twofold.study.race import Standing

# What does not decide the result, and so may be given anew with --resume.
_NOT_SETTINGS = {"resume", "jobs", "quiet"}


@dataclasses.dataclass(kw_only=True)
class RaceArguments:
    """Compare update rules on a real network: the same initial weights and batches, a search for each one's learning
    rate with the same budget, several seeds, and a page with curves and a verdict.
    """

    optimizers: str = ",".join(DEFAULT_OPTIMIZERS)
    """Update rules, with commas between: sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam, adamw."""
    model: str = "lenet"
    """The network: see `twofold models`."""
    data: str = "fashion-mini"
    """A named data set, or a folder of images."""
    seeds: int = 3
    """Runs a rule, each from other initial weights."""
    epochs: int = 10
    """Passes over the training images in a run."""
    trials: int = 8
    """Learning rates to try for each rule."""
    trial_epochs: int = 4
    """Epochs of a trial."""
    decades: float = 3.0
    """Width of the search in powers of ten, around each rule's usual learning rate."""
    batch_size: int = 64
    """Images in a batch."""
    schedule: str = "constant"
    """How the learning rate moves, in trials and runs."""
    augment: str = "none"
    """Augmentation of the training images."""
    image_size: int | None = None
    """Side of the images in px; their own if left out."""
    val_fraction: float = 0.1
    """Share of the training images held out for the search."""
    seed: int = 0
    """Seed of the first run; the others follow."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the arithmetic."""
    jobs: int | None = None
    """Processes that work at the same time; 1 if left out. Results are the same bit for bit with the same --threads."""
    threads: int | None = None
    """Threads of each process; the cores shared out evenly if left out."""
    out: Path = Path("runs")
    """Where the folder of the race is made."""
    name: str | None = None
    """The folder's name; made from time, network and data if left out."""
    resume: Path | None = None
    """Go on with the race in this folder instead of starting one."""
    quiet: bool = False
    """Print results and errors only."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold race`."""
    parsed = parse(RaceArguments, arguments, verb="race")
    if parsed.jobs is not None and parsed.jobs < 1:
        raise TwofoldError(f"--jobs must be 1 or more, got {parsed.jobs}")
    if parsed.resume is not None:
        given = {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}
        if kept := sorted(given & {one.name for one in dataclasses.fields(RaceArguments)} - _NOT_SETTINGS):
            raise TwofoldError(f"--resume keeps the settings of its race; leave --{kept[0].replace('_', '-')} out")
        RaceFolder.open(parsed.resume)
    settings = settings_of(parsed)
    if parsed.resume is None:
        check_name(parsed.out, parsed.name)
    require_optuna()
    with loading("torch"):
        from twofold.study.race_run import resume_race, start_race

    show = not parsed.quiet
    if parsed.resume is not None:
        race = resume_race(parsed.resume, jobs=parsed.jobs, show=show)
    else:
        race = start_race(settings, out=parsed.out, name=parsed.name, jobs=parsed.jobs or 1, show=show)
    output().print(table(race.table))
    for sentence in race.verdict:
        print(sentence)
    if show:
        note(f"look at  {shlex.quote(str(race.page))}")
    print(race.folder)
    return 0


def settings_of(parsed: RaceArguments) -> RaceSettings:
    """Return the settings that the arguments spell out.

    Raises:
        TwofoldError: one cannot be used.
    """
    given: dict[str, Any] = {
        one.name: getattr(parsed, one.name) for one in dataclasses.fields(RaceSettings) if hasattr(parsed, one.name)
    }
    given["optimizers"] = tuple(name.strip() for name in parsed.optimizers.split(",") if name.strip())
    given["threads"] = max(1, cores() // (parsed.jobs or 1)) if parsed.threads is None else parsed.threads
    return RaceSettings(**given)


def table(rows: Sequence[Standing]) -> Any:
    """Return the result as a table for a terminal."""
    from rich.table import Table

    made = Table()
    made.add_column("", justify="right")
    made.add_column("rule", no_wrap=True)
    for column in ("accuracy", "lowest", "highest", "learning rate", "seconds a run"):
        made.add_column(column, justify="right", no_wrap=True)
    made.add_column("against the first")
    words = {"first": "", "behind": "behind", "overlaps": "not told apart", "unknown": "one run: no spread"}
    for row in rows:
        known = row.mean is not None
        made.add_row(
            str(row.place),
            row.optimizer,
            f"{row.mean:.4f}" if known else "–",
            f"{min(row.accuracies):.4f}" if known else "–",
            f"{max(row.accuracies):.4f}" if known else "–",
            f"{row.lr:.3g}" if row.lr is not None else "–",
            f"{row.seconds:.1f}" if row.seconds is not None else "–",
            words.get(row.relation, "diverged"),
        )
    return made
