"""`twofold cost [NAME…]`: time, memory and error of both forms of each idea, on this machine."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path

from twofold.cli.parse import Names, check_least, parse, say_written
from twofold.proof.ideas import find
from twofold.terminal import loading, note, output, print_json, print_table, track


@dataclasses.dataclass(kw_only=True)
class CostArguments:
    """Measure what reading costs: both forms of each idea by turns, their time, peak memory and largest error."""

    names: Names = ()
    """Ideas to measure (see `twofold ideas`); all with something to measure if left out."""
    repeats: int = 7
    """How often each form runs; the table has the median."""
    figure: Path | None = None
    json: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(CostArguments, arguments, verb="cost")
    check_least(1, repeats=parsed.repeats)
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
    rows = []
    for found in costs:
        if parsed.json:
            forms = {"read": dataclasses.asdict(found.read), "run": dataclasses.asdict(found.run)}
            ratios = {"time_ratio": found.time_ratio, "memory_ratio": found.memory_ratio}
            record = {"idea": found.idea.name, "work": found.work, **forms, **ratios, "error": found.error}
            print_json({**record, "conditions": conditions})
        times = (f"{form.seconds * 1000:.2f}" for form in (found.read, found.run))
        peaks = (f"{form.peak_bytes / 2**20:.1f}" for form in (found.read, found.run))
        slower, larger = f"{found.time_ratio:.1f}x", f"{found.memory_ratio:.1f}x"
        rows.append((found.idea.name, *times, slower, *peaks, larger, f"{found.error:.0e}"))
    if not parsed.json:
        columns = ("idea", ">read ms", ">run ms", ">ratio", ">read MiB", ">run MiB", ">ratio", ">error")
        print_table(columns, rows, caption=conditions)
        output().print()
        for found in costs:
            output().print(f"{found.idea.name} was measured on {found.work}", markup=False)
    if parsed.figure is not None:
        from twofold.figures.cost import draw_costs

        draw_costs(costs, parsed.figure, conditions)
        say_written(parsed.figure)
    return 0
