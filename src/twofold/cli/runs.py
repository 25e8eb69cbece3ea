"""`twofold runs`: the runs in a folder, side by side."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.terminal import note, output


@dataclasses.dataclass(kw_only=True)
class RunsArguments:
    """List the runs in a folder, best first, with the settings in which they differ."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Where the run folders are."""
    json: bool = False
    """Print one JSON object a line."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold runs`."""
    parsed = parse(RunsArguments, arguments, verb="runs")
    if not parsed.folder.is_dir():
        raise TwofoldError(f"there is no folder {parsed.folder}; train something first: twofold train lenet-bn")
    rows = []
    for recipe_file in sorted(parsed.folder.glob("*/recipe.json")):
        try:
            rows.append(_read(recipe_file.parent))
        except TwofoldError as error:
            note(f"warning: left out: {error}")
    if not rows:
        raise TwofoldError(f"{parsed.folder} holds no runs; train something first: twofold train lenet-bn")
    rows.sort(key=lambda row: -(row["accuracy"] or -1.0))
    if parsed.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        _print_table(rows)
    return 0


def _read(folder: Path) -> dict[str, Any]:
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    evaluation = read_json(folder / "evaluation.json") if (folder / "evaluation.json").is_file() else {}
    return {
        "run": folder.name,
        "status": record.get("status", "unknown"),
        "accuracy": evaluation.get("accuracy"),
        "split": evaluation.get("split"),
        "val_accuracy": (record.get("best_metric") or {}).get("value"),
        "epochs": record.get("epochs_done"),
        "train_seconds": record.get("train_seconds"),
        "parameters": record.get("num_parameters"),
        "recipe": read_json(folder / "recipe.json"),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("run", "status", "accuracy", "on", "val", "epochs", "seconds", "parameters", "differs in"):
        left = column in {"run", "status", "on", "differs in"}
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    differing = _differing([row["recipe"] for row in rows])
    for row in rows:
        settings = " ".join(f"{name}={row['recipe'].get(name)}" for name in differing)
        cells = (
            row["run"],
            row["status"],
            _number(row["accuracy"], ".4f"),
            row["split"] or "–",
            _number(row["val_accuracy"], ".4f"),
            _number(row["epochs"], "d"),
            _number(row["train_seconds"], ",.1f"),
            _number(row["parameters"], ",d"),
            settings,
        )
        table.add_row(*(Text(cell) for cell in cells))
    output().print(table)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _differing(recipes: list[dict[str, Any]]) -> list[str]:
    """Return the settings in which the recipes are not all the same."""
    return [name for name in recipes[0] if any(recipe.get(name) != recipes[0][name] for recipe in recipes)]
