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
from twofold.terminal import loading, note, output, print_table, track

if TYPE_CHECKING:
    from twofold.proof.verify import Verdict

_MOST_MISSES = 10


@dataclasses.dataclass(kw_only=True)
class VerifyArguments:
    """Prove that the readable and the fast form of each idea agree: values, gradients, updates, shapes, refusals."""

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """Ideas to prove (see `twofold ideas`); all of them if left out. Named ones are shown with what was covered."""
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
        from twofold.proof.verify import expected_seconds, verify

    expected = expected_seconds(ideas, parsed.cases)
    if expected >= 2:
        note(f"{len(ideas)} ideas, {parsed.cases} drawn cases of each and the edge cases: about {expected:.0f} s")
    verdicts = [
        verify(idea, num_drawn=parsed.cases) for idea in track(ideas, total=len(ideas), label="verifying ideas")
    ]
    if parsed.json:
        for verdict in verdicts:
            print(json.dumps(_record(verdict), ensure_ascii=False))
    else:
        _print_table(verdicts, details=bool(parsed.names))
    for verdict in verdicts:
        for miss in verdict.misses[:_MOST_MISSES]:
            note(f"{verdict.idea.name}: {miss}")
        if len(verdict.misses) > _MOST_MISSES:
            note(f"{verdict.idea.name}: and {len(verdict.misses) - _MOST_MISSES} more")
    missed = sum(not verdict.holds for verdict in verdicts)
    total = sum(verdict.num_cases for verdict in verdicts)
    note(f"{len(verdicts) - missed} of {len(verdicts)} ideas hold, {total:,} cases")
    return 1 if missed else 0


def _print_table(verdicts: Sequence[Verdict], *, details: bool) -> None:
    import torch

    from twofold.proof.parity import KINDS, TOLERANCE
    from twofold.proof.verify import worst

    print_table(
        ("", "idea", ">cases", *(f">{kind}" for kind in KINDS), ">float32"),
        [
            (
                "✓" if verdict.holds else "✗",
                verdict.idea.name,
                str(verdict.num_cases),
                *(_error(verdict.error(kind)) for kind in KINDS),
                _error(worst(verdict, torch.float32)),
            )
            for verdict in verdicts
        ],
        caption=(
            "Largest errors in float64 by kind, in float32 of any kind,\n"
            "relative to the largest element of a result. "
            f"Allowed: {TOLERANCE[torch.float64]:.0e}, {TOLERANCE[torch.float32]:.0e}."
        ),
    )
    if details:
        for verdict in verdicts:
            output().print(f"\n{verdict.idea.name} covers: {', '.join(verdict.covered) or 'drawn cases'}", markup=False)
            if verdict.refused:
                output().print(f"refused by both forms: {', '.join(verdict.refused)}", markup=False)


def _error(error: float | None) -> str:
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
