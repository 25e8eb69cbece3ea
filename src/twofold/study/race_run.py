"""Carrying out a race: searches, then runs, each finished piece on the disk; then the table and the page.

A piece of work is a trial or a run, and each leaves one file when it is done. What was cut off between two files is
begun anew, from its seed, so a race that was stopped ends with the same results as one that was not. The search for a
learning rate (optuna's tree-structured Parzen estimator; Bergstra et al., 2011) is asked the same questions again and
given the answers on file, which brings it to where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from twofold.data.targets import ClassTargets
from twofold.engine.build import TrainingData
from twofold.engine.calls import takes
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder, now, software
from twofold.engine.stopping import StopRequest
from twofold.errors import RunError, TwofoldError
from twofold.files import check_new_folder, read_json, write_json
from twofold.keyed import torch_generator_seed
from twofold.records import RaceData, RaceEnvironment, RaceRecord
from twofold.study.progress import RaceProgress
from twofold.study.race import (
    RaceFolder,
    RaceSettings,
    Standing,
    chosen_lr,
    coarse_grid,
    require_optuna,
    standings,
    trial_value,
    verdict,
)
from twofold.study.race_page import write_race_page
from twofold.study.training import load_study_data, run_training, study_conditions
from twofold.study.workers import Workers
from twofold.terminal import command


@dataclass(frozen=True)
class Job:
    """A rule's whole search, whose trials follow from one another; or one of its runs."""

    kind: Literal["search", "run"]
    optimizer: str
    seed: int = 0


@dataclass(frozen=True)
class Event:
    """What a job reports while it goes: epochs done since the last, what it does now, and a line to keep."""

    epochs: float
    doing: str
    line: str = ""


OnEvent = Callable[[Event], None]


class RaceStopped(KeyboardInterrupt):
    """A race that was asked to stop; what was finished is on the disk."""

    def __init__(self, folder: Path, signal_number: int) -> None:
        go_on = command("race", "--resume", folder)
        super().__init__(f"stopped; finished trials and runs are kept; go on with: {go_on}")
        self.signal_number = signal_number


@dataclass(frozen=True)
class Race:
    """A finished race."""

    folder: Path
    table: tuple[Standing, ...]
    verdict: tuple[str, ...]

    @property
    def page(self) -> Path:
        """The page to look at."""
        return self.folder / "race.html"

    def __repr__(self) -> str:
        first = f", {self.verdict[0]!r:.100}" if self.verdict else ""
        return f"Race({str(self.folder)!r}, table of {len(self.table)} optimizers{first})"


@takes(RaceSettings, known=[field.name for field in fields(RaceSettings)])
def race(
    settings: RaceSettings, *, out: Path | str = "runs", name: str | None = None, jobs: int = 1, show: bool = True
) -> Race:
    """Race the update rules as `settings` says; leave a folder with race.json and race.html.

    Args:
        settings: all that decides the race.
        out: where its folder is made.
        name: the folder's name; made from time, network and data if left out.
        jobs: processes that work at the same time, each with `settings.threads` threads.
        show: print progress.

    Raises:
        TwofoldError: data, device, folder or optuna cannot be used. No folder is made then.
        RunError: memory or disk ran out; what was finished is kept.
        RaceStopped: Ctrl-C or SIGTERM came; what was finished is kept.
    """
    _check_start(jobs)
    check_new_folder(Path(out), name)
    shared = _load_data(settings, show=show)
    folder = RaceFolder.create(settings, out=Path(out), name=name)
    return _carry_out(folder, settings, shared, jobs=jobs, show=show)


def resume_race(path: Path | str, *, jobs: int | None = None, skip_broken: bool = False, show: bool = True) -> Race:
    """Go on with the race in the folder `path`, to the same results as if it had never stopped.

    Args:
        path: the folder.
        jobs: processes that work at the same time; as many as it began with if left out.
        skip_broken: go on without images that cannot be read, as a race does that was begun so.
        show: print progress.

    Raises:
        TwofoldError: it is no race, is finished, is still going, or its images have changed.
    """
    _check_start(jobs or 1)
    folder = RaceFolder.open(Path(path))
    environment = folder.path / "environment.json"
    if jobs is None:
        jobs = int(read_json(environment)["jobs"]) if environment.is_file() else 1
    if (folder.path / "race.json").is_file():
        raise TwofoldError(f"{path} is finished: there is nothing to resume; look at {folder.path / 'race.html'}")
    settings = folder.settings()
    settings = replace(settings, skip_broken=settings.skip_broken or skip_broken)
    return _carry_out(folder, settings, _load_data(settings, show=show), jobs=jobs, show=show)


