"""From a batch of bytes to what a network takes: what all tasks prepare alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from twofold.augment.mix import CutMixParams, MixUpParams, create_mix
from twofold.augment.policies import create_policy
from twofold.data.normalising import channels_last, normalise
from twofold.data.spec import ModelSpec
from twofold.tasks.task import Batch, Settings

# The network's inputs, and how the images of the batch were mixed with one another, if they were.
Prepared = tuple[Tensor, MixUpParams | CutMixParams | None]


def input_preparation(recipe: Settings, spec: ModelSpec, device: torch.device) -> Callable[[Batch, int], Prepared]:
    """Return augmentation, mixing and normalisation of whole batches, as the recipe says."""
    augmentation = create_policy(recipe.augment, spec.image_size)
    if augmentation is not None and recipe.compile:
        augmentation = augmentation.compiled()
    mix = create_mix(recipe.mix, recipe.mix_alpha, spec.image_size)

    def prepare(batch: Batch, epoch: int) -> Prepared:
        indices, pixels = batch
        pixels, samples = pixels.to(device), indices.to(device)
        drawn = None
        if augmentation is not None:
            pixels = augmentation.apply(pixels, augmentation.draw(seed=recipe.seed, epoch=epoch, indices=samples))
        if mix is not None:
            drawn = mix.draw(seed=recipe.seed, epoch=epoch, indices=samples)
            pixels = mix.apply(pixels, drawn)  # type: ignore[arg-type]
        return normalise(channels_last(pixels), spec.mean, spec.std, compiled=recipe.compile), drawn

    return prepare
