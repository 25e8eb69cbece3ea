"""`twofold models`: every network with its size and its source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from twofold.cli.parse import check_least, parse
from twofold.errors import TwofoldError
from twofold.models.registry import MODELS
from twofold.terminal import loading, note, print_table


@dataclasses.dataclass(kw_only=True)
class ModelsArguments:
    """List the networks: parameters, multiply-adds for one image, source. `twofold summary MODEL` says more of one."""

    input: str | None = None
    classes: int | None = None


def run(arguments: Sequence[str]) -> int:
    parsed = parse(ModelsArguments, arguments, verb="models")
    shape = None if parsed.input is None else parse_shape(parsed.input)
    check_least(1, classes=parsed.classes)
    with loading("torch"):
        from twofold.models.summary import measure

    rows = []
    for name, entry in MODELS.items():
        try:
            cost = measure(name, input_shape=shape, num_classes=parsed.classes)
        except TwofoldError as error:
            note(f"{name}: {error}")
        else:
            size = "x".join(map(str, cost.input_shape))
            rows.append((name, size, f"{cost.parameters:,}", f"{cost.multiply_adds:,}", _short(entry.source)))
    caption = "a multiply-add is one multiplication and one addition, counted for one image\n" + _options()
    print_table(("model", "input", ">parameters", ">multiply-adds", "source…"), rows, caption=caption)
    return 0


def _options() -> str:
    """Each option of --model-options with its values and the networks that have it, a line each."""
    lines = []
    for option, choices in {key: value for entry in MODELS.values() for key, value in entry.options.items()}.items():
        having = [name for name, entry in MODELS.items() if option in entry.options]
        lacking = [name for name in MODELS if name not in having]
        who = f"all but {', '.join(lacking)}" if len(having) > len(lacking) else ", ".join(having)
        values = " or ".join(map(str, choices)) if isinstance(choices, tuple) else choices
        lines.append(f"--model-options {option} {values}: {who if lacking else 'all'}")
    return "\n".join(lines)


def _short(source: str) -> str:
    """The first authors and the year of a source, e.g. He et al. 2016; its title is in `twofold summary`."""
    first, _, rest = source.partition(";")[0].partition(", ")
    others = " et al." if " and " in rest.partition(",")[0] else ""
    year = re.search(r" \d{4}$", rest)
    return f"{first}{others}{year[0]}" if year else first


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return "1x28x28" as (1, 28, 28)."""
    match = re.fullmatch(r"(\d+)[x×,](\d+)[x×,](\d+)", text)
    if match is None or 0 in (shape := tuple(int(part) for part in match.groups())):
        raise TwofoldError(f"--input must look like 1x28x28 (channels, height, width), got {text!r}")
    return shape[0], shape[1], shape[2]
