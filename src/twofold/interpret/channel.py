"""What is this channel for? The images of a data set that excite it most, and the part of each that does.

After Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014. Their deconvolution, which
redraws what was seen, is left out: the receptive field marks the same part, and shows real pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from twofold.data import EvalData, Images, prefetch
from twofold.data.targets import target_words
from twofold.errors import TwofoldError
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret.stages import Box, field_box, inputs_of, network_of, stage_fields, watching
from twofold.terminal import track

NUM_IMAGES = 9
_BATCH_SIZE = 100


@dataclass(frozen=True)
class Channel:
    """One channel of one stage."""

    stage: str
    index: int

    def __str__(self) -> str:
        return f"{self.stage}:{self.index}"


@dataclass(frozen=True)
class Peak:
    """Where a channel is most active in an image.

    The index is that of the image among those that were searched, the position (row, column) in the map; `box` is what
    the largest element depends on, None for the whole image.
    """

    index: int
    activation: float
    position: tuple[int, int]
    box: Box | None


@dataclass(frozen=True)
class Example:
    """An image that was shown to a channel; `class_name` is its true class, where that is known."""

    pixels: UInt8[Tensor, "channels height width"]
    class_name: str | None
    source: str
    peak: Peak


@dataclass(frozen=True)
class ChannelView:
    """What excites a channel.

    Attributes:
        data: name of the data set that was searched.
        split: which of its images.
        num_images: how many those are.
        examples: those in which the channel is most active, most active first.
        own: another image to compare with.
    """

    architecture: str
    channel: Channel
    data: str
    split: str
    num_images: int
    examples: tuple[Example, ...]
    own: Example | None


def parse_channel(text: str) -> Channel:
    """Return the channel that `text` names as STAGE:INDEX.

    Raises:
        TwofoldError: it has another form.
    """
    match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
    if match is None:
        raise TwofoldError(f"a channel is STAGE:INDEX, e.g. layer1:0, got {text!r}")
    return Channel(match[1], int(match[2]))


def check_channel(predictor: TorchPredictor, channel: Channel) -> None:
    """Check that the network has the channel.

    Raises:
        TwofoldError: it has no such stage, or not so many channels there.
    """
    channels = {info.name: info.channels for info in network_of(predictor).feature_info}
    name = predictor.spec.architecture
    if channel.stage not in channels:
        raise TwofoldError(f"unknown stage {channel.stage!r}: the stages of {name} are {', '.join(channels)}")
    if not 0 <= channel.index < channels[channel.stage]:
        raise TwofoldError(
            f"stage {channel.stage} of {name} has {channels[channel.stage]} channels, "
            f"0 to {channels[channel.stage] - 1}; got {channel.index}"
        )


def explain_channel(
    predictor: TorchPredictor,
    channel: Channel,
    data: EvalData,
    *,
    own: tuple[str, Tensor] | None = None,
    show: bool = True,
) -> ChannelView:
    """Return the images of `data` that excite a channel most, and what it does in another one.

    `data` is what to search, from `load_eval_images`; `own` the name and the pixels of the other image.

    Raises:
        TwofoldError: the network has no such channel.
    """
    peaks = most_activating(predictor, data.images, channel, show=show)
    loaded = data.images.load(torch.tensor([peak.index for peak in peaks]))
    return ChannelView(
        architecture=predictor.spec.architecture,
        channel=channel,
        data=data.name,
        split=data.split,
        num_images=len(data.images),
        examples=tuple(
            Example(
                pixels,
                target_words(data.images.targets, peak.index, data.class_names),
                data.images.describe(peak.index),
                peak,
            )
            for pixels, peak in zip(loaded, peaks, strict=True)
        ),
        own=None if own is None else Example(own[1], None, own[0], peak_of(predictor, own[1], channel)),
    )


def most_activating(
    predictor: TorchPredictor, images: Images, channel: Channel, *, count: int = NUM_IMAGES, show: bool = True
) -> list[Peak]:
    """Return the images in which a channel is most active anywhere in its map, most active first, at most `count`.

    Of equal ones the first counts. `show` reports progress.

    Raises:
        TwofoldError: the network has no such channel.
    """
    check_channel(predictor, channel)
    batches = list(torch.arange(len(images)).split(_BATCH_SIZE))
    loaded = track(prefetch(batches, images), total=len(batches), label="looking at images", enabled=show)
    found = [_largest(predictor, pixels, channel) for pixels in loaded]
    activations, positions = (torch.cat(part) for part in zip(*found, strict=True))
    return _peaks(predictor, channel, activations, positions, count)


def peak_of(predictor: TorchPredictor, pixels: UInt8[Tensor, "channels height width"], channel: Channel) -> Peak:
    """Return where a channel is most active in one image.

    Raises:
        TwofoldError: the network has no such channel.
    """
    check_channel(predictor, channel)
    return _peaks(predictor, channel, *_largest(predictor, pixels[None], channel), 1)[0]


@torch.inference_mode()
def _largest(
    predictor: TorchPredictor, pixels: UInt8[Tensor, "batch channels height width"], channel: Channel
) -> tuple[Float32[Tensor, " batch"], Tensor]:
    """Return the largest activation of a channel in each image, and its (row, column) in the map."""
    network = network_of(predictor)
    maps: list[Tensor] = []
    with watching(network, (channel.stage,), lambda stage, output: maps.append(output[:, channel.index].clone())):
        network.features(inputs_of(predictor, pixels))  # type: ignore[operator]
    activations, flat = maps[0].flatten(1).max(dim=1)
    width = maps[0].shape[2]
    return activations.cpu(), torch.stack([flat // width, flat % width], dim=1).cpu()


def _peaks(
    predictor: TorchPredictor, channel: Channel, activations: Float32[Tensor, " images"], positions: Tensor, count: int
) -> list[Peak]:
    field = stage_fields(network_of(predictor))[channel.stage]
    peaks = []
    for index in activations.argsort(descending=True, stable=True)[:count].tolist():
        row, col = positions[index].tolist()
        box = field_box(field, (row, col), predictor.spec.image_size)
        peaks.append(Peak(index, float(activations[index]), (row, col), box))
    return peaks
