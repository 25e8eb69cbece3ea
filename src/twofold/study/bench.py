"""A bench for many short trainings: the images are loaded once, each training begins from its seed alone.

`train.loop.fit` is the engine for one long run, with checkpoints, curves for TensorBoard and a folder of its own. A
study makes dozens of runs of seconds; it takes the engine's parts (data, network, optimiser, batches, forward and
backward) and leaves the rest. A training is short enough to be begun anew where it was cut off.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from twofold.data import Data, Images
from twofold.engine.batches import BatchPlan
from twofold.engine.evaluate import quick_metrics
from twofold.engine.loop import (
    Batch,
    create_optimizer,
    explained_torch_errors,
    feed,
    forward_backward,
    in_form,
    load_recipe_data,
    on_device,
    preprocessing_spec,
    reproducible,
    requested_precision,
    require_batches,
)
from twofold.engine.options import Options
from twofold.engine.prepare import BatchPreparation
from twofold.engine.recipe import Recipe
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.keyed import torch_generator_seed

# A training has diverged when its loss, averaged over about ten steps, is this many times what it was at the first.
DIVERGED_FACTOR = 4.0
_AVERAGE_KEEPS = 0.9
# Points of the training curve in an epoch.
_POINTS_PER_EPOCH = 4

# Called with the share of an epoch that was done since the last call, and the epoch reached.
Advance = Callable[[float, float], None]


class Bench:
    """Images in memory and a device: what all trainings of a study share.

    Args:
        recipe: names data, network, device and precision; its seed draws the validation images.
        show: report progress while images are prepared.

    Raises:
        TwofoldError: the data, the device or the network's input cannot be used.
    """

    def __init__(self, recipe: Recipe, *, show: bool = True) -> None:
        self.hardware = pick_hardware(recipe.device, requested_precision(recipe))
        self.data: Data = load_recipe_data(recipe, Options(show=show))
        self.spec = preprocessing_spec(recipe, self.data)
        self.train_images: Images = on_device(self.data.train, self.hardware)
        with torch.random.fork_rng(devices=[]):
            require_batches(recipe, build_model(self.spec, self.hardware))

    def begin(self, recipe: Recipe) -> Training:
        """Return a training from the initial weights that the recipe's seed draws."""
        return Training(self, recipe)


class Training:
    """A network, its optimiser and the order of its batches: all from the recipe's seed."""

    def __init__(self, bench: Bench, recipe: Recipe) -> None:
        self.recipe = recipe
        self._bench = bench
        torch.manual_seed(torch_generator_seed(recipe.seed, "init"))
        self.model = in_form(recipe, build_model(bench.spec, bench.hardware))
        self._optimizer = create_optimizer(recipe, self.model)
        self._loss = in_form(recipe, nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing))
        self._prepare = BatchPreparation(recipe, bench.spec, bench.train_images, bench.hardware)
        self.plan = BatchPlan(len(bench.train_images), recipe.batch_size, recipe.accumulate, recipe.seed)
        self._done = 0

    def steps(self, epoch: int) -> Generator[list[Batch], None, None]:
        """Yield the batches of each step of `epoch` (from 0)."""
        yield from feed(self.plan, self._bench.train_images, epoch=epoch, first_step=0)

    def inputs(self, step: list[Batch], *, epoch: int) -> list[tuple[Tensor, Tensor]]:
        """Return the batches of a step as the network takes them: inputs and targets, on the device."""
        return [self._prepare(batch, epoch=epoch) for batch in step]

    def update(self, step: list[Batch], *, epoch: int, lr: float) -> tuple[float, int, int]:
        """Do one step at learning rate `lr`; return (mean loss before it, images classified correctly, images)."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        # Dropout draws from torch's own generator: keyed by the step, it is the same for every optimiser.
        torch.manual_seed(torch_generator_seed(self.recipe.seed, self._done, "torch"))
        batches = self.inputs(step, epoch=epoch)
        self.model.train()
        result = forward_backward(self.model, self._loss, batches, self._bench.hardware)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        return result

    def judge(self, images: Images | None) -> tuple[float, float] | None:
        """Return (cross-entropy, accuracy) over `images`, or None without images."""
        if images is None:
            return None
        loss, accuracy = quick_metrics(self.model, images, self._bench.spec, self._bench.hardware)
        # As a count over the images: 0.8565 and not the float32 next to it.
        return loss, round(accuracy * len(images)) / len(images)

    def digest(self) -> str:
        """Return a digest of the weights' bits."""
        digest = hashlib.blake2b(digest_size=8)
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class DivergenceWatch:
    """Tells when a training has diverged, so that no time is lost on it."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._sum = 0.0
        self._weight = 0.0
        self._steps = 0

    def reason(self, loss: float) -> str | None:
        """Take the loss of the next step; return why it counts as diverged, or None.

        Args:
            loss: mean loss of a step, before its update.
        """
        self._steps += 1
        if not math.isfinite(loss):
            return f"the loss became {loss} at step {self._steps}"
        if self._start is None:
            self._start = loss
        self._sum = _AVERAGE_KEEPS * self._sum + (1 - _AVERAGE_KEEPS) * loss
        self._weight = _AVERAGE_KEEPS * self._weight + (1 - _AVERAGE_KEEPS)
        average = self._sum / self._weight
        if average > DIVERGED_FACTOR * self._start:
            return f"the loss rose from {self._start:.3g} to {average:.3g} by step {self._steps}"
        return None


@contextlib.contextmanager
def study_conditions(recipe: Recipe, *, threads: int | None = None) -> Iterator[None]:
    """Compute repeatably, with this many threads, leaving torch's generators and threads as they were.

    Running out of memory becomes one line that says which batch size to try.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with reproducible(), explained_torch_errors(recipe):
            yield
    finally:
        torch.set_num_threads(before)


