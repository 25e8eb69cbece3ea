"""Many short trainings on the same images, each from its seed alone.

`engine.loop.fit` makes one long run, with checkpoints, curves for TensorBoard and a folder of its own. A study makes
dozens of runs of seconds: it builds each with `engine.build` and steps with `engine.step`, as the engine does, so all
that a recipe asks for happens here too; what makes no sense in a study is refused by name. A training is short enough
to be begun anew where it was cut off.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from twofold.data import Data, Images
from twofold.data.sources.problems import first_notes
from twofold.engine.build import Training, TrainingData, build_training, load_training_data
from twofold.engine.loop import explained_torch_errors, reproducible
from twofold.engine.norm import measure_norm
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.step import train_step
from twofold.errors import TwofoldError
from twofold.inference.forward import measure, predict_batches
from twofold.terminal import note

# A training has diverged when its loss, averaged over about ten steps, is this many times what it was at the first.
DIVERGED_FACTOR = 4.0
_AVERAGE_KEEPS = 0.9
# Points of the training curve in an epoch.
_POINTS_PER_EPOCH = 4

# Called with the share of an epoch that was done since the last call, and the epoch reached.
OnProgress = Callable[[float, float], None]


def load_study_data(recipe: Recipe, *, skip_broken: bool = False, show: bool = True) -> TrainingData:
    """Return images in memory and a device, for all trainings of a study.

    The recipe names data, network, device and precision; its seed draws the validation images. What was noted of the
    images, such as those that `skip_broken` leaves out, is said where `show` is.

    Raises:
        TwofoldError: the data, the device or the network's input cannot be used.
    """
    shared = load_training_data(recipe, Options(show=show, skip_broken=skip_broken))
    if show:
        say_notes(shared.data)
    with torch.random.fork_rng(devices=[]):
        build_training(recipe, shared)
    return shared


def say_notes(data: Data) -> None:
    """Print what was noted of the images, such as which of them are left out."""
    for line in first_notes(data.notes):
        note(line)


def weights_digest(model: nn.Module) -> str:
    """Return a digest of the weights' bits."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def evaluate_training(training: Training, images: Images | None) -> dict[str, float] | None:
    """Return the loss and the task's metrics over `images`, or None without images."""
    if images is None:
        return None
    shared = training.shared
    outputs = predict_batches(training.evaluated, images, shared.spec, shared.hardware)
    measured = measure(shared.task.meter(shared.spec), outputs, images).summary()
    # A share of the images as the quotient of two counts: 0.8565 and not the float32 next to it.
    return {
        name: round(value * len(images)) / len(images) if name == "accuracy" else value
        for name, value in measured.items()
    }


class RunningAverage:
    """An exponential average that does not begin at 0: its weights add up to 1 from the first value on."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._sum = self._weight = 0.0

    def add(self, value: float) -> float:
        """Take the next value; return the average."""
        self._sum = self._keep * self._sum + (1 - self._keep) * value
        self._weight = self._keep * self._weight + (1 - self._keep)
        return self._sum / self._weight


class DivergenceWatch:
    """Finds that a training has diverged, so that no time is lost on it."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._average = RunningAverage(_AVERAGE_KEEPS)
        self._steps = 0

    def reason(self, loss: float) -> str | None:
        """Take the mean loss of the next step, before its update; return why it counts as diverged, or None."""
        self._steps += 1
        if not math.isfinite(loss):
            return f"the loss became {loss} at step {self._steps}"
        if self._start is None:
            self._start = loss
        average = self._average.add(loss)
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
        with reproducible(), explained_torch_errors(recipe, accumulates=False):
            yield
    finally:
        torch.set_num_threads(before)


def run_training(shared: TrainingData, recipe: Recipe, *, on_progress: OnProgress, test: bool) -> dict[str, Any]:
    """Train as `recipe` says; return what was measured, as a JSON-able record.

    `on_progress` is called with how far it has come; `test` evaluates the weights of the last epoch on the test images,
    once.

    Returns:
        lr, seed, diverged (why, or None), seconds (of training alone, without evaluation), epochs (a record an epoch),
        curve (points of [epoch, seconds, mean training loss since the point before]), test (loss and metrics, or
        None), and digests of the initial weights and of the order of the images.

    Raises:
        TwofoldError: a setting of the recipe makes no sense in a study.
    """
    if recipe.minutes is not None:
        raise TwofoldError(
            f"a study compares trainings of as many epochs; set epochs in place of minutes={recipe.minutes}"
        )
    if recipe.patience is not None:
        raise TwofoldError(f"a study trains to the last epoch; leave patience={recipe.patience} out")
    if recipe.select_by is not None:
        raise TwofoldError(f"a study keeps the last epoch; leave select_by={recipe.select_by!r} out")
    training = build_training(recipe, shared)
    num_epochs = training.recipe.epochs or 0
    weights = weights_digest(training.model)
    order = hashlib.blake2b(digest_size=8)
    schedule, num_steps = recipe.learning_rate(), training.plan.steps_per_epoch
    watch, curve = DivergenceWatch(), _Curve(num_steps)
    epochs: list[dict[str, Any]] = []
    diverged: str | None = None
    for epoch in range(num_epochs):
        sums: dict[str, float] = {}
        seen = 0
        clock = time.perf_counter()
        with contextlib.closing(training.steps(epoch=epoch)) as steps:
            for index, batches in enumerate(steps):
                done = epoch * num_steps + index
                lr = schedule.at((done + 0.5) / (num_epochs * num_steps), epoch + index / num_steps)
                result = train_step(training, batches, epoch=epoch, step=done, lr=lr)
                loss = float(result.losses["loss"])
                now = time.perf_counter()
                curve.add(loss, now - clock)
                clock = now
                for indices, _ in batches:
                    order.update(indices.cpu().numpy().tobytes())
                for name, value in result.losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * result.num_images
                for name, value in result.counts.items():
                    sums[name] = sums.get(name, 0) + value.item()
                seen += result.num_images
                if (diverged := watch.reason(loss)) is not None:
                    break
                on_progress(1 / num_steps, epoch + (index + 1) / num_steps)
                clock = time.perf_counter()
        if diverged is not None:
            break
        entry: dict[str, Any] = {"epoch": epoch + 1, "seconds": curve.seconds}
        entry |= {f"train_{name}": value / seen for name, value in sums.items()}
        if training.recipe.measure_norm:
            measure_norm(training, epoch=epoch)
        validation = evaluate_training(training, shared.data.val) or {}
        epochs.append(entry | {f"val_{name}": value for name, value in validation.items()})
    return {
        "lr": recipe.lr,
        "seed": recipe.seed,
        "diverged": diverged,
        "seconds": curve.seconds,
        "epochs": epochs,
        "curve": curve.points,
        "test": evaluate_training(training, shared.data.test) if test and diverged is None else None,
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
        in_epoch = self._done % self._num_steps
        # The last point of an epoch stands for no fewer steps than the others.
        if in_epoch == 0 or (len(self._losses) >= self._size and self._num_steps - in_epoch >= self._size):
            mean = sum(self._losses) / len(self._losses)
            self.points.append([self._done / self._num_steps, self.seconds, mean])
            self._losses = []
