"""`twofold race`: update rules compared on a real network, fairly, with a page at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from twofold.cli.parse import check_least, parse
from twofold.cli.settings import column_names
from twofold.errors import TwofoldError
from twofold.files import check_new_folder
from twofold.study.race import CONTENDERS, DEFAULT_OPTIMIZERS, RaceFolder, RaceSettings, cores, require_optuna
from twofold.terminal import loading, note, print_table, quoted, say

# What does not decide the result, and so may be given anew with --resume.
_NOT_SETTINGS = {"resume", "jobs", "quiet", "skip_broken"}


@dataclasses.dataclass(kw_only=True)
class RaceArguments:
    """Compare update rules on a real network: the same initial weights and batches, a search for each one's learning
    rate with the same budget, several seeds, and a page with curves and a verdict.
    """

    optimizer: tuple[str, ...] = DEFAULT_OPTIMIZERS
    """Several of sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam and adamw."""
    model: str = "lenet"
    data: str = "fashion-mini"
    images: str | None = None
    columns: tuple[str, ...] = ()
    test_fraction: float = 0.0
    skip_broken: bool = False
    seeds: int = 3
    """Runs of each optimizer, each from other initial weights."""
    epochs: int = 10
    trials: int = 8
    """Learning rates that are tried for each optimizer."""
    trial_epochs: int = 4
    """Epochs of a trial."""
    decades: float = 3.0
    """Width of the search in powers of ten, around each optimizer's usual learning rate."""
    batch_size: int = 64
    schedule: str = "constant"
    """How the learning rate moves, in trials and runs: see twofold schedule."""
    augment: str = "none"
    image_size: int | None = None
    val_fraction: float = 0.1
    """Share of the training images held out for the search."""
    seed: int = 0
    """Seed of the first run; the others follow."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    jobs: int | None = None
    """Processes that train at the same time; 1 if left out."""
    threads: int | None = None
    """Threads of each process; the cores shared out evenly if left out."""
    out: Path = Path("runs")
    """Where the folder of the race is made."""
    name: str | None = None
    """Name of the folder; made from time, network and data if left out."""
    resume: Path | None = None
    """Go on with the race in this folder instead of starting one."""
    lab: bool = False
    """Open the lab of training with the network and the first optimizer, instead of racing."""
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(RaceArguments, arguments, verb="race")
    check_least(1, jobs=parsed.jobs)
    if parsed.lab:
        return _open_lab(parsed)
    if parsed.resume is not None:
        given = {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}
        if kept := sorted(given - _NOT_SETTINGS):
            raise TwofoldError(f"--resume keeps the settings of its race; leave --{kept[0].replace('_', '-')} out")
        RaceFolder.open(parsed.resume)
    settings = settings_of(parsed)
    if parsed.resume is None:
        check_new_folder(parsed.out, parsed.name)
    require_optuna()
    with loading("torch"):
        from twofold.study.race_run import race, resume_race

    show = not parsed.quiet
    if parsed.resume is not None:
        finished = resume_race(parsed.resume, jobs=parsed.jobs, skip_broken=parsed.skip_broken, show=show)
    else:
        num_rules = len(settings.optimizers)
        num_trials, num_runs = num_rules * settings.trials, num_rules * settings.seeds
        epochs = num_trials * settings.trial_epochs + num_runs * settings.epochs
        trials, runs = f"{settings.trials} x {settings.trial_epochs}", f"{settings.seeds} x {settings.epochs}"
        if show:
            each = f"{trials} to find a learning rate and {runs} to compare, for each of {num_rules} optimizers"
            note(f"{num_trials + num_runs} trainings, {epochs:,} epochs in all: {each}")
        finished = race(settings, out=parsed.out, name=parsed.name, jobs=parsed.jobs or 1, show=show)
    relations = {"first": "", "tied": "a tie", "behind": "behind", "overlaps": "ranges overlap"}
    relations["unknown"] = "one run only"
    rows = []
    for row in finished.table:
        mean = low_high = "–"
        if row.mean is not None:
            mean, low_high = f"{row.mean:.4f}", f"{min(row.accuracies):.4f}–{max(row.accuracies):.4f}"
        lr = "–" if row.lr is None else f"{row.lr:.3g}"
        seconds = "–" if row.seconds is None else f"{row.seconds:.1f}"
        relation = relations.get(row.relation, "diverged")
        rows.append((str(row.place), row.optimizer, mean, low_high, lr, seconds, relation))
    columns = (">", "optimizer", ">accuracy", ">range", ">learning rate", ">seconds", "against the first")
    print_table(columns, rows)
    for sentence in finished.verdict:
        say(sentence)
    if show:
        note(f"look at  {quoted(finished.page)}")
    say(str(finished.folder))
    return 0


def _open_lab(parsed: RaceArguments) -> int:
    from twofold.cli.train import open_training_lab

    if parsed.resume is not None:
        raise TwofoldError("the lab begins a run of its own; leave --lab or --resume out")
    settings = settings_of(parsed)
    first = settings.optimizers[0]
    note(f"the lab trains with one optimizer, {first}, which can be changed there; it searches no learning rate")
    recipe = settings.recipe(first, lr=CONTENDERS[first].usual_lr, seed=settings.seed, epochs=settings.epochs)
    return open_training_lab(recipe)


def settings_of(parsed: RaceArguments) -> RaceSettings:
    """Return the settings that the arguments spell out; raise TwofoldError where one cannot be used."""
    names = [field.name for field in dataclasses.fields(RaceSettings)]
    given: dict[str, Any] = {name: getattr(parsed, name) for name in names if hasattr(parsed, name)}
    given["optimizers"] = parsed.optimizer
    given["columns"] = column_names(parsed.columns)
    given["threads"] = max(1, cores() // (parsed.jobs or 1)) if parsed.threads is None else parsed.threads
    return RaceSettings(**given)
