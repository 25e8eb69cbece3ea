"""`twofold runs`: the runs in a folder, side by side."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.names import json_text, shown
from twofold.terminal import note, print_json, quoted

# What --sort takes, and whether its largest value comes first.
_ORDERS = {
    "accuracy": ("accuracy", True),
    "val": ("val_accuracy", True),
    "date": ("started", True),
    "name": ("run", False),
    "time": ("train_seconds", False),
    "epochs": ("epochs", True),
    "parameters": ("parameters", False),
}
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
    sort: Literal["accuracy", "val", "date", "name", "time", "epochs", "parameters"] = "accuracy"
    """Order of the runs: best, latest, fastest or smallest first."""
    json: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(RunsArguments, arguments, verb="runs")
    if not parsed.folder.is_dir():
        raise TwofoldError(f"there is no folder {parsed.folder}; train something first: twofold train lenet-bn")
    found = (_read(recipe_file.parent) for recipe_file in sorted(parsed.folder.glob("*/recipe.json")))
    rows = [row for row in found if row is not None]
    if not rows:
        raise TwofoldError(f"{parsed.folder} holds no runs; train something first: twofold train lenet-bn")
    key, falling = _ORDERS[parsed.sort]
    known = sorted((row for row in rows if row[key] is not None), key=lambda row: row[key], reverse=falling)
    rows = known + [row for row in rows if row[key] is None]
    if parsed.json:
        print_json(*rows)
    else:
        _print(rows)
    return 0


def _read(folder: Path) -> dict[str, Any] | None:
    """What is known of a run, after a note on what of it cannot be read; None where that is its recipe."""
    from twofold.records import Evaluation, RunRecord, load_object

    problems: list[str] = []
    record = RunRecord.load(folder / "run.json", problems) or RunRecord()
    evaluation = Evaluation.load(folder / "evaluation.json", problems) or Evaluation()
    recipe = load_object(folder / "recipe.json", problems)
    for problem in problems:
        note(f"warning: {folder}{' is left out' if recipe is None else ''}: {problem}")
    if recipe is None:
        return None
    return {
        "run": folder.name,
        "status": record.status or "unknown",
        "accuracy": evaluation.metrics.get("accuracy"),
        "split": evaluation.split,
        "val_accuracy": record.best_metric and record.best_metric.value,
        "epochs": record.epochs_done,
        "train_seconds": record.train_seconds,
        "parameters": record.num_parameters,
        "started": record.started and record.started.isoformat(),
        "recipe": recipe,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    differing = _differing([row["recipe"] for row in rows])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(f"{'accuracy':>8} {'on':5} {'val':>6} {'epochs':>6} {'seconds':>8}  run")
    for row in rows:
        print(
            f"{_number(row['accuracy'], '.4f'):>8} {row['split'] or '':5} {_number(row['val_accuracy'], '.4f'):>6} "
            f"{_number(row['epochs'], 'd'):>6} {_number(row['train_seconds'], ',.1f'):>8}  {shown(row['run'])}"
        )
        flags = " ".join(filter(None, (_flag(name, row["recipe"].get(name)) for name in differing)))
        second = f"    {row['status']}, {_number(row['parameters'], ',d')} parameters  {shown(flags)}".rstrip()
        print(second if width is None or len(second) <= width else second[: width - 1] + "…")


def _differing(recipes: list[dict[str, Any]]) -> list[str]:
    """The settings in which recipes differ, but for those that follow from another, as lr does from the optimizer."""
    names = []
    for name in recipes[0]:
        values: dict[Any, set[str]] = {}
        for recipe in recipes:
            values.setdefault(recipe.get(DECIDED_BY.get(name, "")), set()).add(repr(recipe.get(name)))
        if any(len(different) > 1 for different in values.values()):
            names.append(name)
    return names


def _flag(name: str, value: Any) -> str:
    """A setting as the command line takes it; nothing for one that the run does not have."""
    if value is None or value in ([], {}):
        return ""
    if name == "model":
        return str(value)
    flag = name.replace("_", "-")
    if isinstance(value, bool) and name != "nesterov":
        return f"--{flag}" if value else f"--no-{flag}"
    if name == "class_weights" and isinstance(value, dict):
        value = json_text(value)
    words = [part for item in value.items() for part in item] if isinstance(value, dict) else value
    words = words if isinstance(words, list) else [words]
    return " ".join([f"--{flag}", *map(quoted, words)])


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
