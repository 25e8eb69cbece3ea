"""The proof, carried out: run every parity case of an idea and say how far apart its two forms were."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from twofold.proof.ideas import Idea
from twofold.proof.parity import KINDS, cases, compare, refuses


@dataclass
class Verdict:
    """What the cases of one idea showed.

    Attributes:
        idea: whose they were.
        num_cases: how many.
        errors: the largest error by kind ("value", "gradient", "update") and dtype.
        covered: what the cases said they cover, each once.
        refused: what both forms turned down.
        misses: one line a difference that rounding does not explain.
    """

    idea: Idea
    num_cases: int = 0
    errors: dict[tuple[str, torch.dtype], float] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the two forms are equal as far as these cases can tell."""
        return not self.misses and self.num_cases > 0 and bool(self.errors)

    def error(self, kind: str, dtype: torch.dtype = torch.float64) -> float | None:
        """Return the largest error of a kind, or None where nothing of it was compared."""
        return self.errors.get((kind, dtype))


def verify(idea: Idea, *, num_drawn: int = 30) -> Verdict:
    """Run an idea's edge cases, `num_drawn` drawn ones and its refusals, the same ones every time."""
    verdict, parity = Verdict(idea), idea.parity()
    for case in cases(idea.name, parity, num_drawn):
        verdict.num_cases += 1
        verdict.covered += [what for what in case.covers if what not in verdict.covered]
        for difference in compare(case):
            key = difference.kind, difference.dtype
            verdict.errors[key] = max(verdict.errors.get(key, 0.0), difference.error)
            if not difference.holds:
                verdict.misses.append(f"{', '.join(case.covers) or 'a drawn case'}: {difference}")
    for refusal in parity.refusals():
        for form, call in (("the readable form", refusal.read), ("the fast form", refusal.run)):
            if not refuses(call):
                verdict.misses.append(f"{form} takes {refusal.what}")
        verdict.refused.append(refusal.what)
    return verdict


def worst(verdict: Verdict, dtype: torch.dtype) -> float | None:
    """Return the largest error of any kind in `dtype`."""
    errors = [error for kind in KINDS if (error := verdict.error(kind, dtype)) is not None]
    return max(errors, default=None)
