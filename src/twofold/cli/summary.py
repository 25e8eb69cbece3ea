"""`twofold summary MODEL`: what a network does to an image, layer by layer."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Sequence

import tyro

from twofold.cli.models import parse_shape
from twofold.cli.parse import check_least, parse, typed
from twofold.errors import check_known
from twofold.models.registry import MODELS, check_model_options, resolve_options
from twofold.terminal import loading, print_json, print_table


@dataclasses.dataclass(kw_only=True)
class SummaryArguments:
    """Print a network layer by layer: output shape, parameters, multiply-adds, receptive field."""

    model: tyro.conf.Positional[str]
    input: str | None = None
    classes: int | None = None
    model_options: dict[str, str] = dataclasses.field(default_factory=dict)
    """Options of the network, e.g. width 0.5; the stem follows the size of the images if left out."""
    json: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(SummaryArguments, arguments, verb="summary")
    entry = MODELS[check_known("model", parsed.model, MODELS)]
    shape = entry.input_shape if parsed.input is None else parse_shape(parsed.input)
    size = (shape[1], shape[2])
    given = {name: typed(value) for name, value in parsed.model_options.items()}
    check_model_options(parsed.model, given)
    check_least(1, classes=parsed.classes)
    with loading("torch"):
        import torch

        from twofold.models.registry import create_model
        from twofold.models.summary import default_classes, summarise

    options = resolve_options(parsed.model, given, size)
    num_classes = parsed.classes or default_classes(parsed.model)
    with torch.device("meta"):
        model = create_model(
            parsed.model, in_channels=shape[0], num_classes=num_classes, image_size=size, options=options
        )
    layers = summarise(model)
    rows, open_modules = [], []
    for layer in layers:
        name, seen = layer.name, "all"
        fields = jumps = None
        if layer.field is not None:
            fields, jumps = [side.field for side in layer.field], [side.jump for side in layer.field]
            seen = "x".join(map(str, dict.fromkeys(fields)))
        if parsed.json:
            print_json({**dataclasses.asdict(layer), "field": fields, "jump": jumps})
        if sys.stdout.isatty():
            # Of a name that many layers begin with, a terminal shows each part once, above them, so that 80 columns do.
            *modules, name = layer.name.split(".")
            for depth, module in enumerate(modules):
                if open_modules[: depth + 1] != modules[: depth + 1]:
                    rows.append((" " * depth + module, *[""] * 5))
            open_modules, name = modules, " " * len(modules) + name
        output = "x".join(map(str, layer.output_shape))
        counts = (f"{count:,}" if count else "" for count in (layer.parameters, layer.multiply_adds))
        rows.append((name, layer.kind, output, *counts, seen))
    if not parsed.json:
        chosen = " ".join(f"{name}={value}" for name, value in options.items())
        title = f"{parsed.model} {chosen}".strip() + f", one image of {'x'.join(map(str, shape))}"
        sums = (f"{sum(getattr(layer, name) for layer in layers):,}" for name in ("parameters", "multiply_adds"))
        columns = ("layer", "kind", ">output", ">parameters", ">multiply-adds", ">sees")
        caption = "sees: receptive field, the side in px of what an element depends on\n"
        caption += textwrap.fill(f"source: {entry.source}", 80, subsequent_indent=" " * 8)
        print_table(columns, rows, title=title, total=("total", "", "", *sums, ""), caption=caption)
    return 0
