"""`twofold eval RUN`: exact metrics over every image once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import parse
from twofold.engine.options import Options
from twofold.terminal import loading, output


@dataclasses.dataclass(kw_only=True)
class EvalArguments:
    """Measure the best weights of a run over every image once."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    data: str | None = None
    """Other images with the same classes: a named data set or a folder. The run's own if left out."""
    split: Literal["train", "val", "test"] | None = None
    """Which images; the test images, or what there is, if left out."""
    skip_broken: bool = False
    """Go on without images that cannot be read."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    json: bool = False
    """Print the metrics as JSON."""
    quiet: bool = False
    """Print the result only."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold eval`."""
    parsed = parse(EvalArguments, arguments, verb="eval")
    with loading("torch"):
        from twofold import api

    metrics = api.evaluate(
        parsed.run,
        data=parsed.data,
        split=parsed.split,
        options=Options(show=not (parsed.quiet or parsed.json), skip_broken=parsed.skip_broken),
        device=parsed.device,
    )
    if parsed.json:
        print(json.dumps(metrics, ensure_ascii=False))
        return 0
    from rich.table import Table

    table = Table(title=f"{metrics['data']} {metrics['split']}: {metrics['num_images']:,} images")
    for column in ("class", "images", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in metrics["classes"]:
        values = ["–" if row[name] is None else f"{row[name]:.3f}" for name in ("precision", "recall", "f1")]
        table.add_row(row["name"], f"{row['count']:,}", *values)
    console = output()
    console.print(table, markup=False)
    console.print(
        f"accuracy {metrics['accuracy']:.4f}  top-5 {metrics['top5_accuracy']:.4f}  loss {metrics['loss']:.4f}  "
        f"calibration error {metrics['calibration_error']:.4f}"
    )
    return 0
