"""The lab of receptive fields: what a unit of a network could see by the rule, and what it does see by its gradient.

The rule is that of `models.summary`: where branches meet, the field is the union of theirs, so the largest path counts.
The gradient of one unit in the image is zero outside of it, and mostly small near its border: Luo et al.,
"Understanding the effective receptive field in deep convolutional neural networks", 2016.

A second view has a stack of own layers, by `scratch.conv.receptive_field`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from twofold.errors import check_known
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret.stages import Box, field_box, stage_fields
from twofold.labs.images import BLANK, Opened, drawn
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.seeded import seeded
from twofold.models import CLASSIFIERS, Network, create_model, summarise
from twofold.models.summary import Field as Sides
from twofold.scratch.conv import conv2d_backward, receptive_field

_SIZES = (28, 32, 48, 64, 96, 128, 160, 192, 224)
_WIDEST = 512
_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_MOST_ROWS = 12

Row = tuple[Annotated[int, Field(ge=1, le=15)], Annotated[int, Field(ge=1, le=4)], Annotated[int, Field(ge=1, le=16)]]


class ReceptiveFieldSettings(LabSettings):
    """What decides the lab of receptive fields.

    Attributes:
        view: a unit of a network, or a stack of own layers.
        image: the name of an image, or "drawing".
        drawing: as `images.drawn` reads it.
        model: a classifier of the registry, untrained.
        run: a trained network instead, by the name of its folder.
        size: height and width of the image, where there is no run.
        stem: the network's first layers, where it has a choice: as in its paper, or small ones that keep the size.
        seed: of the random weights.
        layer: the name of a layer; the second stage if left out.
        unit: row and column on that layer's map; the middle if left out.
        channel: of that map; -1 for the sum of all.
        stack: own layers, each (kernel, stride, dilation).
    """

    view: Literal["network", "stack"] = "network"
    image: str = "boot"
    drawing: str = ""
    model: str = "lenet"
    run: str = ""
    size: Annotated[int, Field(ge=16, le=224)] = 28
    stem: Literal["paper", "small"] = "small"
    seed: Annotated[int, Field(ge=0, le=99)] = 0
    layer: Annotated[str, Field(max_length=80)] = ""
    unit: tuple[int, int] | None = None
    channel: Annotated[int, Field(ge=-1, le=10_000)] = -1
    stack: Annotated[tuple[Row, ...], Field(min_length=1, max_length=_MOST_ROWS)] = ((3, 1, 1), (3, 1, 1))


@dataclass(frozen=True)
class _Layer:
    """A layer or a stage of a network.

    Attributes:
        name: of its module.
        kind: its class, or "stage".
        row: kernel, stride and dilation; None for a stage and for a pooling to a size.
        shape: of its output, without the batch.
        field: what a unit sees; None for the whole image.
        chain: kernel, stride and dilation of the layers up to it; None if there are branches or the field is None.
    """

    name: str
    kind: str
    row: tuple[int, int, int] | None
    shape: tuple[int, ...]
    field: Sides
    chain: tuple[tuple[int, int, int], ...] | None

    def words(self) -> dict[str, Any]:
        """Return it as the page takes it; field and jump are those of the rows, None for the whole image."""
        side = None if self.field is None else self.field[0]
        return {
            "name": self.name,
            "kind": self.kind,
            "row": self.row,
            "shape": self.shape,
            "field": side and side.field,
            "jump": side and side.jump,
        }


@dataclass(frozen=True)
class _Network:
    """A network in eval mode, its layers, and what its inputs are normalised by."""

    model: Network
    layers: tuple[_Layer, ...]
    mean: Tensor
    std: Tensor


class ReceptiveFieldLab(Lab):
    """See `twofold lab receptive-field`."""

    name = "receptive-field"
    Settings = ReceptiveFieldSettings
    reads = (
        "scratch.conv:receptive_field",
        "interpret.stages:field_box",
        "scratch.conv:conv2d_backward",
    )
    exercises: ClassVar = (
        Exercise(
            "Choose a unit of the map whose field is cut off by the border of the image. "
            "LeNet has none: take a network that pads, such as resnet18.",
            "选一个感受野被图像边界截断的单元。LeNet 没有这样的单元：换一个有填充的网络，如 resnet18。",
            lambda s, shown: shown["view"] == "network" and shown["is_cut"],
        ),
        Exercise(
            "Find the first layer of ResNet-18 (resnet18, first layers: small) that sees 50 pixels or more.",
            "在使用小型起始层的 ResNet-18 中，找到第一个能看到 50 个像素以上的层。",
            lambda s, shown: s.model == "resnet18" and s.stem == "small" and _is_first(shown, 50),
        ),
        Exercise(
            "Find a unit with half of its gradient or more in the middle half of its field, 30% of the area at most.",
            "找一个单元：它的梯度有一半以上集中在感受野的中间一半，而这部分最多占面积的 30%。",
            lambda s, shown: shown["view"] == "network" and shown["area"] <= 0.3 and (shown["share"] or 0) >= 0.5,
        ),
        Exercise(
            "Own layers: see 7 pixels with three layers of kernel 3.",
            "自己的层：用三个核大小为 3 的层看到 7 个像素。",
            lambda s, shown: (
                shown["view"] == "stack" and shown["field"] == 7 and [kernel for kernel, _, _ in s.stack] == [3, 3, 3]
            ),
        ),
        Exercise(
            "Own layers: outputs 4 pixels apart (jump 4) that see 10 pixels or fewer.",
            "自己的层：让输出之间相隔 4 个像素（间距 4），且各自看到不超过 10 个像素。",
            lambda s, shown: shown["view"] == "stack" and shown["jump"] == 4 and 4 <= shown["field"] <= 10,
        ),
        Exercise(
            "Own layers: see 31 pixels with at most three layers of kernel 3 and stride 1, by dilation.",
            "自己的层：用最多三个核大小为 3、步幅为 1 的层，借助空洞看到 31 个像素。",
            lambda s, shown: shown["view"] == "stack" and shown["field"] == 31 and _is_plain(s, 3),
        ),
        Exercise(
            "Own layers: the most that three layers of kernel 3 and stride 1 can see without a hole.",
            "自己的层：三个核大小为 3、步幅为 1 的层，在不漏掉像素的情况下最多能看到多少？",
            lambda s, shown: (
                shown["view"] == "stack" and shown["field"] == 27 and shown["holes"] == 0 and _is_plain(s, 3)
            ),
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._built: tuple[Any, _Network] | None = None
        self._reached: tuple[Any, tuple[Tensor, Tensor, Tensor]] | None = None

    def about(self) -> dict[str, Any]:
        """Return the networks to choose from, each with a size of image that suits it, and those that have a stem."""
        return {
            "models": {name: 28 if entry.input_shape[1] <= 32 else 64 for name, entry in CLASSIFIERS.items()},
            "stems": [name for name, entry in CLASSIFIERS.items() if "stem" in entry.options],
            "sizes": list(_SIZES),
            "most_rows": _MOST_ROWS,
        }

    def compute(self, settings: ReceptiveFieldSettings) -> dict[str, Any]:
        """Return the fields of all layers, and of one unit of one of them; or those of the stack."""
        return _stack(settings) if settings.view == "stack" else self._unit(settings)

    def command(self, settings: ReceptiveFieldSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        if settings.view == "stack":
            program = _stack_program(settings)
        else:
            built = self._network(settings)
            layer = _layer_named(built, settings.layer)
            maps = self._maps(settings, built, layer)[2]
            program = _program(settings, self.opened, built, layer, _place(settings.unit, maps))
        return Command(print_line(self.name, settings, self.opened), program)

    def _unit(self, settings: ReceptiveFieldSettings) -> dict[str, Any]:
        built = self._network(settings)
        layer = _layer_named(built, settings.layer)
        image, x, maps = self._maps(settings, built, layer)
        row, column = _place(settings.unit, maps)
        channel = min(settings.channel, maps.shape[1] - 1)
        seen = (maps if channel < 0 else maps[:, channel : channel + 1]).sum(dim=1)[0]
        (gradient,) = torch.autograd.grad(seen[row, column], x, retain_graph=True)
        heat = gradient[0].abs().sum(dim=0)
        size = (image.shape[2], image.shape[3])
        field = _whole_field(layer.field, (row, column), size)
        box = field_box(layer.field, (row, column), size) or (0, size[0], 0, size[1])
        middle = _middle(field, size)
        total, inside = float(heat.sum()), float(_part(heat, middle).sum())
        chain = layer.chain
        return {
            "view": "network",
            "image": image[0],
            "layers": [each.words() for each in built.layers],
            "layer": built.layers.index(layer),
            "map": seen.detach(),
            "channels": maps.shape[1],
            "channel": channel,
            "unit": [row, column],
            "field": field,
            "box": box,
            "is_cut": field != box,
            "middle": middle,
            "gradient": heat,
            "share": inside / total if total else None,
            "area": _area(middle) / _area(box),
            "chain": chain,
            # Without branches the readable form says the same.
            "rule": None if chain is None else receptive_field(list(chain)),
        }

    def _network(self, settings: ReceptiveFieldSettings) -> _Network:
        # A run stands for all that decides a network without one.
        decided = (settings.run,) if settings.run else (settings.model, settings.size, settings.stem, settings.seed)
        if self._built is None or self._built[0] != decided:
            self._built = (decided, self._trained(settings.run) if settings.run else _untrained(settings))
            self._reached = None
        return self._built[1]

    def _trained(self, run: str) -> _Network:
        if run not in self.opened.runs:
            raise ValueError(f"there is no run {run[:60]!r} here; give it with --run")
        predictor = TorchPredictor.load(self.opened.runs[run], device="cpu")
        assert isinstance(predictor.model, Network)
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (predictor.spec.mean, predictor.spec.std))
        return _Network(predictor.model.eval().requires_grad_(False), _layers(predictor.model), mean, std)

    def _maps(self, settings: ReceptiveFieldSettings, built: _Network, layer: _Layer) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image, the network's input and the layer's output, from which gradients flow to the input."""
        decided = (built.model, layer.name, settings.image, settings.drawing)
        if self._reached is None or self._reached[0] != decided:
            channels, height, width = built.model.input_shape
            if settings.image == "drawing":
                image = interpolate(drawn(settings.drawing or BLANK), (height, width), mode="area")
                image = image.expand(-1, channels, -1, -1).contiguous()
            else:
                image = self.opened.pixels(settings.image, (height, width), colour=channels == 3)
            x = ((image - built.mean) / built.std).requires_grad_()
            self._reached = (decided, (image, x, _output_of(built.model, layer.name, x)))
        return self._reached[1]