def _check_start(jobs: int) -> None:
    if jobs < 1:
        raise TwofoldError(f"jobs must be 1 or more, got {jobs}")
    require_optuna()


def _load_data(settings: RaceSettings, *, show: bool) -> TrainingData:
    first = settings.recipe(settings.optimizers[0], lr=1.0, seed=settings.seed, epochs=1)
    with study_conditions(first, threads=settings.threads):
        shared = load_study_data(first, skip_broken=settings.skip_broken, show=show)
    if shared.task.name != ClassTargets.task:
        raise TwofoldError(f"a race compares accuracy, for images with one class each; {settings.data} has others")
    if shared.data.val is None:
        raise TwofoldError(f"{settings.data} has no validation images, and the search needs some; raise --val-fraction")
    return shared


def _carry_out(folder: RaceFolder, settings: RaceSettings, shared: TrainingData, *, jobs: int, show: bool) -> Race:
    record = RunFolder(folder.path)
    with record.lock():
        _check_images(folder, shared)
        record.log(f"race folder {folder.path}", show=show)
        used = {"threads": settings.threads, "jobs": jobs, "optuna": require_optuna().__version__}
        record.write_environment(RaceEnvironment(**software(shared.hardware), **used))
        searches = [Job("search", name) for name in settings.optimizers]
        # Seed by seed, not rule by rule: if the machine slows down for a while, every rule gets its share of that.
        runs = [
            Job("run", name, seed)
            for seed in range(settings.seed, settings.seed + settings.seeds)
            for name in settings.optimizers
        ]
        total = len(searches) * settings.trials * settings.trial_epochs + len(runs) * settings.epochs
        stop = StopRequest()
        with stop, RaceProgress(total=total, show=show, log=lambda line: record.log(line, show=False)) as progress:

            def check() -> None:
                if stop.received is not None:
                    raise RaceStopped(folder.path, stop.received)

            def on_event(event: Event) -> None:
                progress.advance(event.epochs, event.doing, event.line)
                check()

            try:
                if jobs == 1:
                    for job in [*searches, *runs]:
                        _Worker(settings, folder, lambda: shared, on_event).do(job)
                else:
                    with Workers(min(jobs, len(runs)), _begin_worker, (settings, folder.path)) as workers:
                        # A run needs the learning rate that its search chose.
                        for tasks in (searches, runs):
                            workers.run(tasks, on_event, check)
            except RunError as error:
                raise RunError(
                    f"{error}; finished trials and runs are kept: {command('race', '--resume', folder.path)}"
                ) from error
        finished = _finish(folder, settings, shared)
        record.log(f"wrote {finished.page}", show=show)
        return finished


def _check_images(folder: RaceFolder, shared: TrainingData) -> None:
    """Record the images that the race began with, or check that they are still the same."""
    path = folder.path / "data.json"
    splits = {"train": shared.data.train, "val": shared.data.val, "test": shared.data.test}
    facts = {
        "name": shared.data.name,
        "fingerprint": shared.data.fingerprint,
        "num_images": {split: len(images) for split, images in splits.items() if images is not None},
    }
    if not path.is_file():
        write_json(path, facts)
    elif read_json(path) != facts:
        raise TwofoldError(
            f"the images of {shared.data.name} are not those that {folder.path} began with; restore them"
        )


def _begin_worker(argument: tuple[RaceSettings, Path]) -> Callable[[Job, OnEvent], None]:
    settings, path = argument

    @cache
    def load_data() -> TrainingData:
        return _load_data(settings, show=False)

    return lambda job, on_event: _Worker(settings, RaceFolder(path), load_data, on_event).do(job)


