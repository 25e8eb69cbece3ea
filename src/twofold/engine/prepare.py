"""From a batch of bytes to what the network takes: augmented, mixed, normalised, on the device.

One object for all who train: the engine, and the studies that compare trainings. What it draws is keyed by seed, epoch
and sample, so it keeps no state.
"""

from __future__ import annotations

from torch import Tensor

from twofold.augment.mix import create_mix, mix_labels
from twofold.augment.policies import create_policy
from twofold.data import Images, normalise
from twofold.data.spec import ModelSpec, channels_last
from twofold.engine.recipe import Recipe
from twofold.inference.hardware import Hardware

Batch = tuple[Tensor, Tensor]  # sample indices (batch,), uint8 pixels (batch, channels, height, width)


class BatchPreparation:
    """Turns batches of `images` into inputs and targets.

    Args:
        recipe: says how images are augmented and mixed; its seed keys the draws.
        spec: size, mean, standard deviation, classes.
        images: have the labels.
        hardware: where the batches go.
    """

    def __init__(self, recipe: Recipe, spec: ModelSpec, images: Images, hardware: Hardware) -> None:
        augmentation = create_policy(recipe.augment, spec.image_size)
        self._augmentation = augmentation.compiled() if augmentation is not None and recipe.compile else augmentation
        self._compiled = recipe.compile
        self._mix = create_mix(recipe.mix, recipe.mix_alpha, spec.image_size)
        self._seed = recipe.seed
        self._spec = spec
        self._labels = images.labels
        self._device = hardware.device

    def __call__(self, batch: Batch, *, epoch: int) -> tuple[Tensor, Tensor]:
        """Return float32 inputs (batch, channels, height, width), channels-last, and their targets.

        Targets are classes (batch,), or where images are mixed the share of each class (batch, classes).
        """
        indices, pixels = batch
        targets = self._labels[indices.to(self._labels.device)].to(self._device)
        pixels, samples = pixels.to(self._device), indices.to(self._device)
        if self._augmentation is not None:
            pixels = self._augmentation.apply(
                pixels, self._augmentation.draw(seed=self._seed, epoch=epoch, indices=samples)
            )
        if self._mix is not None:
            drawn = self._mix.draw(seed=self._seed, epoch=epoch, indices=samples)
            pixels = self._mix.apply(pixels, drawn)  # type: ignore[arg-type]
            targets = mix_labels(targets, len(self._spec.class_names), drawn)
        inputs = normalise(channels_last(pixels), self._spec.mean, self._spec.std, compiled=self._compiled)
        return inputs, targets


def classes_of(targets: Tensor) -> Tensor:
    """Return the class (batch,) of each target: of a mixed image, the one with the largest share."""
    return targets if targets.ndim == 1 else targets.argmax(dim=1)