def _options(settings: ReceptiveFieldSettings) -> dict[str, Any]:
    entry = CLASSIFIERS[check_known("model", settings.model, CLASSIFIERS)]
    # The width decides no field, and a quarter is computed sooner.
    return {"stem": settings.stem, "width": 0.25} if "stem" in entry.options else {}


def _untrained(settings: ReceptiveFieldSettings) -> _Network:
    options = _options(settings)
    with seeded(settings.seed):
        model = create_model(settings.model, num_classes=10, image_size=(settings.size, settings.size), options=options)
    model.eval().requires_grad_(False)
    # Black becomes -1: of zeros every ReLU is silent, and no gradient comes through.
    return _Network(model, _layers(model), torch.tensor(0.5), torch.tensor(0.5))


def _layers(model: Network) -> tuple[_Layer, ...]:
    """Return the convolutions, poolings and stages of a network in order: no other layer changes the field."""
    leaves, fields = summarise(model), stage_fields(model)
    channels = {info.name: info.channels for info in model.feature_info}
    stage_at = {
        max(i for i, leaf in enumerate(leaves) if f"{leaf.name}.".startswith(f"{stage}.")): stage
        for stage in model.stages
    }
    found: list[_Layer] = []
    chain: tuple[tuple[int, int, int], ...] | None = ()
    for i, leaf in enumerate(leaves):
        module = model.get_submodule(leaf.name)
        if isinstance(module, _SPATIAL) and len(leaf.output_shape) == 3:
            row = _row(module)
            chain = _longer(chain, row, leaf.field)
            found.append(_Layer(leaf.name, leaf.kind, row, leaf.output_shape, leaf.field, chain))
        stage = stage_at.get(i, leaf.name)
        if stage in fields and (not found or found[-1].name != stage):
            shape = (channels[stage], *leaf.output_shape[1:])
            found.append(_Layer(stage, "stage", None, shape, fields[stage], chain))
    return tuple(found)