@dataclass(frozen=True)
class _Worker:
    """Does the jobs of a race, one after the other."""

    settings: RaceSettings
    folder: RaceFolder
    load_data: Callable[[], TrainingData]
    on_event: OnEvent

    def do(self, job: Job) -> None:
        recipe = self.settings.recipe(job.optimizer, lr=1.0, seed=job.seed, epochs=1)
        with study_conditions(recipe, threads=self.settings.threads):
            self._search(job.optimizer) if job.kind == "search" else self._run(job.optimizer, job.seed)

    def _search(self, optimizer: str) -> None:
        settings, optuna = self.settings, require_optuna()
        low, high = settings.search_range(optimizer)
        # The same for every rule, and none that a run has: the learning rate is not tuned to a run's initial weights.
        seed = torch_generator_seed(settings.seed, "race", "search")
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=1)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        for lr in coarse_grid(low, high, settings.trials):
            study.enqueue_trial({"lr": lr})
        done: list[dict[str, Any]] = []
        for number in range(settings.trials):
            trial = study.ask()
            lr = trial.suggest_float("lr", low, high, log=True)
            path = self.folder.trial(optimizer, number)
            doing = f"search {optimizer}, trial {number + 1} of {settings.trials}"
            if path.is_file():
                record = read_json(path)
                if record["lr"] != lr:
                    raise TwofoldError(
                        f"{path} tried {record['lr']:g} where the search now asks for {lr:g}: the race began with "
                        "another version of optuna (see environment.json); install that, or start a new race"
                    )
                self.on_event(Event(settings.trial_epochs, doing))
            else:
                recipe = settings.recipe(optimizer, lr=lr, seed=seed, epochs=settings.trial_epochs)
                record = self._train(recipe, doing, test=False)
                write_json(path, {"optimizer": optimizer, "number": number, **record})
            study.tell(trial, trial_value(record))
            done.append(record)
        chosen = chosen_lr(done)
        num_diverged = sum(record["diverged"] is not None for record in done)
        gone = f", {num_diverged} diverged" if num_diverged else ""
        found = f"learning rate {chosen:.3g}" if chosen is not None else "no learning rate that does not diverge"
        self.on_event(Event(0.0, "", f"{optimizer}: {found} ({settings.trials} trials{gone})"))

    def _run(self, optimizer: str, seed: int) -> None:
        """Train at the learning rate that the search chose; leave one file."""
        settings, path = self.settings, self.folder.run(optimizer, seed)
        doing = f"{optimizer}, seed {seed}"
        if path.is_file():
            self.on_event(Event(settings.epochs, doing))
            return
        lr = chosen_lr([read_json(self.folder.trial(optimizer, number)) for number in range(settings.trials)])
        if lr is None:
            self.on_event(Event(settings.epochs, doing, f"{doing}: left out, it diverged at every learning rate"))
            return
        recipe = settings.recipe(optimizer, lr=lr, seed=seed, epochs=settings.epochs)
        record = self._train(recipe, doing, test=True)
        write_json(path, {"optimizer": optimizer, **record})
        if record["diverged"] is not None:
            line = f"{doing}: diverged, {record['diverged']}"
        else:
            last = record["epochs"][-1]
            line = f"{doing}: validation accuracy {last['val_accuracy']:.4f} in {record['seconds']:,.1f} s"
        self.on_event(Event(0.0, "", line))

    def _train(self, recipe: Recipe, doing: str, *, test: bool) -> dict[str, Any]:
        """Train and report how far it is, a few times an epoch; what a diverged training leaves out counts as done."""
        unreported = reported = 0.0
        epochs = recipe.epochs or 0

        def advance(share: float, epoch: float) -> None:
            nonlocal unreported, reported
            unreported += share
            if unreported >= 0.1 or epoch >= epochs:
                at = min(epochs, math.floor(epoch) + 1)
                self.on_event(Event(unreported, f"{doing}, epoch {at} of {epochs}"))
                reported, unreported = reported + unreported, 0.0

        record = run_training(self.load_data(), recipe, on_progress=advance, test=test)
        # Also the last look at the pipe to the parent before a file is written: without a parent there is none.
        self.on_event(Event(epochs - reported, doing))
        return record


def collect(folder: RaceFolder, settings: RaceSettings) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return all trials and all runs on file, by rule."""
    trials = {
        name: [read_json(folder.trial(name, number)) for number in range(settings.trials)]
        for name in settings.optimizers
    }
    seeds = range(settings.seed, settings.seed + settings.seeds)
    paths = {name: [folder.run(name, seed) for seed in seeds] for name in settings.optimizers}
    runs = {name: [read_json(path) for path in own if path.is_file()] for name, own in paths.items()}
    return trials, runs


def _finish(folder: RaceFolder, settings: RaceSettings, shared: TrainingData) -> Race:
    """Write race.html and, last, race.json, which says that the race is finished."""
    trials, runs = collect(folder, settings)
    table = standings(settings.optimizers, trials, runs)
    said = verdict(table)
    record = RaceRecord(
        finished=now(),
        judged_on="test" if shared.data.test is not None else "val",
        settings=settings.to_record(),
        data=RaceData.from_json(read_json(folder.path / "data.json")),
        environment=RaceEnvironment.from_json(read_json(folder.path / "environment.json")),
        verdict=said,
        table=tuple(asdict(standing) | {"mean": standing.mean} for standing in table),
        trials={name: tuple(own) for name, own in trials.items()},
        runs={name: tuple(own) for name, own in runs.items()},
    )
    write_race_page(folder.path / "race.html", record)
    write_json(folder.path / "race.json", record.to_json())
    return Race(folder.path, table, said)
