"""From pixels to what the network says of them: the one forward pass of evaluation, prediction and serving."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from twofold.data import Images, normalise, prefetch
from twofold.data.normalising import channels_last
from twofold.data.spec import ModelSpec
from twofold.inference.hardware import Hardware
from twofold.tasks.task import Meter

BATCH_SIZE = 500


@torch.inference_mode()
def forward(
    model: nn.Module, pixels: UInt8[Tensor, "batch channels height width"], spec: ModelSpec, hardware: Hardware
) -> Tensor:
    """Return the float32 outputs for a batch of `pixels`, on the CPU; `model` is in eval mode."""
    inputs = normalise(channels_last(pixels.to(hardware.device)), spec.mean, spec.std)
    with hardware.autocast():
        outputs = model(inputs)
        if spec.flip_average:
            outputs = (outputs + model(inputs.flip(3))) / 2
    return outputs.float().cpu()


def predict_batches(
    model: nn.Module, images: Images, spec: ModelSpec, hardware: Hardware
) -> Iterator[tuple[Int64[Tensor, " batch"], Tensor]]:
    """Yield (indices, outputs) for every image once, in order; files are read ahead of their use."""
    model.eval()
    return outputs_of(images, lambda pixels: forward(model, pixels, spec, hardware))


def outputs_of(images: Images, outputs: Callable[[Tensor], Tensor]) -> Iterator[tuple[Int64[Tensor, " batch"], Tensor]]:
    """Yield (indices, outputs) for every image once, in order; `outputs` computes those of a batch of pixels."""
    batches = list(torch.arange(len(images)).split(BATCH_SIZE))
    for indices, pixels in zip(batches, prefetch(batches, images), strict=True):
        yield indices, outputs(pixels)


def measure(meter: Meter, batches: Iterator[tuple[Int64[Tensor, " batch"], Tensor]], images: Images) -> Meter:
    """Feed a meter with batches of (indices, outputs) and the targets of those images; return it."""
    for indices, outputs in batches:
        meter.update(outputs, images.targets.take(indices).to("cpu"), indices)
    return meter
