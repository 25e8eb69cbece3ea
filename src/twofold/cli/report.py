"""`twofold report RUN`: write the run's page again, from the files in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from twofold.cli.parse import parse
from twofold.terminal import say


@dataclasses.dataclass(kw_only=True)
class ReportArguments:
    """Write the report.html of a run again, from the files in its folder."""

    run: tyro.conf.Positional[Path]


def run(arguments: Sequence[str]) -> int:
    parsed = parse(ReportArguments, arguments, verb="report")
    from twofold.report import write_report

    say(str(write_report(parsed.run)))
    return 0
