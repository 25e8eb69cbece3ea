"""`twofold summary MODEL`: what a network does to an image, layer by layer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tyro

from twofold.cli.models import parse_shape
from twofold.cli.parse import check_least, parse, typed
from twofold.errors import check_known
from twofold.models.registry import MODELS, check_model_options, resolve_options
from twofold.terminal import loading, print_table

if TYPE_CHECKING:
    from twofold.models.summary import Field, Layer


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
    """Carry out `twofold summary`."""
    parsed = parse(SummaryArguments, arguments, verb="summary")
    entry = MODELS[check_known("model", parsed.model, MODELS)]
    shape = entry.input_shape if parsed.input is None else parse_shape(parsed.input)
    given = {name: typed(value) for name, value in parsed.model_options.items()}
    check_model_options(parsed.model, given)
    check_least(1, classes=parsed.classes)
    with loading("torch"):
        import torch

        from twofold.models.registry import create_model
        from twofold.models.summary import default_classes, summarise

    options = resolve_options(parsed.model, given, (shape[1], shape[2]))
    with torch.device("meta"):
        model = create_model(
            parsed.model,
            in_channels=shape[0],
            num_classes=parsed.classes or default_classes(parsed.model),
            image_size=(shape[1], shape[2]),
            options=options,
        )
    layers = summarise(model)
    if parsed.json:
        for layer in layers:
            print(json.dumps(_record(layer)))
        return 0
    chosen = " ".join(f"{name}={value}" for name, value in options.items())
    title = f"{parsed.model} {chosen}".strip() + f", one image of {'x'.join(map(str, shape))}: {entry.source}"
    _print_table(layers, title)
    return 0


def _print_table(layers: Sequence[Layer], title: str) -> None:
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
            _sees(layer.field),
        )
        for layer in layers
    ]
    sums = [sum(getattr(layer, name) for layer in layers) for name in ("parameters", "multiply_adds")]
    print_table(
        ("layer", "kind", ">output", ">parameters", ">multiply-adds", ">sees, px"),
        rows,
        title=title,
        total=("total", "", "", *(f"{value:,}" for value in sums), ""),
    )


def _sees(field: Field) -> str:
    if field is None:
        return "all"
    rows, cols = field
    return str(rows.field) if rows.field == cols.field else f"{rows.field}x{cols.field}"


def _record(layer: Layer) -> dict[str, Any]:
    record = dataclasses.asdict(layer)
    record["field"] = None if layer.field is None else [side.field for side in layer.field]
    record["jump"] = None if layer.field is None else [side.jump for side in layer.field]
    return record
