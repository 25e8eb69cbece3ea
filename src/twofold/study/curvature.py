"""Curvature over training: the extreme eigenvalues of a network's Hessian, beside the loss and the bound 2/η.

Trained with all its images at once, a network sharpens: the largest eigenvalue λ_max rises until it reaches the bound
past which gradient descent diverges on a quadratic, and stays about there while the loss goes on falling, no longer
at every step (Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", 2021).
When the images are fitted, the cross-entropy flattens and λ_max sinks again. With small batches it stays lower.

The images are few, so that training on all of them at once takes a moment: what is watched here is the training itself,
not what it is good for.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from twofold.data import Data, MemoryImages, class_labels, normalise
from twofold.data.spec import ModelSpec
from twofold.data.targets import ClassTargets
from twofold.engine.build import build_training, load_recipe_data, load_training_data
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.step import train_step
from twofold.errors import TwofoldError
from twofold.inference.hardware import Hardware
from twofold.inference.torch_predictor import TorchPredictor
from twofold.keyed import derive_key, permutation, torch_generator_seed
from twofold.landscape.hessian import Extremes, NotFiniteError, extreme_eigenvalues, frozen_copy
from twofold.landscape.stability import stable_lr
from twofold.models.registry import Option
from twofold.study.training import say_notes

# Products for one measurement at most: the largest eigenvalue needs some ten, the smallest up to a hundred.
_PRODUCTS = 60
_TOLERANCE = 0.03
_PIECE = 256


@dataclass(frozen=True)
class CurvaturePoint:
    """What was measured at one step of training, over all images that it trains on.

    Loss and accuracy are mean cross-entropy and the share that is classified correctly; `extremes` are the extreme
    eigenvalues of the loss's Hessian.
    """

    step: int
    loss: float
    accuracy: float
    extremes: Extremes


@dataclass(frozen=True, kw_only=True)
class CurvatureSettings:
    """A training to watch, by plain gradient descent or with momentum, at one learning rate.

    Attributes:
        num_images: training images to use, drawn at random.
        batch_size: images in a batch; all at once if None.
        lr: learning rate η.
        momentum: γ, 0 for none.
        steps: optimiser steps.
        every: steps between two measurements.
        seed: of images, initial weights and order.
        skip_broken: go on without images that cannot be read.

    Raises:
        TwofoldError: one is out of range.
    """

    model: str = "lenet-bn"
    model_options: dict[str, Option]
    data: str = "fashion-mini"
    num_images: int = 256
    batch_size: int | None = None
    lr: float = 0.05
    momentum: float = 0.0
    steps: int = 200
    every: int = 10
    seed: int = 0
    device: str = "auto"
    skip_broken: bool = False

    def __post_init__(self) -> None:
        for name in ("num_images", "steps", "every"):
            if getattr(self, name) < 1:
                raise TwofoldError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.batch_size is not None and not 1 <= self.batch_size <= self.num_images:
            raise TwofoldError(f"batch_size must be 1 to num_images={self.num_images}, got {self.batch_size}")
        self.recipe()  # checks the rest

    @property
    def edge(self) -> float:
        """The largest eigenvalue at which a quadratic would still be stable: 2(1 + γ)/η."""
        # η = 2(1 + γ)/λ and λ = 2(1 + γ)/η are one formula.
        return stable_lr(self.lr, momentum=self.momentum)

    @property
    def measured_steps(self) -> list[int]:
        """The steps after which to measure: the first is 0, the last is `steps`."""
        return sorted({*range(0, self.steps + 1, self.every), self.steps})

    def recipe(self) -> Recipe:
        """Return the same as a recipe for the engine's parts."""
        return Recipe(
            model=self.model,
            model_options=self.model_options,
            data=self.data,
            val_fraction=0.0,
            augment="none",
            optimizer="sgd",
            lr=self.lr,
            momentum=self.momentum,
            nesterov=False,
            weight_decay=0.0,
            schedule="constant",
            batch_size=self.batch_size or self.num_images,
            seed=self.seed,
            device=self.device,
            precision="float32",
            # Second derivatives are needed, which Winograd's form has none of.
            winograd=False,
        )


