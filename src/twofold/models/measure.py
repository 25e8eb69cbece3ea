"""What a network costs: its parameters, and its multiply-adds for one image.

Counted on torch's "meta" device, which knows shapes but holds no numbers, so even a large network takes no memory.
A multiply-add is one multiplication and one addition; papers and torchvision print this number, often under the
name FLOPs, where strictly it would be twice as many.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from twofold.models.registry import MODELS, Option, create_model, resolve_options


@dataclass(frozen=True)
class Cost:
    """A network's size: parameters (trainable) and multiply-adds for one image of `input_shape`."""

    input_shape: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    options: dict[str, Option]


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers in `model`."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def default_classes(name: str) -> int:
    """Return the number of classes to count with: 10 for a network made for 28 px images, else ImageNet's 1000."""
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
