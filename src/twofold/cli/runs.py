"""`twofold runs`: the runs in a folder, side by side."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError, nearest
from twofold.names import json_text, shown
from twofold.tasks.metrics import METRICS
from twofold.terminal import note, print_csv, print_json, quoted

# The names of all metrics, of whatever task.
_METRICS = tuple(dict.fromkeys(metric.name for metrics in METRICS.values() for metric in metrics))
# The columns of --csv but for the recipe's settings, which follow as recipe.NAME; in --json they are one object.
COLUMNS = (
    *("run", "status", "model", "data", "split", *_METRICS, *(f"val_{name}" for name in _METRICS)),
    *("best_epoch", "epochs", "train_seconds", "parameters", "started"),
)
# Short words for columns, and those whose smallest value comes first.
_ALSO = {"val": "val_accuracy", "date": "started", "name": "run", "time": "train_seconds"}
_RISING = {"run", "status", "model", "data", "split", "loss", "val_loss", "train_seconds", "parameters"}
# Settings whose default another one decides: those of `DEPENDENT_SETTINGS`, which takes long to import.
DECIDED_BY = {
    **dict.fromkeys(("lr", "weight_decay", "momentum", "nesterov", "gamma", "rho"), "optimizer"),
    **dict.fromkeys(("beta1", "beta2", "epsilon", "convention"), "optimizer"),
    **dict.fromkeys(("warmup", "final_lr", "step_epochs", "step_factor", "alpha"), "schedule"),
    "mix_alpha": "mix",
}


@dataclasses.dataclass(kw_only=True)
class RunsArguments:
    """List the runs in a folder, two lines a run: what it reached, and the settings in which the runs differ."""

    folder: tyro.conf.Positional[Path] = Path("runs")
    """Where the run folders are; runs if left out."""
    sort: str = "accuracy"
    """Order of the runs, best, latest, fastest or smallest first: accuracy, val, date, name, time, epochs, parameters,
    or any column of --csv, such as macro_f1 or val_loss; val_ is of the best epoch."""
    json: bool = False
    csv: bool = False
    """Print one line of CSV a run, with the recipe's settings as recipe.NAME."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(RunsArguments, arguments, verb="runs")
    if parsed.json and parsed.csv:
        raise TwofoldError("--json and --csv exclude each other; leave one out")
    if not parsed.folder.is_dir():
        raise TwofoldError(f"there is no folder {parsed.folder}; train something first: twofold train lenet-bn")
    found = (_read(recipe_file.parent) for recipe_file in sorted(parsed.folder.glob("*/recipe.json")))
    rows = [row for row in found if row is not None]
    if not rows:
        raise TwofoldError(f"{parsed.folder} holds no runs; train something first: twofold train lenet-bn")
    key = _ALSO.get(parsed.sort, parsed.sort)
    known = dict.fromkeys(name for row in rows for name in row if name != "recipe")
    if key not in known:
        raise TwofoldError(f"--sort {parsed.sort} is no column of these runs: {nearest(parsed.sort, [*_ALSO, *known])}")
    # A file that someone wrote by hand may have a value of another kind there.
    rank = [(isinstance(value := row.get(key), str), value) for row in rows]
    there = [place for place, (_, value) in enumerate(rank) if isinstance(value, str | int | float)]
    there.sort(key=lambda place: rank[place], reverse=key not in _RISING)
    rows = [rows[place] for place in (*there, *(place for place in range(len(rows)) if place not in there))]
    if parsed.csv:
        _print_csv(rows, list(known))
    elif parsed.json:
        print_json(*rows)
    else:
        name = key.removeprefix("val_")
        _print(rows, name if name in known and f"val_{name}" in known else "accuracy")
    return 0


def _read(folder: Path) -> dict[str, Any] | None:
    """What is known of a run, after a note on what of it cannot be read; None where that is its recipe."""
    from twofold.records import EpochRecord, Evaluation, RunRecord, load_object, metric_lines

    problems: list[str] = []
    record = RunRecord.load(folder / "run.json", problems) or RunRecord()
    evaluation = Evaluation.load(folder / "evaluation.json", problems) or Evaluation()
    recipe = load_object(folder / "recipe.json", problems)
    for problem in problems:
        note(f"warning: {folder}{' is left out' if recipe is None else ''}: {problem}")
    if recipe is None:
        return None
    measured = {} if evaluation.loss is None else {"loss": evaluation.loss}
    measured |= evaluation.metrics
    best = {} if record.best_metric is None else {record.best_metric.name: record.best_metric.value}
    for line in metric_lines(folder / "metrics.jsonl"):
        if isinstance(line, EpochRecord) and line.epoch == record.best_epoch:
            best |= {f"val_{name}": value for name, value in line.val.items()}
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "run": folder.name,
        "status": record.status or "unknown",
        "model": recipe.get("model"),
        "data": recipe.get("data"),
        "split": evaluation.split,
        "best_epoch": record.best_epoch,
        "epochs": record.epochs_done,
        "train_seconds": record.train_seconds,
        "parameters": record.num_parameters,
        "started": record.started and record.started.isoformat(),
    }
    return row | measured | best | {"recipe": recipe}


def _print_csv(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Print a line of names and one a run. A value that is no number and no text stands as JSON."""
    from twofold.engine.recipe import Recipe

    print_csv([*columns, *(f"recipe.{name}" for name in Recipe.model_fields)])
    for row in rows:
        values = [*(row.get(name) for name in columns), *(row["recipe"].get(name) for name in Recipe.model_fields)]
        print_csv([json_text(value) if isinstance(value, dict | list | bool) else value for value in values])


def _print(rows: list[dict[str, Any]], metric: str) -> None:
    differing = _differing([row["recipe"] for row in rows])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    size = max(8, len(metric))
    print(f"{metric:>{size}} {'on':5} {'val':>6} {'epochs':>6} {'seconds':>8}  run")
    for row in rows:
        print(
            f"{_number(row.get(metric), '.4f'):>{size}} {row['split'] or '':5} "
            f"{_number(row.get(f'val_{metric}'), '.4f'):>6} "
            f"{_number(row['epochs'], 'd'):>6} {_number(row['train_seconds'], ',.1f'):>8}  {shown(row['run'])}"
        )
        flags = " ".join(filter(None, (_flag(name, row["recipe"].get(name)) for name in differing)))
        second = f"    {row['status']}, {_number(row['parameters'], ',d')} parameters  {shown(flags)}".rstrip()
        print(second if width is None or len(second) <= width else second[: width - 1] + "…")


def _differing(recipes: list[dict[str, Any]]) -> list[str]:
    """The settings in which recipes differ, but for those that follow from another, as lr does from the optimizer."""
    names = []
    for name in recipes[0]:
        values: dict[str, set[str]] = {}
        for recipe in recipes:
            # As JSON: a record that was changed by hand may hold anything, and a list is no key.
            decider = json_text(recipe.get(DECIDED_BY.get(name, "")))
            values.setdefault(decider, set()).add(_flag(name, recipe.get(name)))
        if any(len(different) > 1 for different in values.values()):
            names.append(name)
    return names


def _flag(name: str, value: Any) -> str:
    """A setting as the command line takes it; nothing for one that the run does not have."""
    if value is None or value in ([], {}):
        return ""
    if name == "model":
        return str(value)
    from twofold.cli.settings import words_of_setting

    return " ".join(map(quoted, words_of_setting(name, value)))


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