def _row(module: nn.Module) -> tuple[int, int, int] | None:
    """Return kernel, stride and dilation of a layer that is the same for rows and columns; None for others."""
    sides = [getattr(module, name, 1) for name in ("kernel_size", "stride", "dilation")]
    if isinstance(module, nn.AdaptiveAvgPool2d) or any(
        isinstance(side, tuple) and len(set(side)) > 1 for side in sides
    ):
        return None
    kernel, stride, dilation = (side[0] if isinstance(side, tuple) else side for side in sides)
    return kernel, stride, dilation


def _longer(
    chain: tuple[tuple[int, int, int], ...] | None, row: tuple[int, int, int] | None, field: Sides
) -> tuple[tuple[int, int, int], ...] | None:
    """Return a chain of layers and one more; None if it is none, as where one branch begins after another."""
    if chain is None or row is None or field is None:
        return None
    longer = (*chain, row)
    return longer if receptive_field(list(longer)) == (field[0].field, field[0].jump) else None


def _layer_named(built: _Network, name: str) -> _Layer:
    name = name or built.model.stages[min(1, len(built.model.stages) - 1)]
    for layer in built.layers:
        if layer.name == name:
            return layer
    raise ValueError(f"the network has no convolution, pooling or stage {name!r}")


class _Reached(Exception):
    """The layer that was wanted has its output."""


