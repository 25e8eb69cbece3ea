"""What a trained network sees: its feature maps, where it looks for a class, and what excites one of its channels.

Three questions to a network, each with its own means:

- *What does it see in this picture?* The feature maps after each of its stages (`Network.stages`), caught by hooks;
  of the many, those that are most active on average.
- *Where does it see a class?* Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via
  gradient-based localization", 2017): each map A_k of a late stage is weighted by how much it raises the class's logit
  on average over the map, w_k = mean ∂logit/∂A_k, and ReLU(Σ_k w_k A_k) is drawn over the picture. It replaces the
  class activation maps of Zhou et al., 2016, which take a network that ends in global average pooling. The price of
  working on any network is that it is as coarse as the stage it is computed on.
- *What is this channel for?* The images of a data set that excite it most, and the place in each that does (Zeiler and
  Fergus, "Visualizing and understanding convolutional networks", 2014). Their deconvolution, which redraws what was
  seen, is left out: the receptive field marks the same place, and shows real pixels.

All is computed in float32 whatever the precision of the run: bfloat16 tells three digits apart, and images ranked by
it would tie. What is explained is the picture itself; with `flip_average`, the prediction alone also hears its mirror
image.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from twofold.data import EvalData, Images, class_labels, normalise, prefetch
from twofold.errors import TwofoldError, check_known
from twofold.inference.predictor import Predictor
from twofold.tasks.classify import ClassPrediction as Prediction
from twofold.models.network import Network
from twofold.models.summary import Field, summarise
from twofold.terminal import track

NUM_MAPS = 6
NUM_IMAGES = 9
_BATCH = 100

# Rows from top to bottom, columns from left to right, in px of the picture; the ends are excluded.
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class StageView:
    """What one stage of a network makes of a picture.

    Attributes:
        name: of the stage.
        num_maps: how many feature maps, or channels, it has.
        map_size: (height, width) of a map.
        step: (rows, columns) in px of the picture from a number of a map to the next.
        sees: (height, width) in px of what a number in the middle of a map depends on; no more than the picture.
        channels: the channels that are most active on average, most active first.
        maps: their feature maps.
    """

    name: str
    num_maps: int
    map_size: tuple[int, int]
    step: tuple[float, float]
    sees: tuple[int, int]
    channels: tuple[int, ...]
    maps: Float32[Tensor, "shown map_height map_width"]


@dataclass(frozen=True)
class ClassHeat:
    """How much each place in a picture speaks for a class: Grad-CAM, not below 0, in the size of the picture."""

    class_name: str
    probability: float
    heat: Float32[Tensor, "height width"]


@dataclass(frozen=True)
class Explanation:
    """One picture as a network sees it.

    Attributes:
        architecture: the network.
        pixels: the picture after preprocessing.
        prediction: what the network says of it.
        stages: from the picture to the head.
        heat_stage: the stage that Grad-CAM was computed on.
        heats: the predicted class first, then those that were asked for.
        flip_average: whether the prediction is the mean over the picture and its mirror image.
    """

    architecture: str
    pixels: UInt8[Tensor, "channels height width"]
    prediction: Prediction
    stages: tuple[StageView, ...]
    heat_stage: StageView
    heats: tuple[ClassHeat, ...]
    flip_average: bool


@dataclass(frozen=True)
class Channel:
    """One channel of one stage."""

    stage: str
    index: int

    def __str__(self) -> str:
        return f"{self.stage}:{self.index}"


@dataclass(frozen=True)
class Peak:
    """Where a channel is most active in a picture.

    Attributes:
        index: of the picture among those that were looked at.
        activation: the largest number in the map.
        place: its (row, column) in the map.
        box: what that number depends on; None for the whole picture.
    """

    index: int
    activation: float
    place: tuple[int, int]
    box: Box | None


@dataclass(frozen=True)
class Example:
    """A picture that was shown to a channel; `class_name` is its true class, where that is known."""

    pixels: UInt8[Tensor, "channels height width"]
    class_name: str | None
    source: str
    peak: Peak


@dataclass(frozen=True)
class ChannelView:
    """What excites a channel.

    Attributes:
        architecture: the network.
        channel: the channel.
        data: name of the data set that was searched.
        split: which of its images.
        num_images: how many those are.
        examples: those in which the channel is most active, most active first.
        own: another picture to compare with.
    """

    architecture: str
    channel: Channel
    data: str
    split: str
    num_images: int
    examples: tuple[Example, ...]
    own: Example | None


def explain(
    predictor: Predictor, pixels: UInt8[Tensor, "channels height width"], *, classes: Sequence[str] = ()
) -> Explanation:
    """Return what the network makes of a picture, stage by stage, and where it sees its prediction and `classes`.

    Args:
        predictor: the trained network.
        pixels: the picture, from `predictor.pixels`.
        classes: classes to look for beside the predicted one.

    Raises:
        TwofoldError: a class that the network does not know.
    """
    names = predictor.spec.class_names
    for name in classes:
        check_known("class", name, names)
    (prediction,) = predictor.decode(predictor.outputs(pixels[None]))
    probability = dict(prediction.ranked)
    fields = stage_fields(_network(predictor))
    size = predictor.spec.image_size
    stages = tuple(_view(name, maps, fields[name], size) for name, maps in stage_maps(predictor, pixels).items())
    heat_stage = default_heat_stage(stages)
    return Explanation(
        architecture=predictor.spec.architecture,
        pixels=pixels,
        prediction=prediction,
        stages=stages,
        heat_stage=heat_stage,
        heats=tuple(
            ClassHeat(name, probability[name], grad_cam(predictor, pixels, names.index(name), stage=heat_stage.name))
            for name in dict.fromkeys([prediction.class_name, *classes])
        ),
        flip_average=predictor.spec.flip_average,
    )


@torch.inference_mode()
def stage_maps(
    predictor: Predictor, pixels: UInt8[Tensor, "channels height width"]
) -> dict[str, Float32[Tensor, "maps map_height map_width"]]:
    """Return the feature maps of a picture after each stage of the network, from the picture to the head."""
    network = _network(predictor)
    maps: dict[str, Tensor] = {}

    def note(stage: str, output: Tensor) -> None:
        # A copy, since the layer that follows may work in place.
        maps[stage] = output[0].to("cpu", torch.float32, copy=True)

    with _watching(network, network.stages, note):
        network.features(_inputs(predictor, pixels[None]))  # type: ignore[operator]
    return {stage: maps[stage] for stage in network.stages}


def most_active(maps: Float[Tensor, "maps map_height map_width"], count: int = NUM_MAPS) -> list[int]:
    """Return the channels with the largest mean activation, largest first, at most `count`."""
    return maps.mean(dim=(1, 2)).argsort(descending=True, stable=True)[:count].tolist()


def default_heat_stage(stages: Sequence[StageView]) -> StageView:
    """Return the last stage whose maps still have more than one number: a single one is in no place."""
    return next((stage for stage in reversed(stages) if stage.map_size != (1, 1)), stages[-1])


def grad_cam(
    predictor: Predictor,
    pixels: UInt8[Tensor, "channels height width"],
    class_index: int,
    *,
    stage: str | None = None,
) -> Float32[Tensor, "height width"]:
    """Return how much each place in a picture raises the logit of a class, by Captum's Grad-CAM, not below 0.

    Args:
        predictor: the trained network.
        pixels: the picture, from `predictor.pixels`.
        class_index: the class.
        stage: where to compute it; the last stage if left out. Its map is laid over the picture by `spread`.
    """
    # Captum brings pyplot along, which nobody else needs.
    from captum.attr import LayerGradCam

    network = _network(predictor)
    stage = stage or network.stages[-1]
    cam = LayerGradCam(network, network.get_submodule(stage))
    heat = cam.attribute(_inputs(predictor, pixels[None]), target=class_index, relu_attributions=True)
    assert isinstance(heat, Tensor)
    return spread(heat[0, 0].detach().float().cpu(), stage_fields(network)[stage], (pixels.shape[1], pixels.shape[2]))


def parse_channel(text: str) -> Channel:
    """Return the channel that `text` names as STAGE:INDEX.

    Raises:
        TwofoldError: it has another form.
    """
    match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
    if match is None:
        raise TwofoldError(f"a channel is STAGE:INDEX, e.g. layer1:0, got {text!r}")
    return Channel(match[1], int(match[2]))


def check_channel(predictor: Predictor, channel: Channel) -> None:
    """Check that the network has the channel.

    Raises:
        TwofoldError: it has no such stage, or not so many channels there.
    """
    network = _network(predictor)
    channels = {info.name: info.channels for info in network.feature_info}
    name = predictor.spec.architecture
    if channel.stage not in channels:
        raise TwofoldError(f"unknown stage {channel.stage!r}: the stages of {name} are {', '.join(channels)}")
    if not 0 <= channel.index < channels[channel.stage]:
        raise TwofoldError(
            f"stage {channel.stage} of {name} has {channels[channel.stage]} channels, "
            f"0 to {channels[channel.stage] - 1}; got {channel.index}"
        )


def explain_channel(
    predictor: Predictor, channel: Channel, data: EvalData, *, own: tuple[str, Tensor] | None = None, show: bool = True
) -> ChannelView:
    """Return the pictures of `data` that excite a channel most, and what it does in another one.

    Args:
        predictor: the trained network.
        channel: one of its channels.
        data: what to search, from `load_eval_images`.
        own: the name and the pixels of a picture to compare with.
        show: report progress.

    Raises:
        TwofoldError: the network has no such channel.
    """
    peaks = most_activating(predictor, data.images, channel, show=show)
    pictures = data.images.load(torch.tensor([peak.index for peak in peaks]))
    labels = class_labels(data.images.targets)
    return ChannelView(
        architecture=predictor.spec.architecture,
        channel=channel,
        data=data.name,
        split=data.split,
        num_images=len(data.images),
        examples=tuple(
            Example(picture, data.class_names[int(labels[peak.index])], data.images.describe(peak.index), peak)
            for picture, peak in zip(pictures, peaks, strict=True)
        ),
        own=None if own is None else Example(own[1], None, own[0], peak_of(predictor, own[1], channel)),
    )


def most_activating(
    predictor: Predictor, images: Images, channel: Channel, *, count: int = NUM_IMAGES, show: bool = True
) -> list[Peak]:
    """Return the images in which a channel is most active anywhere in its map, most active first, at most `count`.

    Of equal ones the first counts. `show` reports progress.

    Raises:
        TwofoldError: the network has no such channel.
    """
    check_channel(predictor, channel)
    batches = list(torch.arange(len(images)).split(_BATCH))
    loaded = track(prefetch(batches, images), total=len(batches), label="looking at images", enabled=show)
    found = [_largest(predictor, pixels, channel) for pixels in loaded]
    activations = torch.cat([largest for largest, _ in found])
    places = torch.cat([at for _, at in found])
    field = stage_fields(_network(predictor))[channel.stage]
    return [
        _peak(index, float(activations[index]), places[index].tolist(), field, predictor.spec.image_size)
        for index in activations.argsort(descending=True, stable=True)[:count].tolist()
    ]


def peak_of(predictor: Predictor, pixels: UInt8[Tensor, "channels height width"], channel: Channel) -> Peak:
    """Return where a channel is most active in one picture.

    Raises:
        TwofoldError: the network has no such channel.
    """
    check_channel(predictor, channel)
    activations, places = _largest(predictor, pixels[None], channel)
    field = stage_fields(_network(predictor))[channel.stage]
    return _peak(0, float(activations[0]), places[0].tolist(), field, predictor.spec.image_size)


def stage_fields(network: Network) -> dict[str, Field]:
    """Return the receptive field of each stage: the union of those of the layers in it."""
    layers = summarise(network)
    fields: dict[str, Field] = {}
    for stage in network.stages:
        inside = [layer.field for layer in layers if layer.name == stage or layer.name.startswith(f"{stage}.")]
        sides = [field for field in inside if field is not None]
        whole = len(sides) < len(inside)
        fields[stage] = None if whole else reduce(lambda a, b: (a[0].joined(b[0]), a[1].joined(b[1])), sides)
    return fields


def spread(
    values: Float32[Tensor, "map_height map_width"], field: Field, image_size: tuple[int, int]
) -> Float32[Tensor, "height width"]:
    """Return a map over the whole picture: each number where it looks, linear in between, and on to the border.

    It is usual to stretch the map evenly. But a number looks at the middle of its receptive field, and these begin at
    the picture's border for some networks and well inside it for others (LeNet, which doesn't pad); stretched, the
    heat would lie several pixels beside what causes it.
    """
    size = (values.shape[0], values.shape[1])
    rows, cols = (
        _hats(first, step, numbers, pixels)
        for (first, step), numbers, pixels in zip(_grid(field, size, image_size), size, image_size, strict=True)
    )
    return rows @ values @ cols.T


@torch.inference_mode()
def _largest(
    predictor: Predictor, pixels: UInt8[Tensor, "batch channels height width"], channel: Channel
) -> tuple[Float32[Tensor, " batch"], Tensor]:
    """Return the largest activation of a channel in each picture, and its (row, column) in the map."""
    network = _network(predictor)
    maps: list[Tensor] = []
    with _watching(network, (channel.stage,), lambda stage, output: maps.append(output[:, channel.index].clone())):
        network.features(_inputs(predictor, pixels))  # type: ignore[operator]
    activations, flat = maps[0].flatten(1).max(dim=1)
    width = maps[0].shape[2]
    return activations.cpu(), torch.stack([flat // width, flat % width], dim=1).cpu()


def _peak(index: int, activation: float, place: list[int], field: Field, image_size: tuple[int, int]) -> Peak:
    row, col = place
    return Peak(index, activation, (row, col), _box(field, (row, col), image_size))


def _box(field: Field, place: tuple[int, int], image_size: tuple[int, int]) -> Box | None:
    """Return the part of the picture that the number at `place` depends on; None for all of it."""
    if field is None:
        return None
    spans = [
        (max(0, side.start + at * side.jump), min(pixels, side.end + at * side.jump + 1))
        for side, at, pixels in zip(field, place, image_size, strict=True)
    ]
    (top, bottom), (left, right) = spans
    return None if spans == [(0, pixels) for pixels in image_size] else (top, bottom, left, right)


def _view(name: str, maps: Tensor, field: Field, image_size: tuple[int, int]) -> StageView:
    channels = most_active(maps)
    map_size = (maps.shape[1], maps.shape[2])
    (_, row_step), (_, col_step) = _grid(field, map_size, image_size)
    sees = image_size if field is None else (min(field[0].field, image_size[0]), min(field[1].field, image_size[1]))
    return StageView(name, len(maps), map_size, (row_step, col_step), sees, tuple(channels), maps[channels])


def _grid(field: Field, map_size: tuple[int, int], image_size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return, for rows and columns, the pixel that a map's first number looks at and the step to the next.

    A number looks at the middle of its receptive field; where all see the whole picture, they share it out evenly.
    """
    if field is None:
        steps = [pixels / numbers for pixels, numbers in zip(image_size, map_size, strict=True)]
        return [((step - 1) / 2, step) for step in steps]
    return [((side.start + side.end) / 2, side.jump) for side in field]


def _hats(first: float, step: float, numbers: int, pixels: int) -> Float32[Tensor, "pixels numbers"]:
    """Return how much each number of a map counts at each pixel along one side: linear interpolation as a matrix."""
    at = ((torch.arange(pixels) - first) / step).clamp(0, numbers - 1)
    return (1 - (at[:, None] - torch.arange(numbers)).abs()).clamp(min=0)


def _network(predictor: Predictor) -> Network:
    assert isinstance(predictor.model, Network)
    return predictor.model


def _inputs(predictor: Predictor, pixels: Tensor) -> Tensor:
    """Return a batch of uint8 pixels as the network takes it."""
    there = pixels.to(predictor.hardware.device, memory_format=torch.channels_last)
    return normalise(there, predictor.spec.mean, predictor.spec.std)


@contextlib.contextmanager
def _watching(network: Network, stages: Sequence[str], note: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `note` with the name and the output of each of `stages` whenever the network computes it."""
    hooks = [
        network.get_submodule(stage).register_forward_hook(
            lambda module, given, output, stage=stage: note(stage, output)
        )
        for stage in stages
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
