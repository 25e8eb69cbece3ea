"""What a race of update rules is: who takes part, under which conditions, and what can be said at the end.

A fair comparison of optimisers has to hold everything else still (Schmidt, Schneider and Hennig, "Descending through
a crowded valley", 2021; Dahl et al., "Benchmarking neural network training algorithms", 2023):

- **The same start.** A seed draws the initial weights, the order of the images and their augmentation. Every rule runs
  with the same seeds, so it meets the same weights and the same batches.
- **The same tuning.** A rule's learning rate decides more than the rule. Each gets a search of equal budget, in a range
  of equal width around its usual value, evaluated on validation images and with a seed that no run uses.
- **A spread.** Several seeds a rule; the result is a range, not a number. One rule is called ahead of another only
  where their ranges do not overlap.
- **Test images once.** The weights of the last epoch of each run are evaluated on them, and choose nothing.

This file loads without torch, so that a mistake in a command is answered at once.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from twofold.data.names import folder_subject
from twofold.engine.recipe import Recipe
from twofold.errors import SettingError, TwofoldError, check_known
from twofold.files import new_folder, read_json, write_json


@dataclass(frozen=True)
class Contender:
    """An update rule in a race.

    Attributes:
        settings: what a recipe needs to name it.
        usual_lr: the learning rate that the search is centred on.
        remark: what of it is not the rule's bare form.
    """

    settings: Mapping[str, Any]
    usual_lr: float
    remark: str = ""


# Nothing but AdamW decays weights here: there the decay is part of the rule.
CONTENDERS: dict[str, Contender] = {
    # Ten times momentum's, whose steps add up to about ten gradients.
    "sgd": Contender({"optimizer": "sgd", "momentum": 0.0, "nesterov": False}, 0.5),
    "momentum": Contender({"optimizer": "sgd", "momentum": 0.9, "nesterov": False}, 0.05, "momentum 0.9"),
    "nesterov": Contender({"optimizer": "sgd", "momentum": 0.9, "nesterov": True}, 0.05, "momentum 0.9"),
    "adagrad": Contender({"optimizer": "adagrad"}, 0.02),
    "rmsprop": Contender({"optimizer": "rmsprop"}, 0.001),
    "adadelta": Contender({"optimizer": "adadelta"}, 1.0),
    "adam": Contender({"optimizer": "adam"}, 0.001),
    "adamw": Contender({"optimizer": "adamw", "weight_decay": 0.01}, 0.001, "weight decay 0.01"),
}
DEFAULT_OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adadelta", "adam")


_LATER = {"images", "columns", "test_fraction", "skip_broken"}


@dataclass(frozen=True, kw_only=True)
class RaceSettings:
    """All that decides a race; what a recipe has as well means what it means there.

    Attributes:
        optimizers: names from `CONTENDERS`.
        seeds: runs a rule; their seeds are `seed`, `seed` + 1, and so on.
        epochs: of a run.
        trials: learning rates that are tried for each rule.
        trial_epochs: epochs of a trial.
        val_fraction: share of the training images held out for the search.
        decades: width of the search in powers of ten; the rule's usual learning rate is its middle.
        seed: of the validation split and the first run.
        threads: of torch, in each process.
        skip_broken: go on without images that cannot be read.

    Raises:
        TwofoldError: a setting cannot be used; the message has its name, its value and the remedy.
    """

    optimizers: tuple[str, ...] = DEFAULT_OPTIMIZERS
    model: str = "lenet"
    data: str = "fashion-mini"
    images: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    test_fraction: float = 0.0
    seeds: int = 3
    epochs: int = 10
    trials: int = 8
    trial_epochs: int = 4
    batch_size: int = 64
    schedule: str = "constant"
    augment: str = "none"
    image_size: int | None = None
    val_fraction: float = 0.1
    decades: float = 3.0
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1
    skip_broken: bool = False

    def __post_init__(self) -> None:
        if not self.optimizers:
            raise TwofoldError(f"no optimizer is given; name some of {', '.join(CONTENDERS)}")
        for name in self.optimizers:
            check_known("optimizer", name, CONTENDERS)
        if twice := sorted({name for name in self.optimizers if self.optimizers.count(name) > 1}):
            raise TwofoldError(f"optimizer {twice[0]} is given twice; name each once")
        for name in ("seeds", "epochs", "trials", "trial_epochs", "threads"):
            if getattr(self, name) < 1:
                raise SettingError(f"{{}} must be 1 or more, got {getattr(self, name)}", name)
        if not 0.5 <= self.decades <= 8:
            raise SettingError(f"{{}} must be from 0.5 to 8, got {self.decades:g}", "decades")
        if self.val_fraction == 0.0:
            needs = "{} must be above 0: the search for a learning rate needs validation images"
            raise SettingError(needs, "val_fraction")
        for name in self.optimizers:
            self.recipe(name, lr=CONTENDERS[name].usual_lr, seed=self.seed, epochs=self.epochs)

    def recipe(self, optimizer: str, *, lr: float, seed: int, epochs: int) -> Recipe:
        """Return the recipe of one trial or run."""
        same = (
            "model",
            "data",
            "images",
            "columns",
            "test_fraction",
            "image_size",
            "val_fraction",
            "augment",
            "schedule",
            "batch_size",
            "device",
            "precision",
        )
        settings: dict[str, Any] = {name: getattr(self, name) for name in same}
        settings |= {"weight_decay": 0.0, **CONTENDERS[optimizer].settings}
        return Recipe(lr=lr, seed=seed, epochs=epochs, **settings)

    def search_range(self, optimizer: str) -> tuple[float, float]:
        """Return the lowest and the highest learning rate that the search may try."""
        usual, half = CONTENDERS[optimizer].usual_lr, 10.0 ** (self.decades / 2)
        return usual / half, usual * half

    def to_record(self) -> dict[str, Any]:
        """Return the settings as a JSON-able record."""
        return asdict(self) | {"optimizers": list(self.optimizers)}

    @classmethod
    def from_record(cls, record: Any, *, source: str) -> RaceSettings:
        """Return the settings in a record; `source` names it in errors."""
        try:
            names = {field.name for field in fields(cls)}
            # A race that was begun by an older version has no word of them.
            if set(record) | _LATER != names or not isinstance(record["optimizers"], list):
                raise TypeError("other settings")
            settings: dict[str, Any] = record | {"optimizers": tuple(record["optimizers"])}
            return cls(**settings)
        except TypeError as error:
            raise TwofoldError(f"{source} does not hold the settings of a race; start a new race") from error


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_optuna() -> Any:
    """Return optuna, quiet.

    Raises:
        TwofoldError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise TwofoldError(
            "a race searches with optuna, which is not installed: pip install 'twofold[sweep]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class RaceFolder:
    """The folder of a race: its settings, a file a trial and a run, and at the end race.json and race.html."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, settings: RaceSettings, *, out: Path, name: str | None = None) -> RaceFolder:
        """Make a new folder in `out`, named by time, network and data unless `name` is given.

        Raises:
            TwofoldError: the folder cannot be made, or `name` is taken.
        """
        folder = cls(new_folder(out, name, kind=f"race-{settings.model}", about=folder_subject(settings.data)))
        for part in ("trials", "runs"):
            (folder.path / part).mkdir()
        write_json(folder.path / "settings.json", settings.to_record())
        return folder

    @classmethod
    def open(cls, path: Path) -> RaceFolder:
        """Return the race in `path`.

        Raises:
            TwofoldError: there is no such folder, or it is not the folder of a race.
        """
        if not path.is_dir():
            raise TwofoldError(f"there is no folder {path}")
        if not (path / "settings.json").is_file() or not (path / "trials").is_dir():
            raise TwofoldError(f"{path} is not the folder of a race: it has no settings.json and trials/")
        return cls(path)

    def settings(self) -> RaceSettings:
        """Return the settings of the race."""
        path = self.path / "settings.json"
        return RaceSettings.from_record(read_json(path), source=str(path))

    def trial(self, optimizer: str, number: int) -> Path:
        """Return the file of a trial, which is there when it is done; trials count from 0."""
        return self.path / "trials" / f"{optimizer}-{number:03d}.json"

    def run(self, optimizer: str, seed: int) -> Path:
        """Return the file of a run, which is there when it is done."""
        return self.path / "runs" / f"{optimizer}-seed-{seed}.json"


def coarse_grid(low: float, high: float, trials: int) -> list[float]:
    """Return the learning rates that a search of `trials` tries first: evenly spaced in their logarithm.

    About 60 % of the trials, an odd number, so that the middle of the range is among them. The rest of the search
    looks more closely where these did best.

    >>> [round(lr, 4) for lr in coarse_grid(0.001, 1.0, 8)]
    [0.002, 0.0079, 0.0316, 0.1259, 0.5012]
    """
    count = max(1, round(0.6 * trials))
    count -= (count + 1) % 2
    return [low * (high / low) ** ((index + 0.5) / count) for index in range(count)]


# What can be said at the end


Relation = Literal["first", "tied", "behind", "overlaps", "unknown", "diverged"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one rule did.

    Attributes:
        place: from 1; those that tie share one.
        lr: the learning rate that its search chose; None where every trial diverged.
        at_edge: the chosen learning rate is the lowest or the highest that was tried.
        accuracies: of the runs that were finished, in the order of their seeds.
        losses: the same, cross-entropy.
        seconds: median training time of the finished runs.
        diverged: why, for each run that diverged.
        relation: to the first: "first"; "tied", where the means are equal; "behind", where its best run is below the
            first's worst; "overlaps"; "unknown" where one of the two has a single run, and so no spread; "diverged"
            where no run was finished.
    """

    optimizer: str
    place: int
    lr: float | None
    at_edge: bool
    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float | None
    diverged: tuple[str, ...]
    relation: Relation

    @property
    def mean(self) -> float | None:
        """The mean accuracy."""
        return sum(self.accuracies) / len(self.accuracies) if self.accuracies else None


def standings(
    optimizers: Sequence[str],
    trials: Mapping[str, Sequence[Mapping[str, Any]]],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[Standing, ...]:
    """Return how each rule did, best first: by mean accuracy; those with diverged runs after those without.

    Trials and runs, by name of the rule, are as `training.run_training` records them.
    """
    made: list[dict[str, Any]] = []
    for name in optimizers:
        finished = [run for run in runs.get(name, ()) if run["diverged"] is None]
        measured = [last_measured(run) for run in finished]
        lr = chosen_lr(trials[name])
        tried = [trial["lr"] for trial in trials[name]]
        made.append(
            {
                "optimizer": name,
                "lr": lr,
                "at_edge": lr is not None and len(tried) > 2 and lr in (min(tried), max(tried)),
                "accuracies": tuple(accuracy for _, accuracy in measured),
                "losses": tuple(loss for loss, _ in measured),
                "seconds": statistics.median(run["seconds"] for run in finished) if finished else None,
                "diverged": tuple(run["diverged"] for run in runs.get(name, ()) if run["diverged"] is not None),
            }
        )

    def rank(entry: dict[str, Any]) -> tuple[bool, int, float]:
        accuracies = entry["accuracies"]
        return not accuracies, len(entry["diverged"]), -sum(accuracies) / (len(accuracies) or 1)

    made.sort(key=rank)
    ranks = [rank(entry) for entry in made]
    return tuple(
        Standing(
            place=1 + ranks.index(ranks[index]),
            relation=_relation(index, ranks[index] == ranks[0], made[0]["accuracies"], entry["accuracies"]),
            **entry,
        )
        for index, entry in enumerate(made)
    )


def _relation(index: int, is_equal: bool, first: Sequence[float], own: Sequence[float]) -> Relation:
    if not own:
        return "diverged"
    if index == 0:
        return "first"
    if is_equal:
        return "tied"
    if min(len(first), len(own)) < 2:
        return "unknown"
    return "behind" if max(own) < min(first) else "overlaps"


def last_measured(run: Mapping[str, Any]) -> tuple[float, float]:
    """Return (loss, accuracy) of a finished run: on the test images, or on the validation images without any."""
    if run["test"] is not None:
        return run["test"]["loss"], run["test"]["accuracy"]
    last = run["epochs"][-1]
    return last["val_loss"], last["val_accuracy"]


def trial_value(trial: Mapping[str, Any]) -> float:
    """Return what a search makes small: the validation loss after the last epoch; infinity where it diverged."""
    value = math.inf if trial["diverged"] is not None else trial["epochs"][-1]["val_loss"]
    return value if math.isfinite(value) else math.inf


def chosen_lr(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the learning rate of the best trial, the first of equals; None where all diverged."""
    finite = [trial for trial in trials if math.isfinite(trial_value(trial))]
    return min(finite, key=trial_value)["lr"] if finite else None


def verdict(table: Sequence[Standing]) -> tuple[str, ...]:
    """Return what the race shows, in sentences. "Ahead of" is said only where the ranges do not overlap."""
    first = table[0]
    if first.relation == "diverged":
        return ("Every run diverged: there is nothing to compare.",)
    names: dict[str, list[str]] = {}
    for standing in table[1:]:
        names.setdefault(standing.relation, []).append(standing.optimizer)
    said: list[str] = []
    leaders = [first.optimizer, *names.get("tied", [])]
    have = "has" if len(leaders) == 1 else "have"
    if len(leaders) > 1:
        said.append(f"{_listed(leaders)} tie: their mean accuracies are equal.")
    if behind := names.get("behind"):
        said.append(f"{first.optimizer} is ahead of {_listed(behind)}: its worst run is better than their best.")
    if overlaps := names.get("overlaps"):
        their = "their ranges overlap" if len(overlaps) > 1 else "the ranges overlap"
        said.append(
            f"{_listed(leaders)} {have} the highest mean, but cannot be separated from {_listed(overlaps)}: {their}."
        )
    if unknown := names.get("unknown"):
        said.append(
            f"{_listed(leaders)} {have} the highest accuracy, but one run has no spread, so nothing can be said about "
            f"{_listed(unknown)}; race with more seeds."
        )
    if diverged := names.get("diverged"):
        said.append(f"{_listed(diverged)} diverged in every run.")
    for standing in table:
        if standing.diverged and standing.accuracies:
            num_diverged = len(standing.diverged)
            num_runs = num_diverged + len(standing.accuracies)
            said.append(f"{standing.optimizer} diverged in {num_diverged} of {num_runs} runs.")
    return tuple(said) or (f"{first.optimizer} raced alone.",)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