def _output_of(model: Network, name: str, x: Tensor) -> Tensor:
    """Return the output of one layer; those after it are not computed, nor can they change it in place."""
    found: list[Tensor] = []

    def stop(module: nn.Module, given: Any, output: Tensor) -> None:
        found.append(output)
        raise _Reached

    hook = model.get_submodule(name).register_forward_hook(stop)
    try:
        with torch.enable_grad():
            model(x)
    except _Reached:
        pass
    finally:
        hook.remove()
    return found[0]


def _place(unit: tuple[int, int] | None, maps: Tensor) -> tuple[int, int]:
    """Return a place that is on the map: the one asked for, or the nearest; the middle for None."""
    height, width = maps.shape[2:]
    row, column = (height // 2, width // 2) if unit is None else unit
    return max(0, min(row, height - 1)), max(0, min(column, width - 1))


def _whole_field(field: Sides, position: tuple[int, int], size: tuple[int, int]) -> Box:
    """Return the field of a unit with what of it lies outside the image."""
    if field is None:
        return 0, size[0], 0, size[1]
    (top, bottom), (left, right) = (
        (side.start + at * side.jump, side.end + at * side.jump + 1) for side, at in zip(field, position, strict=True)
    )
    return top, bottom, left, right


def _middle(field: Box, size: tuple[int, int]) -> Box:
    """Return the middle half of the rows and of the columns of a field, as far as it lies in the image."""
    spans = []
    for (start, end), pixels in zip((field[:2], field[2:]), size, strict=True):
        quarter = (end - start) // 4
        spans += [max(0, start + quarter), min(pixels, end - quarter)]
    return spans[0], spans[1], spans[2], spans[3]


def _part(values: Tensor, box: Box) -> Tensor:
    top, bottom, left, right = box
    return values[top:bottom, left:right]


def _area(box: Box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def _stack(settings: ReceptiveFieldSettings) -> dict[str, Any]:
    """Return field and jump after each own layer, and on how many paths each unit reaches the one at the top."""
    rows = list(settings.stack)
    fields = [receptive_field(rows[: count + 1]) for count in range(len(rows))]
    field, jump = fields[-1]
    if field > _WIDEST:
        raise ValueError(f"these layers see {field} pixels, the lab shows {_WIDEST}: take less stride or dilation")
    # How often each unit counts is the gradient of the sum of all paths: kernels of ones, sent back from one output.
    grad = torch.ones(1, 1, 1, 1)
    paths = [grad]
    for kernel, stride, dilation in reversed(rows):
        length = (grad.shape[3] - 1) * stride + dilation * (kernel - 1) + 1
        x, ones = torch.zeros(1, 1, 1, length), torch.ones(1, 1, 1, kernel)
        grad, _, _ = conv2d_backward(grad, x, ones, stride=(1, stride), dilation=(1, dilation))
        paths.append(grad)
    counts = [each[0, 0, 0] for each in reversed(paths)]
    seen = [(1, 1), *fields]
    return {
        "view": "stack",
        "fields": [side for side, _ in fields],
        "jumps": [step for _, step in fields],
        "field": field,
        "jump": jump,
        # The unit at place i of a layer's map looks at pixel (field - 1) / 2 + i · jump.
        "pixels": [
            (side - 1) / 2 + torch.arange(len(each)) * step for (side, step), each in zip(seen, counts, strict=True)
        ],
        "shares": [each / each.sum() for each in counts],
        "holes": int((counts[0] == 0).sum()),
        "paths": float(counts[0].sum()),
    }


def _is_first(shown: Mapping[str, Any], least: int) -> bool:
    if shown["view"] != "network":
        return False
    first = next((i for i, layer in enumerate(shown["layers"]) if (layer["field"] or least) >= least), None)
    return first == shown["layer"]


def _is_plain(settings: ReceptiveFieldSettings, most: int) -> bool:
    return len(settings.stack) <= most and all(kernel == 3 and stride == 1 for kernel, stride, _ in settings.stack)


def _program(
    settings: ReceptiveFieldSettings, opened: Opened, built: _Network, layer: _Layer, place: tuple[int, int]
) -> str:
    channels, height, width = built.model.input_shape
    if settings.image == "drawing":
        names = "drawn"
        image = [f"image = interpolate(drawn({settings.drawing or BLANK!r}), {(height, width)}, mode='area')"]
        image += [f"image = image.expand(-1, {channels}, -1, -1)"]
    else:
        names = "pixels"
        file = opened.path_of(settings.image) or settings.image
        image = [f"image = pixels({file!r}, {(height, width)}, colour={channels == 3})"]
    lines = ["import torch", *(["from torch.nn.functional import interpolate"] if names == "drawn" else []), ""]
    if settings.run:
        lines += ["import twofold", f"from twofold.labs import {names}", ""]
        lines += [f"predictor = twofold.load({opened.runs[settings.run]!r}, device='cpu')", "model = predictor.model"]
        scales = "(predictor.spec.mean, predictor.spec.std)"
        lines += [*image, f"mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in {scales})"]
        lines += ["x = ((image - mean) / std).requires_grad_()"]
    else:
        made = f"{settings.model!r}, num_classes=10, image_size={(height, width)}, options={_options(settings)}"
        lines += [f"from twofold.labs import {names}", "from twofold.models import create_model", ""]
        lines += [f"torch.manual_seed({settings.seed})", f"model = create_model({made}).eval()"]
        lines += [*image, "x = ((image - 0.5) / 0.5).requires_grad_()"]
    channel = ":" if settings.channel < 0 else str(min(settings.channel, layer.shape[0] - 1))
    lines += [
        "maps = []",
        "keep = lambda module, given, output: maps.append(output.clone())",
        f"model.get_submodule({layer.name!r}).register_forward_hook(keep)",
        "model(x)",
        f"maps[0][0, {channel}, {place[0]}, {place[1]}].sum().backward()",
        "heat = x.grad[0].abs().sum(dim=0)",
        "print(heat)",
    ]
    return "\n".join(lines)


def _stack_program(settings: ReceptiveFieldSettings) -> str:
    return "\n".join(
        [
            "from twofold.scratch.conv import receptive_field",
            "",
            f"layers = {[tuple(row) for row in settings.stack]}  # kernel, stride, dilation",
            "fields = [receptive_field(layers[: count + 1]) for count in range(len(layers))]",
            "print(fields)  # field and jump in pixels, layer by layer",
        ]
    )
