"""The seam between the engine and what a network is trained for.

The engine moves batches, gradients and weights; it does not know what an output means. A `Task` does: which loss, which
metric makes an epoch the best, how outputs become predictions, and what an evaluation counts. What a report says of an
evaluation stands in `section.py` and `class_section.py`: it needs no torch, which takes seconds to load. A task is
stateless and holds no model, optimiser, moving average or process group: those stay the engine's, so that a new task
(detection, several labels an image) is one more file here and no second engine. `tasks.registry` names them.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.data.targets import Targets
from twofold.errors import SettingError, nearest
from twofold.records import Evaluation
from twofold.tasks.metrics import IN_WORDS, METRICS, Metric
from twofold.tasks.predictions import Prediction

# Sample numbers (batch,), uint8 pixels (batch, channels, height, width). A sample's number is the index of its image,
# plus the number of images for each time that the epoch has shown it before: repeats are augmented anew.
Batch = tuple[Tensor, Tensor]
# (batch, epoch) -> what the network takes and what the loss compares with: keyed by the indices, so without a state.
Preparation = Callable[[Batch, int], tuple[Tensor, Any]]
# (outputs, targets) -> "loss", a scalar with a gradient, the mean over the batch; and its parts by name, if it has any.
LossFunction = Callable[[Any, Any], dict[str, Tensor]]


def image_indices(samples: Int64[Tensor, " batch"], num_images: int) -> Int64[Tensor, " batch"]:
    """Return the index of each sample's image, from the samples' numbers in a `Batch`."""
    return samples % num_images


@runtime_checkable
class Settings(Protocol):
    """What a task reads of a recipe. The recipe itself is the engine's, which stands above."""

    augment: str
    mix: Literal["none", "mixup", "cutmix"]
    mix_alpha: float | None
    label_smoothing: float
    class_weights: Literal["none", "balanced"] | dict[str, float]
    seed: int
    compile: bool
    form: Literal["fast", "scratch"]
    box_loss: Literal["smooth-l1", "giou"] | None
    matching: Literal["d2l", "torchvision"] | None


@runtime_checkable
class Meter(Protocol):
    """Adds up an evaluation batch by batch; parts measured by several processes are merged, never averaged."""

    def update(self, outputs: Tensor, targets: Any, indices: Int64[Tensor, " batch"]) -> None:
        """Count a batch of float32 outputs on the CPU, its targets, and the indices of its images."""
        ...

    def merge(self, other: Any) -> None:
        """Add what another meter of the same kind has counted of other images."""
        ...

    def summary(self) -> dict[str, float]:
        """Return the loss and the task's metrics over all images so far, by name, the loss first."""
        ...

    def examples(self) -> Sequence[int]:
        """Return the indices of the images that a report shows; none unless the meter is a detailed one."""
        ...

    def compute(self, images: Images, files: Sequence[str]) -> Evaluation:
        """Return the whole evaluation of `images`: the task's part of evaluation.json.

        Args:
            images: those that were counted.
            files: where the examples were saved, in their order; empty if they were not.
        """
        ...


class Task(abc.ABC):
    """What a network is trained for."""

    name: ClassVar[str]

    @property
    def selects_by(self) -> Metric:
        """The metric that chooses the best epoch, unless a recipe names another."""
        return METRICS[self.name][0]

    def metric(self, name: str | None) -> Metric:
        """Return the metric called `name` that chooses the best epoch; the task's own for None.

        Raises:
            TwofoldError: epochs of this task are not measured by it.
        """
        known = {metric.name: metric for metric in METRICS[self.name]}
        if name is not None and name not in known:
            raise SettingError(
                f"{{}} is not measured of {IN_WORDS[self.name]}: {nearest(name, known)}", {"select_by": name}
            )
        return self.selects_by if name is None else known[name]

    @abc.abstractmethod
    def preparation(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> Preparation:
        """Return what turns a batch of bytes into inputs and targets on `device`, augmented as the recipe says."""

    @abc.abstractmethod
    def loss(self, recipe: Settings, spec: ModelSpec, targets: Targets, device: torch.device) -> LossFunction:
        """Return the loss that is trained with on `device`, in the recipe's form.

        Args:
            recipe: the settings.
            spec: names the classes.
            targets: of the training images, by which classes are weighed.
            device: where outputs and targets are.

        Raises:
            TwofoldError: the recipe's weights of classes are not those of these images.
        """

    def remarks(self, recipe: Settings, spec: ModelSpec, targets: Targets) -> list[str]:
        """Return a line for each thing about the training that a person should know before it begins; often none.

        Args:
            recipe: the settings.
            spec: names the classes.
            targets: of the training images.
        """
        return []

    @abc.abstractmethod
    def training_counts(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return, for each metric that costs nothing to watch while training, its sum over the batch, on the device."""

    @abc.abstractmethod
    def decode(
        self, outputs: Tensor, spec: ModelSpec, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Prediction]:
        """Return what float32 `outputs` on the CPU say of each image.

        Args:
            outputs: of a batch.
            spec: what the network was built from.
            sizes: (height, width) in pixels of each image as it was given; that of the network's input, if left out.
        """

    @abc.abstractmethod
    def meter(self, spec: ModelSpec, *, detailed: bool = False) -> Meter:
        """Return a meter of the loss and the task's metrics, by which epochs are compared.

        Args:
            spec: names the classes.
            detailed: also keep what a whole evaluation says; slower.
        """

    def calibrate(self, meter: Meter, spec: ModelSpec) -> ModelSpec:
        """Return the spec that the weights of an epoch are kept with: with what is chosen on the validation images.

        A task that chooses nothing there, such as a threshold, leaves it as it is.

        Args:
            meter: of the validation images, with the weights of the epoch.
            spec: what the network was built from.
        """
        return spec
