"""`twofold claims [NAME…]`: what theory says of gradients and steps, measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.parse import check_figure, parse
from twofold.errors import TwofoldError, check_known
from twofold.study.claim_names import CLAIMS
from twofold.terminal import loading, note, print_table, track

if TYPE_CHECKING:
    from twofold.study.claims import Measured

# On two cores of an Intel Xeon server, torch 2.15.
_SECONDS = {"unbiased": 3, "variance": 7, "step-size": 2, "memory": 1}


@dataclasses.dataclass(kw_only=True)
class ClaimsArguments:
    """Measure what theory says of stochastic gradients, step sizes and momentum, and compare.

    On a network, the embedded images and the optimisers that training uses. Exits with 1 if a claim fails.
    """

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """unbiased, variance, step-size or memory; all of them if left out."""
    seed: int = 0
    """Of images, initial weights and draws."""
    figure: Path | None = None
    """Draw the measurements into this file (.png, .svg or .pdf); needs all but unbiased."""
    json: bool = False
    """Print one JSON object a measurement."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold claims`."""
    parsed = parse(ClaimsArguments, arguments, verb="claims")
    for name in parsed.names:
        check_known("claim", name, CLAIMS)
    if parsed.seed < 0:
        raise TwofoldError(f"--seed must be 0 or more, got {parsed.seed}")
    if parsed.figure is not None:
        check_figure("--figure", parsed.figure)
        missing = [name for name in ("variance", "step-size", "memory") if parsed.names and name not in parsed.names]
        if missing:
            raise TwofoldError(f"--figure shows {missing[0]} too: name it, or leave all names out")
    with loading("torch"):
        from twofold.study.claims import NUM_IMAGES, Evidence, measure_claims

    evidence = Evidence()
    measured: list[Measured] = []
    names = list(dict.fromkeys(parsed.names)) or list(CLAIMS)
    note(f"{len(names)} of {len(CLAIMS)} claims: about {sum(_SECONDS[name] for name in names)} s")
    for name in track(names, total=len(names), label="measuring claims"):
        for found in measure_claims([name], seed=parsed.seed, evidence=evidence):
            measured.append(found)
            if parsed.json:
                print(json.dumps(_record(found), ensure_ascii=False), flush=True)
    if not parsed.json:
        _print_table(measured)
    if parsed.figure is not None:
        from twofold.figures.curvature import draw_claims

        draw_claims(
            evidence.with_replacement, evidence.without, NUM_IMAGES, evidence.bounds, evidence.memories, parsed.figure
        )
        note(f"wrote {parsed.figure}")
    holding = sum(found.holds for found in measured)
    note(f"{holding} of {len(measured)} measurements agree with theory")
    return 0 if holding == len(measured) else 1


def _print_table(measured: Sequence[Measured]) -> None:
    print_table(
        ("claim", "what was measured…", ">measured", ">theory", ">within", ""),
        [
            (
                found.claim,
                found.what,
                f"{found.measured:.5g}",
                f"≥ {found.expected:.5g}" if found.at_least else f"{found.expected:.5g}",
                "" if found.at_least else f"{found.tolerance:.1g}",
                "✓" if found.holds else "✗",
            )
            for found in measured
        ],
    )


def _record(found: Measured) -> dict[str, Any]:
    record = dataclasses.asdict(found)
    if found.at_least:
        record["tolerance"] = None
    return {**record, "holds": found.holds}
