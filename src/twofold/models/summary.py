"""What a network does to an image, layer by layer: shapes, parameters, multiply-adds, and how far each layer sees.

The receptive field of a number in a feature map is the part of the picture that it depends on. It is carried through
the network as an interval along each side: the pixels that the map's first number sees (which may begin before the
picture, in the padding), and the jump, how many pixels further the next number sees. A layer with kernel k, stride s,
padding p and dilation d makes of [start, end] and jump

    start − p · jump,    end + (d(k − 1) − p) · jump,    jump · s

and where branches meet, in a sum or side by side, the union of their intervals counts (Araujo, Norris and Sim,
"Computing receptive fields of convolutional neural networks", 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from twofold.models.measure import count_parameters
from twofold.models.network import Network, run_on_meta


@dataclass(frozen=True)
class Side:
    """What the first number of a map sees along one side of the picture, in px, and how much further the next does."""

    start: int = 0
    end: int = 0
    jump: int = 1

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> Side:
        """Return what a layer's output sees, this being what its input sees."""
        reach = dilation * (kernel - 1)
        return Side(self.start - padding * self.jump, self.end + (reach - padding) * self.jump, self.jump * stride)

    def joined(self, other: Side) -> Side:
        """Return the union of two branches that meet."""
        return Side(min(self.start, other.start), max(self.end, other.end), max(self.jump, other.jump))

    @property
    def field(self) -> int:
        """How many pixels a number sees."""
        return self.end - self.start + 1


# Height and width; None where each number sees the whole picture, as after a dense layer.
Field = tuple[Side, Side] | None


@dataclass(frozen=True)
class Layer:
    """One layer of a network, for one image.

    Attributes:
        name: of the submodule.
        kind: its class.
        output_shape: without the batch.
        parameters: trainable numbers of its own.
        multiply_adds: of its convolution or matrix product, 0 for others.
        field: what a number of its output sees; None for the whole picture.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: Field


class _Traced(Tensor):
    """A tensor that knows its receptive field. What is made of several sees what any of them sees."""

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
    """Return the layers of `model` in the order in which an image of its `input_shape` meets them.

    Nothing is computed but shapes; the network's weights are neither read nor changed.
    """
    layers: list[Layer] = []
    names = {module: name for name, module in model.named_modules() if not list(module.children())}
    # Counted now, since for the tracing the parameters make way for stand-ins, and once for a layer used twice.
    parameters = {module: count_parameters(module) for module in names}

    def note(module: nn.Module, given: tuple[Any, ...], output: _Traced) -> None:
        output.field = _through(module, _union(_traced(given)), given[0])
        layers.append(
            Layer(
                names[module],
                type(module).__name__,
                tuple(output.shape[1:]),
                parameters.pop(module, 0),
                _multiply_adds(module, output),
                output.field,
            )
        )

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        image = torch.empty(1, *model.input_shape, device="meta").as_subclass(_Traced)
        image.field = (Side(), Side())
        run_on_meta(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _through(module: nn.Module, field: Field, given: Tensor) -> Field:
    """Return the field of a layer's output."""
    if field is None or isinstance(module, nn.Linear):
        return None
    if isinstance(module, nn.AdaptiveAvgPool2d):
        # Global pooling sees all; a size that is already there sees what it saw.
        sizes = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
        return field if tuple(given.shape[2:]) == sizes else None
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return field
    kernel, stride, padding = (_pair(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    dilation = _pair(getattr(module, "dilation", 1))
    rows, cols = (
        side.through(kernel[place], stride[place], padding[place], dilation[place]) for place, side in enumerate(field)
    )
    return rows, cols


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Return the multiplications of a convolution or dense layer for one image."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return 0
    return output.numel() * module.weight[0].numel()


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
