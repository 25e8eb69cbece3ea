"""`twofold verify [NAME…]`: prove that the two forms of each idea agree, and say how closely."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.proof.ideas import find
from twofold.terminal import loading, note, output, track

if TYPE_CHECKING:
    from twofold.proof.verify import Verdict

_MOST_MISSES = 10


@dataclasses.dataclass(kw_only=True)
class VerifyArguments:
    """Prove that the readable and the fast form of each idea agree: values, gradients, updates, shapes, refusals."""

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """Ideas to prove (see `twofold ideas`); all of them if left out."""
    cases: int = 30
    """How many drawn cases of each, beside the edge cases."""
    json: bool = False
    """Print one JSON object an idea."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold verify`; the exit code is 1 if any two forms differ."""
    parsed = parse(VerifyArguments, arguments, verb="verify")
    if parsed.cases < 1:
        raise TwofoldError(f"--cases must be 1 or more, got {parsed.cases}")
    ideas = find(parsed.names)
    with loading("torch"):
        from twofold.proof.verify import verify

    verdicts = [
        verify(idea, num_drawn=parsed.cases) for idea in track(ideas, total=len(ideas), label="verifying ideas")
    ]
    if parsed.json:
        for verdict in verdicts:
            print(json.dumps(_record(verdict), ensure_ascii=False))
    else:
        output().print(_table(verdicts))
    for verdict in verdicts:
        for miss in verdict.misses[:_MOST_MISSES]:
            note(f"{verdict.idea.name}: {miss}")
        if len(verdict.misses) > _MOST_MISSES:
            note(f"{verdict.idea.name}: and {len(verdict.misses) - _MOST_MISSES} more")
    missed = sum(not verdict.holds for verdict in verdicts)
    total = sum(verdict.num_cases for verdict in verdicts)
    note(f"{len(verdicts) - missed} of {len(verdicts)} ideas hold, {total:,} cases")
    return 1 if missed else 0


def _table(verdicts: Sequence[Verdict]) -> Any:
    import torch
    from rich.table import Table

    from twofold.proof.parity import KINDS, TOLERANCE
    from twofold.proof.verify import worst

    caption = (
        "largest error relative to the largest number of a result; allowed: "
        f"{TOLERANCE[torch.float64]:.0e} in float64, {TOLERANCE[torch.float32]:.0e} in float32"
    )
    table = Table(caption=caption)
    table.add_column("")
    table.add_column("idea", no_wrap=True)
    for column in ("cases", *KINDS, "float32"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("covered", overflow="fold")
    table.add_column("refused by both", overflow="fold")
    for verdict in verdicts:
        errors = [verdict.error(kind) for kind in KINDS]
        table.add_row(
            "[green]✓[/green]" if verdict.holds else "[red]✗[/red]",
            verdict.idea.name,
            str(verdict.num_cases),
            *(_number(error) for error in (*errors, worst(verdict, torch.float32))),
            ", ".join(verdict.covered),
            ", ".join(verdict.refused),
        )
    return table


def _number(error: float | None) -> str:
    if error is None:
        return ""
    return "0" if error == 0 else f"{error:.0e}"


def _record(verdict: Verdict) -> dict[str, Any]:
    return {
        "idea": verdict.idea.name,
        "holds": verdict.holds,
        "cases": verdict.num_cases,
        "errors": [
            {"kind": kind, "dtype": str(dtype).removeprefix("torch."), "error": error}
            for (kind, dtype), error in verdict.errors.items()
        ],
        "covered": verdict.covered,
        "refused": verdict.refused,
        "misses": verdict.misses,
    }
