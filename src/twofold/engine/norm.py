"""Batch normalisation's running statistics, measured anew before the network is evaluated.

Evaluation normalises by a running average of means and variances, which each training step moves by a tenth. With few
images an epoch has few steps: the average still remembers weights that are long gone. Passing training images through
the network as it is now, and averaging their statistics evenly, gives those of its own weights ("precise batch
normalisation": Wu and Johnson, "Rethinking 'batch' in BatchNorm", 2021). Gradients are not touched, so training itself
stays the same; it costs a forward pass.
"""

from __future__ import annotations

import contextlib
import itertools

import torch
from torch import nn

from twofold.engine.build import Training

_NUM_IMAGES = 2048  # at most so many are passed through: their mean is known well by then


@torch.no_grad()
def measure_norm(training: Training, *, epoch: int) -> None:
    """Set the statistics of the network that is evaluated to those of this epoch's training images, augmented."""
    training.freezing.set_training()
    layers = dict(training.evaluated.named_modules())
    measured = [
        layer
        for name, module in training.model.named_modules()
        # Those that are frozen are in eval mode.
        if module.training and isinstance(layer := layers[name], nn.modules.batchnorm._BatchNorm)
    ]
    if not measured:
        return
    momenta = [layer.momentum for layer in measured]
    training.evaluated.eval()  # no dropout
    for layer in measured:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # an even average over all batches
    seen = 0
    with contextlib.closing(training.steps(epoch=epoch)) as steps:
        for batch in itertools.chain.from_iterable(steps):
            inputs, _ = training.prepare(batch, epoch)
            with training.shared.hardware.autocast():
                training.evaluated(inputs)
            seen += len(inputs)
            if seen >= _NUM_IMAGES:
                break
    for layer, momentum in zip(measured, momenta, strict=True):
        layer.momentum = momentum
