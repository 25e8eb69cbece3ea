"""`twofold runs`: the runs in a folder, side by side."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError, nearest
from twofold.names import json_text, shown
from twofold.tasks.metrics import METRICS
from twofold.terminal import command, note, print_csv, print_json, quoted

# The names of all metrics, of whatever task.
_METRICS = tuple(dict.fromkeys(metric.name for metrics in METRICS.values() for metric in metrics))
# The columns of --csv but for the recipe's settings, which follow as recipe.NAME; in --json they are one object.
COLUMNS = (
    *("run", "status", "model", "data", "split", *_METRICS, *(f"val_{name}" for name in _METRICS)),
    *("best_epoch", "epochs", "train_seconds", "parameters", "started"),
)
_MOST_HINTS = 3
_RECIPE = "recipe."
# A run's score is the metric that its task is compared by.
_SCORES = ("score", "val_score")
# Short words for columns, and those whose smallest value comes first.
_ALSO = {"val": "val_score", "date": "started", "name": "run", "time": "train_seconds"}
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
    """List the runs in a folder: what each reached, and under it its status and the settings in which the runs differ.

    The status is running, finished, stopped-early, interrupted, failed, or died: of a run whose process was killed.
    """

    folder: tyro.conf.Positional[Path] = Path("runs")
    """Where the run folders are; runs if left out."""
    sort: str = "score"
    """Order of the runs, best, latest, fastest or smallest first: score (accuracy, or what the run's task has in its
    place, as mAP), val, date, name, time, epochs, parameters, or any column of --csv, such as macro_f1, val_loss or
    recipe.lr; val_ is of the best epoch."""
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
    _check_sort(parsed.sort, [*_ALSO, *_SCORES, *known])
    # A file that someone wrote by hand may have a value of another kind there.
    rank = [(isinstance(value := _value(row, key), str), value) for row in rows]
    there = [place for place, (_, value) in enumerate(rank) if isinstance(value, str | int | float)]
    there.sort(key=lambda place: rank[place], reverse=not (key in _RISING or key.startswith(_RECIPE)))
    rows = [rows[place] for place in (*there, *(place for place in range(len(rows)) if place not in there))]
    if parsed.csv:
        _print_csv(rows, list(known))
    elif parsed.json:
        print_json(*rows)
    else:
        name = key.removeprefix("val_")
        _print(rows, name if name in known and f"val_{name}" in known else "score")
        _say_how_to_go_on([parsed.folder / row["run"] for row in rows if row["status"] in {"interrupted", "died"}])
    return 0


def _check_sort(column: str, known: list[str]) -> None:
    if column.startswith(_RECIPE):
        from twofold.engine.recipe import Recipe

        known = [f"{_RECIPE}{name}" for name in Recipe.model_fields]
    if column not in known:
        raise TwofoldError(f"--sort {column} is no column of these runs: {nearest(column, known)}")


def _value(row: dict[str, Any], key: str) -> Any:
    """Return the value of a run in a column of --csv, or its "score" or "val_score"; None where it has none."""
    if key.startswith(_RECIPE):
        value = row["recipe"].get(key.removeprefix(_RECIPE))
        return json_text(value) if isinstance(value, dict | list) else value
    if key in _SCORES:
        key = key.replace("score", _score_name(row))
    return row.get(key)


def _score_name(row: dict[str, Any]) -> str:
    """Return the name of the metric that the task of a run is compared by; accuracy where none is known."""
    firsts = [metrics[0].name for metrics in METRICS.values()]
    return next((name for name in firsts if (row.get(name), row.get(f"val_{name}")) != (None, None)), firsts[0])


def _say_how_to_go_on(folders: list[Path]) -> None:
    from twofold.records import can_resume

    stopped = [folder for folder in folders if can_resume(folder)]
    for folder in stopped[:_MOST_HINTS]:
        note(f"go on with: {command('train', '--resume', folder)}")
    if len(stopped) > _MOST_HINTS:
        note(f"and {len(stopped) - _MOST_HINTS:,} more that were interrupted or died")


def _read(folder: Path) -> dict[str, Any] | None:
    """What is known of a run, after a note on what of it cannot be read; None where that is its recipe."""
    from twofold.records import EpochRecord, Evaluation, RunRecord, load_object, metric_lines, status_of

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
        "status": status_of(folder, record) or "unknown",
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
    width = shutil.get_terminal_size().columns  # 80 where output is no terminal and COLUMNS does not say
    # The score of runs of several tasks is not the same metric in every line.
    names = [_score_name(row) if metric == "score" else metric for row in rows]
    title = names[0] if len(set(names)) == 1 else "score"
    kinds = [""] * len(rows) if len(set(names)) == 1 else [f"{name:{max(map(len, names))}} " for name in names]
    size = max(8, len(title))
    print(f"{title:>{size}} {' ' * len(kinds[0])}{'on':5} {'val':>6} {'epochs':>6} {'seconds':>8}  run")
    for row, name, kind in zip(rows, names, kinds, strict=True):
        print(
            f"{_number(row.get(name), '.4f'):>{size}} {kind}{row['split'] or '':5} "
            f"{_number(row.get(f'val_{name}'), '.4f'):>6} "
            f"{_number(row['epochs'], 'd'):>6} {_number(row['train_seconds'], ',.1f'):>8}  {shown(row['run'])}"
        )
        # Broken between two settings, not within one.
        flags = [shown(_flag(name, row["recipe"].get(name))).replace(" ", "\0") for name in differing]
        line = f"{row['status']}, {_number(row['parameters'], ',d')} parameters  {' '.join(filter(None, flags))}"
        ways: dict[str, Any] = {"initial_indent": " " * 4, "subsequent_indent": " " * 6}
        ways |= {"break_long_words": False, "break_on_hyphens": False}
        print(textwrap.fill(line, width, **ways).replace("\0", " "))


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
