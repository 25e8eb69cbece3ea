"""From pixels to what the network says of them: the one forward pass of evaluation, prediction and serving."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from twofold.data import Images, normalise, prefetch
from twofold.data.spec import ModelSpec, channels_last
from twofold.inference.hardware import Hardware

BATCH_SIZE = 500


def predict_batches(
    model: nn.Module, images: Images, spec: ModelSpec, hardware: Hardware
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (indices, logits) for every image once, in order; logits are float32 on the CPU."""
    batches = list(torch.arange(len(images)).split(BATCH_SIZE))
    model.eval()
    for indices, pixels in zip(batches, prefetch(batches, images), strict=True):
        yield indices, forward(model, pixels, spec, hardware)


@torch.inference_mode()
def forward(model: nn.Module, pixels: Tensor, spec: ModelSpec, hardware: Hardware) -> Tensor:
    """Return the float32 logits of a batch of uint8 `pixels`, on the CPU."""
    inputs = normalise(channels_last(pixels.to(hardware.device)), spec.mean, spec.std)
    with hardware.autocast():
        logits = model(inputs)
        if spec.flip_average:
            logits = (logits + model(inputs.flip(3))) / 2
    return logits.float().cpu()
