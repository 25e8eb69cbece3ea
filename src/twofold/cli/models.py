"""`twofold models`: every network with its size and its source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import tyro

from twofold.cli.parse import check_least, parse
from twofold.errors import TwofoldError
from twofold.models.registry import MODELS, ModelEntry
from twofold.terminal import loading, note, print_table


@dataclasses.dataclass(kw_only=True)
class ModelsArguments:
    """List the networks: parameters, multiply-adds for one image, source; twofold summary MODEL says more of one.

    With a word, only those that it is found in.
    """

    word: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[WORD]")] = None
    """A part of a name, of what the network is, or of its authors and paper."""
    input: str | None = None
    classes: int | None = None


def run(arguments: Sequence[str]) -> int:
    parsed = parse(ModelsArguments, arguments, verb="models")
    shape = None if parsed.input is None else parse_shape(parsed.input)
    check_least(1, classes=parsed.classes)
    word = (parsed.word or "").lower()
    found = {name: entry for name, entry in MODELS.items() if word in f"{name} {entry.summary} {entry.source}".lower()}
    if not found:
        raise TwofoldError(f"no network has {parsed.word!r} in it; twofold models lists them all")
    with loading("torch"):
        from twofold.models.summary import measure

    rows = []
    for name, entry in found.items():
        try:
            cost = measure(name, input_shape=shape, num_classes=parsed.classes)
        except TwofoldError as error:
            note(f"{name}: {error}")
        else:
            size = "x".join(map(str, cost.input_shape))
            rows.append((name, size, f"{cost.parameters:,}", f"{cost.multiply_adds:,}", _short(entry.source)))
    caption = "a multiply-add is one multiplication and one addition, counted for one image\n" + _options(found)
    if {"lenet", "lenet-bn"} <= found.keys():
        caption = "to begin with, take lenet-bn; lenet, with the paper's sigmoids, starts slowly\n" + caption
    print_table(("model", "input", ">parameters", ">multiply-adds", "source…"), rows, caption=caption)
    return 0


def _options(models: Mapping[str, ModelEntry]) -> str:
    """Each option of --model-options with its values and the networks that have it, a line each."""
    lines = []
    for option, choices in {key: value for entry in models.values() for key, value in entry.options.items()}.items():
        having = [name for name, entry in models.items() if option in entry.options]
        lacking = [name for name in models if name not in having]
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
