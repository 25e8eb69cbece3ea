"""`twofold cost [NAME…]`: time, memory and error of both forms of each idea, on this machine."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.parse import check_figure, parse
from twofold.errors import TwofoldError
from twofold.proof.ideas import find
from twofold.terminal import loading, note, output, print_table, track

if TYPE_CHECKING:
    from twofold.proof.cost import Cost


@dataclasses.dataclass(kw_only=True)
class CostArguments:
    """Measure what reading costs: both forms of each idea by turns, their time, peak memory and largest error."""

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """Ideas to measure (see `twofold ideas`); all with something to measure if left out."""
    repeats: int = 7
    """How often each form runs; the table has the median."""
    figure: Path | None = None
    """Draw the table as a figure into this file (.png, .svg or .pdf)."""
    json: bool = False
    """Print one JSON object an idea."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold cost`."""
    parsed = parse(CostArguments, arguments, verb="cost")
    if parsed.repeats < 1:
        raise TwofoldError(f"--repeats must be 1 or more, got {parsed.repeats}")
    if parsed.figure is not None:
        check_figure("--figure", parsed.figure)
    ideas = find(parsed.names)
    with loading("torch"):
        import torch

        from twofold.proof.cost import cost, expected_seconds, has_cost

    if not parsed.names:
        ideas = [idea for idea in ideas if has_cost(idea)]
    expected = expected_seconds(ideas, parsed.repeats)
    if expected >= 2:
        note(f"{len(ideas)} ideas, each form {parsed.repeats} times: about {expected:.0f} s")
    costs = [cost(idea, repeats=parsed.repeats) for idea in track(ideas, total=len(ideas), label="measuring ideas")]
    conditions = (
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32, "
        f"median of {parsed.repeats} runs by turns"
    )
    if parsed.json:
        for measured in costs:
            print(json.dumps(_record(measured, conditions), ensure_ascii=False))
    else:
        _print_table(costs, conditions)
    if parsed.figure is not None:
        from twofold.figures.cost import draw_costs

        draw_costs(costs, parsed.figure, conditions)
        note(f"wrote {parsed.figure}")
    return 0


def _print_table(costs: Sequence[Cost], conditions: str) -> None:
    print_table(
        ("idea", ">read ms", ">run ms", ">ratio", ">read MiB", ">run MiB", ">ratio", ">error"),
        [
            (
                measured.idea.name,
                *(f"{form.seconds * 1000:.2f}" for form in (measured.read, measured.run)),
                f"{measured.time_ratio:.1f}x",
                *(f"{form.peak_bytes / 2**20:.1f}" for form in (measured.read, measured.run)),
                f"{measured.memory_ratio:.1f}x",
                f"{measured.error:.0e}",
            )
            for measured in costs
        ],
        caption=conditions,
    )
    output().print()
    for measured in costs:
        output().print(f"{measured.idea.name} was measured on {measured.work}", markup=False)


def _record(measured: Cost, conditions: str) -> dict[str, Any]:
    return {
        "idea": measured.idea.name,
        "work": measured.work,
        "read": dataclasses.asdict(measured.read),
        "run": dataclasses.asdict(measured.run),
        "time_ratio": measured.time_ratio,
        "memory_ratio": measured.memory_ratio,
        "error": measured.error,
        "conditions": conditions,
    }
