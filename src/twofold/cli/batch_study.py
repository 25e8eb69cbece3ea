"""`twofold batch-study`: what a batch size costs, measured on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.cli.parse import parse, say_written
from twofold.terminal import loading, note, print_table

if TYPE_CHECKING:
    from twofold.study.batch_sizes import BatchStudy


@dataclasses.dataclass(kw_only=True)
class BatchStudyArguments:
    """Measure what a batch size costs: loss against time for batches from one example to all of them.

    The problem is a linear regression on 1,500 examples of 5 features. Losses are the same each time, times are not.
    """

    batch_size: tuple[int, ...] = (1, 10, 100, 1500)
    """Examples in a batch, one or several sizes; 1500 is all of them."""
    seed: int = 0
    """Seed of the examples and their order."""
    figure: Path | None = None
    json: bool = False
    """Print one JSON object a batch size."""
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold batch-study`."""
    parsed = parse(BatchStudyArguments, arguments, verb="batch-study")
    with loading("torch"):
        from twofold.study.batch_sizes import draw_study, study_batch_sizes

    if not parsed.quiet and not parsed.json:
        note(f"{len(parsed.batch_size)} batch sizes, each trained several times for 1,500 to 4,500 steps")
    study = study_batch_sizes(parsed.batch_size, seed=parsed.seed, show=not parsed.quiet)
    if parsed.json:
        for curve in study.curves:
            print(json.dumps(dataclasses.asdict(curve) | {"conditions": study.conditions}, ensure_ascii=False))
    else:
        _print_table(study)
    if parsed.figure is not None:
        draw_study(study, parsed.figure)
        say_written(parsed.figure)
    return 0


def _print_table(study: BatchStudy) -> None:
    rows = []
    for curve in study.curves:
        reached = next((seconds for seconds, loss in curve.points if loss <= 1.1 * study.least_loss), None)
        rows.append(
            (
                f"{curve.batch_size:,}",
                f"{curve.lr:g}",
                f"{curve.epoch_seconds * 1e3:.2f}",
                "not reached" if reached is None else f"{reached * 1e3:.1f}",
                f"{curve.points[-1][1]:.5f}",
            )
        )
    columns = (">batch size", ">lr", ">ms an epoch", ">ms to near the least", ">last loss")
    caption = f"near the least loss: 10 % above it. {study.conditions}"
    print_table(columns, rows, caption=caption)