def watch_curvature(settings: CurvatureSettings, *, show: bool = True) -> Iterator[CurvaturePoint]:
    """Train as the settings say; yield what is measured before the first step, every so many steps, and after the last.

    Loss and Hessian are those of training on all images at once: where the network normalises over the batch, the batch
    is all of them, so that what is measured is the function that gradient descent walks on. Dropout is off in them.

    Ends early where the loss or its derivatives are no longer finite: the last point is then the last one before.

    Raises:
        TwofoldError: the data or the network cannot be used.
    """
    recipe = settings.recipe()
    options = Options(show=show, skip_broken=settings.skip_broken)
    shared = load_training_data(recipe, options, splits=("train",))
    if show:
        say_notes(shared.data)
    inputs, labels = some_inputs(shared.data, shared.spec, settings.num_images, shared.hardware, seed=settings.seed)
    # The images are prepared once, and each batch is a part of them: there is no augmentation to draw anew.
    shared = replace(shared, images=MemoryImages(torch.zeros_like(inputs, dtype=torch.uint8), ClassTargets(labels), ""))
    with _own_randomness(settings.seed, "init"):
        training = build_training(recipe, shared)
    training = replace(training, prepare=lambda batch, epoch: (inputs[batch[0]], labels[batch[0]]))
    normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in training.model.modules())
    measured = set(settings.measured_steps)
    steps = ((epoch, batches) for epoch in itertools.count() for batches in training.steps(epoch=epoch))
    for step in range(settings.steps + 1):
        if step in measured:
            try:
                point = measure(training.model, inputs, labels, step=step, batch_statistics=normalises)
            except NotFiniteError:
                return
            yield point
        if step == settings.steps:
            return
        with _own_randomness(settings.seed, step):
            epoch, batches = next(steps)
            result = train_step(training, batches, epoch=epoch, step=step, lr=settings.lr)
        if not math.isfinite(float(result.losses["loss"])):
            return


def measure_run(
    path: Path,
    *,
    num_images: int = 256,
    seed: int = 0,
    device: str = "auto",
    skip_broken: bool = False,
    show: bool = True,
) -> CurvaturePoint:
    """Return the curvature at a run's best weights, over some of its training images; `step` is 0.

    The network is as it predicts: batch normalisation uses the statistics that it was trained to, dropout is off.

    Args:
        path: the run.
        num_images: training images to use, drawn at random.
        seed: of that draw.
        device: where to compute.
        skip_broken: go on without images that cannot be read, as for a run that was trained so.
        show: print progress.

    Raises:
        TwofoldError: there is no run with weights, or its data cannot be used.
    """
    if num_images < 1:
        raise TwofoldError(f"num_images must be 1 or more, got {num_images}")
    run = RunFolder.open(path)
    predictor = TorchPredictor.load(path, device=device)
    options = Options(show=show, skip_broken=skip_broken or run.record().skip_broken)
    data = load_recipe_data(run.recipe(), options, splits=("train",))
    if show:
        say_notes(data)
    inputs, labels = some_inputs(data, predictor.spec, num_images, predictor.hardware, seed=seed)
    return measure(predictor.model, inputs, labels, step=0, batch_statistics=False)


def measure(model: nn.Module, inputs: Tensor, labels: Tensor, *, step: int, batch_statistics: bool) -> CurvaturePoint:
    """Return loss, accuracy and curvature of a network over `inputs`; see `extreme_eigenvalues`.

    Raises:
        NotFiniteError: the loss or a derivative is not finite.
    """
    loss_function = nn.CrossEntropyLoss()
    piece = len(labels) if batch_statistics else _PIECE
    frozen = frozen_copy(model, batch_statistics=batch_statistics)
    with torch.no_grad():
        logits = torch.cat([frozen(some) for some in inputs.split(piece)]).float()
    loss = float(loss_function(logits, labels))
    if not math.isfinite(loss):
        raise NotFiniteError("the loss is not finite; these weights have diverged")
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())
    limits = {"steps": _PRODUCTS, "tolerance": _TOLERANCE, "piece": piece}
    extremes = extreme_eigenvalues(model, loss_function, inputs, labels, **limits, batch_statistics=batch_statistics)
    return CurvaturePoint(step, loss, accuracy, extremes)


def some_inputs(
    data: Data, spec: ModelSpec, num_images: int, hardware: Hardware, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Return a random part of the training images as the network takes them, and their labels, on the device."""
    if num_images > len(data.train):
        raise TwofoldError(
            f"num_images must be at most the {len(data.train)} training images of {data.name}, got {num_images}"
        )
    chosen = permutation(derive_key(seed, "curvature"), len(data.train))[:num_images]
    pixels = data.train.load(chosen).to(hardware.device, memory_format=torch.channels_last)
    labels = class_labels(data.train.targets.take(chosen)).to(hardware.device)
    return normalise(pixels, spec.mean, spec.std), labels


@contextlib.contextmanager
def _own_randomness(*purpose: int | str) -> Iterator[None]:
    """Have torch draw what (seed, purpose) say, and leave its generators as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(torch_generator_seed(*purpose))
        yield
