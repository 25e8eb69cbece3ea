"""One step of training: forward, backward, update. The engine and every study take it from here.

A step is a pure function of (seed, epoch, step, learning rate) and of the weights before it. What it returns stays on
the device: reading a number makes the CPU wait for a GPU, so whoever shows or logs it decides when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twofold.engine.build import Training
from twofold.keyed import torch_generator_seed
from twofold.tasks.task import Batch


@dataclass(frozen=True)
class StepResult:
    """What a step measured before its update, on the device.

    Attributes:
        losses: "loss", the mean over all images of the step, and the parts of it that the task names; scalars.
        counts: sums over the images of what the task counts in training; scalars.
        num_images: images in the step.
    """

    losses: dict[str, Tensor]
    counts: dict[str, Tensor]
    num_images: int


def train_step(training: Training, batches: Sequence[Batch], *, epoch: int, step: int, lr: float) -> StepResult:
    """Follow the gradient of the mean loss over all `batches` once.

    Args:
        training: the network and all that trains it.
        batches: indices and uint8 pixels; several where gradients are accumulated.
        epoch: counted from 0; keys the augmentation.
        step: steps done before this one, over all epochs.
        lr: learning rate, before the factors of the parameter groups.
    """
    recipe, model = training.recipe, training.model
    for group in training.optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    # Dropout draws from torch's own generator: keyed by the step, it has no past to restore.
    torch.manual_seed(torch_generator_seed(recipe.seed, step, "torch"))
    prepared = [training.prepare(batch, epoch) for batch in batches]
    training.freezing.set_training()

    num_images = sum(len(inputs) for inputs, _ in prepared)
    losses: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    for inputs, targets in prepared:
        with training.shared.hardware.autocast():
            outputs = model(inputs)
            parts = training.loss(outputs, targets)
            share = {name: part * (len(inputs) / num_images) for name, part in parts.items()}
        share["loss"].backward()
        _add(losses, {name: part.detach() for name, part in share.items()})
        _add(counts, training.shared.task.training_counts(outputs, targets))

    if recipe.grad_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    if training.average is not None:
        training.average.update_parameters(model)
    return StepResult(losses, counts, num_images)


def _add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value
