"""`twofold batch-study`: what a batch size costs, measured on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from twofold.cli.parse import parse, say_written
from twofold.terminal import loading, note, print_json, print_table


@dataclasses.dataclass(kw_only=True)
class BatchStudyArguments:
    """Measure what a batch size costs: loss against time for batches from one example to all of them.

    The problem is a linear regression on 1,500 examples of 5 features. Losses are the same each time, times are not.
    """

    batch_size: tuple[int, ...] = (1, 10, 100, 1500)
    """Examples in a batch, one or several sizes; 1500 is all of them."""
    seed: int = 0
    figure: Path | None = None
    json: bool = False
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(BatchStudyArguments, arguments, verb="batch-study")
    with loading("torch"):
        from twofold.study.batch_sizes import draw_study, study_batch_sizes

    if not parsed.quiet and not parsed.json:
        note(f"{len(parsed.batch_size)} batch sizes, each trained several times for 1,500 to 4,500 steps")
    study = study_batch_sizes(parsed.batch_size, seed=parsed.seed, show=not parsed.quiet)
    rows = []
    for curve in study.curves:
        if parsed.json:
            print_json(dataclasses.asdict(curve) | {"conditions": study.conditions})
        reached = next((seconds for seconds, loss in curve.points if loss <= 1.1 * study.least_loss), None)
        near = "not reached" if reached is None else f"{reached * 1e3:.1f}"
        epoch, last_loss = f"{curve.epoch_seconds * 1e3:.2f}", f"{curve.points[-1][1]:.5f}"
        rows.append((f"{curve.batch_size:,}", f"{curve.lr:g}", epoch, near, last_loss))
    if not parsed.json:
        columns = (">batch size", ">lr", ">ms an epoch", ">ms to near the least", ">last loss")
        print_table(columns, rows, caption=f"near the least loss: 10 % above it. {study.conditions}")
    if parsed.figure is not None:
        draw_study(study, parsed.figure)
        say_written(parsed.figure)
    return 0
