"""`twofold models`: every network with its size and its source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.models.registry import MODELS
from twofold.terminal import loading, note, output


@dataclasses.dataclass(kw_only=True)
class ModelsArguments:
    """List the networks: parameters, multiply-adds for one image, source."""

    input: str | None = None
    """Shape of the images, e.g. 1x28x28 (channels, height, width); each paper's own if left out."""
    classes: int | None = None
    """Number of classes; 10 for networks made for 28 px images and 1000 for the others, if left out."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold models`."""
    parsed = parse(ModelsArguments, arguments, verb="models")
    shape = None if parsed.input is None else parse_shape(parsed.input)
    if parsed.classes is not None and parsed.classes < 1:
        raise TwofoldError(f"--classes must be 1 or more, got {parsed.classes}")
    from rich.table import Table

    with loading("torch"):
        from twofold.models.measure import measure

    table = Table(caption="a multiply-add is one multiplication and one addition, counted for one image")
    for column in ("model", "input", "parameters", "multiply-adds", "options", "source"):
        right = column in {"parameters", "multiply-adds"}
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for name, entry in MODELS.items():
        try:
            cost = measure(name, input_shape=shape, num_classes=parsed.classes)
        except TwofoldError as error:
            note(f"{name}: {error}")
            continue
        options = " ".join(
            f"{option} {'|'.join(map(str, choices)) if isinstance(choices, tuple) else choices}"
            for option, choices in entry.options.items()
        )
        size = "x".join(map(str, cost.input_shape))
        table.add_row(name, size, f"{cost.parameters:,}", f"{cost.multiply_adds:,}", options, entry.source)
    output().print(table)
    return 0


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return "1x28x28" as (1, 28, 28)."""
    match = re.fullmatch(r"(\d+)[x×,](\d+)[x×,](\d+)", text)
    if match is None or 0 in (shape := tuple(int(part) for part in match.groups())):
        raise TwofoldError(f"--input must look like 1x28x28 (channels, height, width), got {text!r}")
    return shape[0], shape[1], shape[2]
