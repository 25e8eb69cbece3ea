"""The feature maps of a network after each of its stages, and which part of an image each element depends on.

Maps are caught by hooks (`Network.stages` names the modules); what an element depends on is its receptive field. All
is computed in float32 whatever the precision of the run: bfloat16 tells three digits apart, and images ranked by it
would tie.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from twofold.data import normalise
from twofold.inference.torch_predictor import TorchPredictor
from twofold.models.network import Network
from twofold.models.summary import Field, summarise

# (top, bottom, left, right) in px of the image; bottom and right are excluded.
Box = tuple[int, int, int, int]


def network_of(predictor: TorchPredictor) -> Network:
    """Return the network of a predictor, which is one of the registry's."""
    assert isinstance(predictor.model, Network)
    return predictor.model


def inputs_of(predictor: TorchPredictor, pixels: UInt8[Tensor, "batch channels height width"]) -> Tensor:
    """Return a batch of uint8 pixels as the network takes it."""
    there = pixels.to(predictor.hardware.device, memory_format=torch.channels_last)
    return normalise(there, predictor.spec.mean, predictor.spec.std)


@contextlib.contextmanager
def watching(network: Network, stages: Sequence[str], on_output: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `on_output` with the name and the output of each of `stages` whenever the network computes it."""
    hooks = [
        network.get_submodule(stage).register_forward_hook(
            lambda module, given, output, stage=stage: on_output(stage, output)
        )
        for stage in stages
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def stage_maps(
    predictor: TorchPredictor, pixels: UInt8[Tensor, "channels height width"]
) -> dict[str, Float32[Tensor, "maps map_height map_width"]]:
    """Return the feature maps of an image after each stage of the network, from the image to the head."""
    network = network_of(predictor)
    maps: dict[str, Tensor] = {}

    def keep(stage: str, output: Tensor) -> None:
        # A copy, since the layer that follows may work in place.
        maps[stage] = output[0].to("cpu", torch.float32, copy=True)

    with watching(network, network.stages, keep):
        network.features(inputs_of(predictor, pixels[None]))  # type: ignore[operator]
    return {stage: maps[stage] for stage in network.stages}


def stage_fields(network: Network) -> dict[str, Field]:
    """Return the receptive field of each stage: the union of those of the layers in it; None for the whole image."""
    layers = summarise(network)
    fields: dict[str, Field] = {}
    for stage in network.stages:
        inside = [layer.field for layer in layers if layer.name == stage or layer.name.startswith(f"{stage}.")]
        sides = [field for field in inside if field is not None]
        whole = len(sides) < len(inside)
        fields[stage] = None if whole else reduce(lambda a, b: (a[0].joined(b[0]), a[1].joined(b[1])), sides)
    return fields


def field_box(field: Field, position: tuple[int, int], image_size: tuple[int, int]) -> Box | None:
    """Return the part of the image that the element at (row, column) of a map depends on; None for all of it."""
    if field is None:
        return None
    spans = [
        (max(0, side.start + at * side.jump), min(pixels, side.end + at * side.jump + 1))
        for side, at, pixels in zip(field, position, image_size, strict=True)
    ]
    (top, bottom), (left, right) = spans
    return None if spans == [(0, pixels) for pixels in image_size] else (top, bottom, left, right)


def map_grid(field: Field, map_size: tuple[int, int], image_size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return, for rows and columns, the pixel that a map's first element looks at and the step to the next.

    An element looks at the middle of its receptive field; where all see the whole image, they share it out evenly.
    """
    if field is None:
        steps = [pixels / length for pixels, length in zip(image_size, map_size, strict=True)]
        return [((step - 1) / 2, step) for step in steps]
    return [((side.start + side.end) / 2, side.jump) for side in field]


def spread(
    values: Float32[Tensor, "map_height map_width"], field: Field, image_size: tuple[int, int]
) -> Float32[Tensor, "height width"]:
    """Return a map over the whole image: each element where it looks, linear in between, and on to the border.

    It is usual to stretch the map evenly. But an element looks at the middle of its receptive field, and these begin
    at the image's border for some networks and well inside it for others (LeNet, which doesn't pad); stretched, the
    heat would lie several pixels beside what causes it.
    """
    size = (values.shape[0], values.shape[1])
    sides: list[Tensor] = []
    for (first, step), length, pixels in zip(map_grid(field, size, image_size), size, image_size, strict=True):
        # Linear interpolation along one side as a matrix: the weight of each element of the map at each pixel.
        at = ((torch.arange(pixels) - first) / step).clamp(0, length - 1)
        sides.append((1 - (at[:, None] - torch.arange(length)).abs()).clamp(min=0))
    return sides[0] @ values @ sides[1].T
