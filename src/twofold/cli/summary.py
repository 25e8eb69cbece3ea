"""`twofold summary MODEL`: what a network does to an image, layer by layer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from twofold.cli.models import parse_shape
from twofold.cli.parse import parse, typed
from twofold.errors import TwofoldError, check_known
from twofold.models.registry import MODELS, check_model_options, resolve_options
from twofold.terminal import loading, output

if TYPE_CHECKING:
    from twofold.models.summary import Field, Layer


@dataclasses.dataclass(kw_only=True)
class SummaryArguments:
    """Print a network layer by layer: output shape, parameters, multiply-adds, receptive field."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A network: see `twofold models`."""
    input: str | None = None
    """Shape of the images, e.g. 1x28x28 (channels, height, width); the paper's if left out."""
    classes: int | None = None
    """Number of classes; 10 for networks made for 28 px images and 1000 for the others, if left out."""
    model_options: dict[str, str] = dataclasses.field(default_factory=dict)
    """The network's options, e.g. stem small width 0.5; the stem follows the size of the images if left out."""
    json: bool = False
    """Print one JSON object a layer."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold summary`."""
    parsed = parse(SummaryArguments, arguments, verb="summary")
    entry = MODELS[check_known("model", parsed.model, MODELS)]
    shape = entry.input_shape if parsed.input is None else parse_shape(parsed.input)
    given = {name: typed(value) for name, value in parsed.model_options.items()}
    check_model_options(parsed.model, given)
    if parsed.classes is not None and parsed.classes < 1:
        raise TwofoldError(f"--classes must be 1 or more, got {parsed.classes}")
    with loading("torch"):
        import torch

        from twofold.models.measure import default_classes
        from twofold.models.registry import create_model
        from twofold.models.summary import summarise

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
    output().print(_table(layers, title))
    return 0


def _table(layers: Sequence[Layer], title: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", show_footer=True)
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("kind")
    table.add_column("output", justify="right")
    table.add_column("parameters", f"{sum(layer.parameters for layer in layers):,}", justify="right")
    table.add_column("multiply-adds", f"{sum(layer.multiply_adds for layer in layers):,}", justify="right")
    table.add_column("sees, px", justify="right")
    for layer in layers:
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
            _sees(layer.field),
        )
    return table


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
