"""`twofold batch-study`: what a batch size costs, measured on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.cli.parse import check_figure, parse
from twofold.errors import TwofoldError
from twofold.terminal import loading, note, output

if TYPE_CHECKING:
    from twofold.study.batch_sizes import BatchStudy


@dataclasses.dataclass(kw_only=True)
class BatchStudyArguments:
    """Measure what a batch size costs: loss against time for batches from one example to all of them.

    The problem is a linear regression on 1,500 examples of 5 features. Losses are the same each time, times are not.
    """

    sizes: str = "1,10,100,1500"
    """Batch sizes, with commas between; 1500 is the full set."""
    seed: int = 0
    """Seed of the examples and their order."""
    figure: Path | None = None
    """Draw the curves into this file (.png, .svg or .pdf)."""
    json: bool = False
    """Print one JSON object a batch size."""
    quiet: bool = False
    """Print results and errors only."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold batch-study`."""
    parsed = parse(BatchStudyArguments, arguments, verb="batch-study")
    if parsed.figure is not None:
        check_figure("--figure", parsed.figure)
    sizes = _sizes(parsed.sizes)
    with loading("torch"):
        from twofold.study.batch_sizes import draw_study, study_batch_sizes

    study = study_batch_sizes(sizes, seed=parsed.seed, show=not parsed.quiet)
    if parsed.json:
        for curve in study.curves:
            print(json.dumps(dataclasses.asdict(curve) | {"conditions": study.conditions}, ensure_ascii=False))
    else:
        output().print(_table(study))
    if parsed.figure is not None:
        draw_study(study, parsed.figure)
        note(f"wrote {parsed.figure}")
    return 0


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",") if size.strip()]
    except ValueError:
        raise TwofoldError(f"--sizes takes whole numbers with commas between, e.g. 1,10,100, got {text!r}") from None


def _table(study: BatchStudy) -> Any:
    from rich.table import Table

    made = Table(caption=study.conditions)
    for column in ("batch size", "learning rate", "ms an epoch", "ms to a loss 10 % above the least", "last loss"):
        made.add_column(column, justify="right")
    for curve in study.curves:
        reached = next((seconds for seconds, loss in curve.points if loss <= 1.1 * study.least_loss), None)
        made.add_row(
            f"{curve.batch_size:,}",
            f"{curve.lr:g}",
            f"{curve.epoch_seconds * 1e3:.2f}",
            "not reached" if reached is None else f"{reached * 1e3:.1f}",
            f"{curve.points[-1][1]:.5f}",
        )
    return made