def run_training(bench: Bench, recipe: Recipe, *, advance: Advance, test: bool) -> dict[str, Any]:
    """Train as `recipe` says; return what was measured, as a JSON-able record.

    Args:
        bench: images and device.
        recipe: what decides the training; its schedule, epochs and seed are followed.
        advance: told how far it has come.
        test: judge the weights of the last epoch on the test images, once.

    Returns:
        lr, seed, diverged (why, or None), seconds (of training alone, without judging), epochs (a record an epoch),
        curve (points of [epoch, seconds, mean training loss since the point before]), test (loss and accuracy, or
        None), and digests of the initial weights and of the order of the images.
    """
    assert recipe.epochs is not None
    training = bench.begin(recipe)
    weights = training.digest()
    order = hashlib.blake2b(digest_size=8)
    schedule, num_steps = recipe.learning_rate(), training.plan.steps_per_epoch
    watch, curve = DivergenceWatch(), _Curve(num_steps)
    epochs: list[dict[str, Any]] = []
    diverged: str | None = None
    for epoch in range(recipe.epochs):
        loss_sum, correct_sum, seen = 0.0, 0, 0
        clock = time.perf_counter()
        with contextlib.closing(training.steps(epoch)) as steps:
            for index, step in enumerate(steps):
                progress = (epoch * num_steps + index + 0.5) / (recipe.epochs * num_steps)
                loss, correct, num = training.update(
                    step, epoch=epoch, lr=schedule.at(progress, epoch + index / num_steps)
                )
                now = time.perf_counter()
                curve.add(loss, now - clock)
                clock = now
                _digest_order(order, step)
                loss_sum, correct_sum, seen = loss_sum + loss * num, correct_sum + correct, seen + num
                if (diverged := watch.reason(loss)) is not None:
                    break
                advance(1 / num_steps, epoch + (index + 1) / num_steps)
                clock = time.perf_counter()
        if diverged is not None:
            break
        entry = {"epoch": epoch + 1, "seconds": curve.seconds}
        entry |= {"train_loss": loss_sum / seen, "train_accuracy": correct_sum / seen}
        if (judged := training.judge(bench.data.val)) is not None:
            entry |= {"val_loss": judged[0], "val_accuracy": judged[1]}
        epochs.append(entry)
    tested = training.judge(bench.data.test) if test and diverged is None else None
    return {
        "lr": recipe.lr,
        "seed": recipe.seed,
        "diverged": diverged,
        "seconds": curve.seconds,
        "epochs": epochs,
        "curve": curve.points,
        "test": None if tested is None else {"loss": tested[0], "accuracy": tested[1]},
        "initial_weights": weights,
        "image_order": order.hexdigest(),
    }


class _Curve:
    """The training loss a few times an epoch, each point the mean since the one before."""

    def __init__(self, num_steps: int) -> None:
        self.points: list[list[float]] = []
        self.seconds = 0.0
        self._num_steps = num_steps
        self._size = max(1, num_steps // _POINTS_PER_EPOCH)
        self._losses: list[float] = []
        self._done = 0

    def add(self, loss: float, seconds: float) -> None:
        self.seconds += seconds
        self._done += 1
        self._losses.append(loss)
        ends_epoch = self._done % self._num_steps == 0
        if ends_epoch or (len(self._losses) >= self._size and self._left_in_epoch() >= self._size):
            mean = sum(self._losses) / len(self._losses)
            self.points.append([self._done / self._num_steps, self.seconds, mean])
            self._losses = []

    def _left_in_epoch(self) -> int:
        return self._num_steps - self._done % self._num_steps


def _digest_order(digest: Any, step: list[Batch]) -> None:
    for indices, _ in step:
        _update(digest, indices)


def _update(digest: Any, indices: Int64[Tensor, " batch"]) -> None:
    digest.update(indices.cpu().numpy().tobytes())
