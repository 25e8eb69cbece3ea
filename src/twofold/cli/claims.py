"""`twofold claims [NAME…]`: what theory says of gradients and steps, measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from twofold.cli.parse import Names, check_least, parse, say_written
from twofold.errors import TwofoldError, check_known
from twofold.study.claim_names import CLAIMS
from twofold.terminal import loading, note, print_json, print_table, track

# On two cores of an Intel Xeon server, torch 2.15.
_SECONDS = {"unbiased": 3, "variance": 7, "step-size": 2, "memory": 1}


@dataclasses.dataclass(kw_only=True)
class ClaimsArguments:
    """Measure what theory says of stochastic gradients, step sizes and momentum, and compare.

    On a network, the embedded images and the optimisers that training uses. Exits with 1 if a claim fails.
    """

    names: Names = ()
    """unbiased, variance, step-size or memory; all of them if left out."""
    seed: int = 0
    figure: Path | None = None
    """Draw the measurements into this file (.png, .svg or .pdf); needs all but unbiased."""
    json: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(ClaimsArguments, arguments, verb="claims")
    for name in parsed.names:
        check_known("claim", name, CLAIMS)
    check_least(0, seed=parsed.seed)
    missing = [name for name in ("variance", "step-size", "memory") if parsed.names and name not in parsed.names]
    if parsed.figure is not None and missing:
        raise TwofoldError(f"--figure shows {missing[0]} too: name it, or leave all names out")
    with loading("torch"):
        from twofold.study.claims import NUM_IMAGES, Evidence, measure_claims

    evidence = Evidence()
    measured, rows = [], []
    names = list(dict.fromkeys(parsed.names)) or list(CLAIMS)
    note(f"{len(names)} of {len(CLAIMS)} claims: about {sum(_SECONDS[name] for name in names)} s")
    for name in track(names, total=len(names), label="measuring claims"):
        for found in measure_claims([name], seed=parsed.seed, evidence=evidence):
            measured.append(found)
            tolerance = None if found.at_least else found.tolerance
            if parsed.json:
                print_json({**dataclasses.asdict(found), "tolerance": tolerance, "holds": found.holds})
            theory = f"{'≥ ' * found.at_least}{found.expected:.5g}"
            within = "" if tolerance is None else f"{tolerance:.1g}"
            mark = "✓" if found.holds else "✗"
            rows.append((found.claim, found.what, f"{found.measured:.5g}", theory, within, mark))
    if not parsed.json:
        print_table(("claim", "what was measured…", ">measured", ">theory", ">within", ""), rows)
    if parsed.figure is not None:
        from twofold.figures.curvature import draw_claims

        draw_claims(
            evidence.with_replacement, evidence.without, NUM_IMAGES, evidence.bounds, evidence.memories, parsed.figure
        )
        say_written(parsed.figure)
    holding = sum(found.holds for found in measured)
    note(f"{holding} of {len(measured)} measurements agree with theory")
    return 0 if holding == len(measured) else 1
