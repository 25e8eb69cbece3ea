"""The proof, carried out: run every parity case of an idea and measure how far apart its two forms are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from twofold.proof.ideas import Idea
from twofold.proof.parity import KINDS, cases, compare, refuses

# Seconds on one core of an Intel Xeon server, torch 2.15: a drawn case, and the edge cases, where they are slow.
_DRAWN_SECONDS, _SLOW_DRAWN = (
    0.0025,
    {
        **{"mlp": 0.01, "five-steps": 0.07, "lenet": 0.05, "resnet": 0.01},
        **{"detection-average-precision": 0.1, "detection-errors": 0.02, "multibox-loss": 0.02},
        **{"iou-crop": 0.015},
    },
)
_EDGE_SECONDS, _SLOW_EDGES = (
    0.01,
    {
        **{"linear": 0.4, "conv2d-pieces": 0.7, "resnet": 3.6, "match-anchors": 0.2},
        **{"detection-average-precision": 0.5, "detection-errors": 0.1, "iou-crop": 0.15},
    },
)


@dataclass
class Verdict:
    """What the cases of one idea showed.

    Attributes:
        idea: what was compared.
        num_cases: number of cases.
        errors: the largest error by kind ("value", "gradient", "update") and dtype.
        covered: what the cases cover, each once.
        refused: what both forms refused.
        misses: one line for each difference that rounding does not explain.
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


def expected_seconds(ideas: Sequence[Idea], num_drawn: int) -> float:
    """Return about how long `verify` takes for all of `ideas`, from what it took on one core of a server."""
    return sum(
        num_drawn * _SLOW_DRAWN.get(idea.name, _DRAWN_SECONDS) + _SLOW_EDGES.get(idea.name, _EDGE_SECONDS)
        for idea in ideas
    )


def worst(verdict: Verdict, dtype: torch.dtype) -> float | None:
    """Return the largest error of any kind in `dtype`."""
    errors = [error for kind in KINDS if (error := verdict.error(kind, dtype)) is not None]
    return max(errors, default=None)
