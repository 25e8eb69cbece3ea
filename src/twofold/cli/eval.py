"""`twofold eval RUN`: exact metrics over every image once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from twofold.cli.parse import parse
from twofold.engine.options import Options
from twofold.terminal import loading, print_json, print_table


@dataclasses.dataclass(kw_only=True)
class EvalArguments:
    """Measure the best weights of a run over every image once."""

    run: tyro.conf.Positional[Path]
    data: str | None = None
    """Other images with the same classes, a named data set or a folder; the run's own if left out."""
    split: Literal["train", "val", "test"] | None = None
    """Which images; those for testing, or what there is, if left out."""
    skip_broken: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    json: bool = False
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
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
        print_json(metrics)
        return 0
    rows = []
    for row in metrics["classes"]:
        shares = ("–" if row[name] is None else f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        rows.append((row["name"], f"{row['count']:,}", *shares))
    title = f"{metrics['data']} {metrics['split']}: {metrics['num_images']:,} images"
    print_table(("class", ">images", ">precision", ">recall", ">F1"), rows, title=title)
    print(
        f"accuracy {metrics['accuracy']:.4f}  top-5 {metrics['top5_accuracy']:.4f}  loss {metrics['loss']:.4f}  "
        f"calibration error {metrics['calibration_error']:.4f}"
    )
    return 0
