"""Inside a trained network while it looks at one image: what each layer gives, with any of its channels switched off.

A layer is a module without others inside, or a stage. Its maps are (channels, height, width); those of a dense layer
have one element each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn

from twofold.data.images import Images
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret.stages import inputs_of, network_of, stage_fields, watching
from twofold.models.network import Network
from twofold.models.summary import Field, summarise

Pixels = UInt8[Tensor, "channels height width"]
Off = Mapping[str, Sequence[int]]
_SAME_VALUES = {"Identity", "Dropout", "Flatten"}
_BATCH_SIZE = 100


@dataclass(frozen=True)
class Place:
    """A layer or a stage of a network.

    Attributes:
        name: of the module.
        kind: its class, or "stage".
        is_stage: whether a stage ends here.
        field: the receptive field of its elements; None for the whole image.
    """

    name: str
    kind: str
    is_stage: bool
    field: Field


def places_of(network: Network) -> dict[str, Place]:
    """Return the layers and the stages by their names, in the order in which an image passes them.

    A layer that is used twice has its last place.
    """
    fields = stage_fields(network)
    layers = [layer for layer in summarise(network) if layer.kind not in _SAME_VALUES]
    found: dict[str, Place] = {}
    for layer in layers:
        found.pop(layer.name, None)
        found[layer.name] = Place(layer.name, layer.kind, layer.name in fields, layer.field)
    names = list(found)
    for stage in network.stages:
        inside = [place for place, name in enumerate(names) if name.startswith(f"{stage}.")]
        if stage not in found and inside:
            names.insert(inside[-1] + 1, stage)
            found[stage] = Place(stage, "stage", True, fields[stage])
    return {name: found[name] for name in names}


@contextlib.contextmanager
def switched_off(network: nn.Module, off: Off) -> Iterator[None]:
    """Let layers give zeros in some channels: layer -> channels.

    Raises:
        ValueError: there is no such layer, or not so many channels in it.
    """
    modules = dict(network.named_modules())
    hooks = []
    for name, channels in off.items():
        if not name or name not in modules:
            raise ValueError(f"the network has no layer {name[:60]!r} to switch channels off in")

        def zero(
            module: nn.Module, given: Any, output: Tensor, *, name: str = name, channels: Any = channels
        ) -> Tensor:
            if max(channels, default=0) >= output.shape[1]:
                raise ValueError(f"layer {name} has {output.shape[1]} channels; got {max(channels)}")
            output = output.clone()
            output[:, list(channels)] = 0
            return output

        hooks.append(modules[name].register_forward_hook(zero))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def look(
    predictor: TorchPredictor, pixels: Pixels, names: Sequence[str] = (), off: Off | None = None
) -> tuple[Tensor, dict[str, Float32[Tensor, "channels map_height map_width"]]]:
    """Return what the network says of an image, and the maps of the layers `names`.

    The outputs, (1, ...), are those that a prediction is made of.

    Args:
        predictor: the network.
        pixels: from `predictor.pixels`.
        names: of layers.
        off: channels to switch off.

    Raises:
        ValueError: `off` names a layer or channels that are not there.
    """
    network = network_of(predictor)
    maps: dict[str, Tensor] = {}
    seen = False

    def keep(name: str, output: Any) -> None:
        # With `flip_average` the mirror image comes second; its maps are not kept.
        if not seen and isinstance(output, Tensor) and output.ndim in (2, 4):
            # A copy, since the layer that follows may work in place.
            maps[name] = output[0].to("cpu", torch.float32, copy=True)

    def end(module: nn.Module, given: Any, output: Any) -> None:
        nonlocal seen
        seen = True

    ending = network.register_forward_hook(end)
    try:
        with switched_off(network, off or {}), watching(network, names, keep):
            outputs = predictor.outputs(pixels[None])
    finally:
        ending.remove()
    return outputs, {name: one if one.ndim == 3 else one[:, None, None] for name, one in maps.items()}


def unit_gradient(
    predictor: TorchPredictor, pixels: Pixels, name: str, unit: tuple[int, int, int], off: Off | None = None
) -> Float32[Tensor, "height width"]:
    """Return how much one element of a layer's maps changes with each pixel: |gradient|, summed over the channels.

    The pixels are those after normalisation. An element that a ReLU has set to zero has none.

    Args:
        predictor: the network.
        pixels: from `predictor.pixels`.
        name: of the layer.
        unit: channel, row and column.
        off: channels that are switched off.
    """
    network = network_of(predictor)
    values: list[Tensor] = []

    def keep(name: str, output: Tensor) -> None:
        one = output[0] if output.ndim == 4 else output[0][:, None, None]
        values.append(one[unit].clone())

    inputs = inputs_of(predictor, pixels[None]).requires_grad_()
    with switched_off(network, off or {}), watching(network, (name,), keep):
        network(inputs)
    (gradient,) = torch.autograd.grad(values[-1], inputs)
    return gradient[0].abs().sum(dim=0).float().cpu()


@torch.inference_mode()
def largest(
    predictor: TorchPredictor,
    images: Images,
    name: str,
    *,
    most: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Float32[Tensor, "images channels"], Int64[Tensor, "images channels"]]:
    """Return the largest element of each channel of a layer in each of the first `most` images, and its place.

    The place counts row by row. `tell` takes how many images are done, of how many.
    """
    network = network_of(predictor)
    maps: list[Tensor] = []
    values, places = [], []
    total = min(most, len(images))
    with watching(network, (name,), lambda name, output: maps.append(output.clone())):
        for batch in torch.arange(total).split(_BATCH_SIZE):
            maps.clear()
            network(inputs_of(predictor, images.load(batch)))
            one = maps[-1]
            value, place = one.reshape(one.shape[0], one.shape[1], -1).float().max(dim=2)
            values.append(value.cpu())
            places.append(place.cpu())
            tell(int(batch[-1]) + 1, total)
    return torch.cat(values), torch.cat(places)
