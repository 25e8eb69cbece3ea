"""What a network does to an image, layer by layer: shapes, parameters, multiply-adds, and how far each layer sees.

The receptive field of an element of a feature map is the part of the image that it depends on. It is computed layer by
layer, as an interval along each side: the first and last pixel that the map's first element depends on (the first may
lie before the image, in the padding), and the jump, the distance in pixels from there to the interval of the next
element. A layer with kernel k, stride s, padding p and dilation d turns [start, end] and jump into

    start − p · jump,    end + (d(k − 1) − p) · jump,    jump · s

and where branches are added or concatenated, the field is the union of theirs (Araujo, Norris and Sim,
"Computing receptive fields of convolutional neural networks", 2019).

A multiply-add is one multiplication and one addition. Papers and torchvision print their count, often as FLOPs, which
strictly are twice as many. Everything is computed on torch's "meta" device, which has shapes but no values, so that
even a large network takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from twofold.models.network import Network, run_on_meta
from twofold.models.registry import MODELS, Option, create_model, resolve_options
from twofold.terminal import short_count


@dataclass(frozen=True)
class Side:
    """The receptive field along one side, in px: that of a map's first element, and the distance to the next one's."""

    start: int = 0
    end: int = 0
    jump: int = 1

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> Side:
        """Return the field of a layer's output, this being that of its input."""
        reach = dilation * (kernel - 1)
        return Side(self.start - padding * self.jump, self.end + (reach - padding) * self.jump, self.jump * stride)

    def joined(self, other: Side) -> Side:
        """Return the union with the field of another branch."""
        return Side(min(self.start, other.start), max(self.end, other.end), max(self.jump, other.jump))

    @property
    def field(self) -> int:
        """The size of the receptive field in px."""
        return self.end - self.start + 1


# Height and width; None where each element depends on the whole image, as after a dense layer.
Field = tuple[Side, Side] | None


@dataclass(frozen=True)
class Layer:
    """One layer of a network, for one image.

    Attributes:
        name: of the submodule.
        kind: its class.
        output_shape: without the batch.
        parameters: the number of its trainable parameters.
        multiply_adds: of its convolution or matrix product, 0 for others.
        field: the receptive field of its output; None for the whole image.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: Field


class _Traced(Tensor):
    """A tensor with its receptive field; a tensor computed from several has the union of their fields."""

    field: Field

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, _Traced):
            result.field = _union(_traced([*args, *(kwargs or {}).values()]))
        return result


def _traced(values: Iterable[Any]) -> list[_Traced]:
    """Return the traced tensors among the arguments of a function, also those inside lists."""
    found = []
    for value in values:
        if isinstance(value, _Traced) and hasattr(value, "field"):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _traced(value)
    return found


def _union(tensors: list[_Traced]) -> Field:
    fields = [tensor.field for tensor in tensors]
    if not fields or None in fields:
        return None
    rows, cols = fields[0]  # type: ignore[misc]
    for field in fields[1:]:
        assert field is not None
        rows, cols = rows.joined(field[0]), cols.joined(field[1])
    return rows, cols


def summarise(model: Network) -> list[Layer]:
    """Return the layers of `model` in the order in which they are called for an image of its `input_shape`.

    Only shapes are computed; the network's weights are neither read nor changed.
    """
    layers: list[Layer] = []
    names = {module: name for name, module in model.named_modules() if not list(module.children())}
    # Counted before tracing, which replaces the parameters by meta tensors; of a layer that is used twice, once.
    parameters = {module: count_parameters(module) for module in names}

    def add_layer(module: nn.Module, inputs: tuple[Any, ...], output: _Traced) -> None:
        output.field = _field_after(module, _union(_traced(inputs)), inputs[0])
        multiplies = isinstance(module, nn.Conv2d | nn.Linear)
        layers.append(
            Layer(
                names[module],
                type(module).__name__,
                tuple(output.shape[1:]),
                parameters.pop(module, 0),
                output.numel() * module.weight[0].numel() if multiplies else 0,
                output.field,
            )
        )

    hooks = [module.register_forward_hook(add_layer) for module in names]
    try:
        image = torch.empty(1, *model.input_shape, device="meta").as_subclass(_Traced)
        image.field = (Side(), Side())
        run_on_meta(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _field_after(module: nn.Module, field: Field, x: Tensor) -> Field:
    """Return the field of the output of a layer, given its input and that one's field."""
    if field is None or isinstance(module, nn.Linear):
        return None
    if isinstance(module, nn.AdaptiveAvgPool2d):
        # Global pooling depends on all; if the map has the output's size already, each element is copied.
        sizes = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
        return field if tuple(x.shape[2:]) == sizes else None
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return field
    kernel, stride, padding = (_pair(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    dilation = _pair(getattr(module, "dilation", 1))
    rows, cols = (
        side.through(kernel[axis], stride[axis], padding[axis], dilation[axis]) for axis, side in enumerate(field)
    )
    return rows, cols


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Cost:
    """A network's size: parameters (trainable) and multiply-adds for one image of `input_shape`."""

    input_shape: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    options: dict[str, Option]

    def describe(self, name: str) -> str:
        """Return a line on the network `name` of this size, with the stem that it has, in 80 columns.

        >>> measure("resnet18", input_shape=(3, 64, 64), num_classes=5).describe("resnet18")
        'resnet18, adaptive stem: 11.2 M parameters, 561 M multiply-adds an image'
        """
        stem = f", {self.options['stem']} stem" if "stem" in self.options else ""
        parameters, work = map(short_count, (self.parameters, self.multiply_adds))
        return f"{name}{stem}: {parameters} parameters, {work} multiply-adds an image"


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters, each element counted."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def default_classes(name: str) -> int:
    """Return the usual number of classes: 10 for a network made for 28 px images, else ImageNet's 1000."""
    if (usual := MODELS[name].num_classes) is not None:
        return usual
    return 10 if max(MODELS[name].input_shape[1:]) <= 32 else 1000


def measure(
    name: str,
    *,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    options: dict[str, Option] | None = None,
) -> Cost:
    """Return what the network `name` costs for one image of `input_shape` (channels, height, width).

    Left out, `input_shape` is the paper's, and `num_classes` 1000, or 10 for a network made for 28 px images.
    """
    # 0.1 s, which others who import this file should not wait for.
    from torch.utils.flop_counter import FlopCounterMode

    shape = input_shape or MODELS[name].input_shape
    channels, height, width = shape
    resolved = resolve_options(name, options or {}, (height, width))
    classes = num_classes or default_classes(name)
    with torch.device("meta"):
        model = create_model(
            name, in_channels=channels, num_classes=classes, image_size=(height, width), options=resolved
        ).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(torch.empty(1, channels, height, width))
    return Cost(shape, count_parameters(model), counter.get_total_flops() // 2, resolved)
