"""`twofold verify [NAME…]`: prove that the two forms of each idea agree, and say how closely."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from twofold.cli.parse import Names, check_least, parse
from twofold.proof.ideas import find
from twofold.terminal import loading, note, output, print_json, print_table, track

_MOST_MISSES = 10


@dataclasses.dataclass(kw_only=True)
class VerifyArguments:
    """Prove that the readable and the fast form of each idea agree: values, gradients, updates, shapes, refusals."""

    names: Names = ()
    """Ideas to prove (see `twofold ideas`); all of them if left out. Named ones are shown with what was covered."""
    cases: int = 30
    """How many drawn cases of each, beside the edge cases."""
    json: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(VerifyArguments, arguments, verb="verify")
    check_least(1, cases=parsed.cases)
    ideas = find(parsed.names)
    with loading("torch"):
        import torch

        from twofold.proof.parity import KINDS, TOLERANCE
        from twofold.proof.verify import expected_seconds, verify, worst

    expected = expected_seconds(ideas, parsed.cases)
    if expected >= 2:
        note(f"{len(ideas)} ideas, {parsed.cases} drawn cases of each and the edge cases: about {expected:.0f} s")
    progress = track(ideas, total=len(ideas), label="verifying ideas")
    verdicts = [verify(idea, num_drawn=parsed.cases) for idea in progress]
    rows = []
    for verdict in verdicts:
        if parsed.json:
            errors = [
                {"kind": kind, "dtype": str(dtype).removeprefix("torch."), "error": error}
                for (kind, dtype), error in verdict.errors.items()
            ]
            record = {"idea": verdict.idea.name, "holds": verdict.holds, "cases": verdict.num_cases, "errors": errors}
            print_json(record | {name: getattr(verdict, name) for name in ("covered", "refused", "misses")})
        largest = map(_error, (*map(verdict.error, KINDS), worst(verdict, torch.float32)))
        rows.append(("✓" if verdict.holds else "✗", verdict.idea.name, str(verdict.num_cases), *largest))
    if not parsed.json:
        caption = (
            "Largest errors in float64 by kind, in float32 of any kind,\nrelative to the largest element of a result. "
            f"Allowed: {TOLERANCE[torch.float64]:.0e}, {TOLERANCE[torch.float32]:.0e}."
        )
        print_table(("", "idea", ">cases", *(f">{kind}" for kind in KINDS), ">float32"), rows, caption=caption)
        for verdict in verdicts if parsed.names else ():
            output().print(f"\n{verdict.idea.name} covers: {', '.join(verdict.covered) or 'drawn cases'}", markup=False)
            if verdict.refused:
                output().print(f"refused by both forms: {', '.join(verdict.refused)}", markup=False)
    for verdict in verdicts:
        for miss in verdict.misses[:_MOST_MISSES]:
            note(f"{verdict.idea.name}: {miss}")
        if len(verdict.misses) > _MOST_MISSES:
            note(f"{verdict.idea.name}: and {len(verdict.misses) - _MOST_MISSES} more")
    missed = sum(not verdict.holds for verdict in verdicts)
    total = sum(verdict.num_cases for verdict in verdicts)
    note(f"{len(verdicts) - missed} of {len(verdicts)} ideas hold, {total:,} cases")
    return 1 if missed else 0


def _error(error: float | None) -> str:
    if error is None:
        return ""
    return "0" if error == 0 else f"{error:.0e}"
