"""What a batch size costs: the loss against time, and the time of an epoch, from one example a step to all of them.

A step on one example is the cheapest step and the noisiest; a step on all examples has no noise and comes once an
epoch. In between, a batch keeps the CPU's arithmetic busy with one call, and its gradient's noise falls with its
size (Bottou, Curtis and Nocedal, "Optimization methods for large-scale machine learning", 2018). Which size reaches a
loss first is a matter of both, so it is measured.

The problem is linear regression on 1,500 examples of 5 features, whose answer is known: scales differ by feature, so
that the full gradient has work to do (the largest eigenvalue of its Hessian is 16 times the smallest), and the labels
have noise, so that single examples disagree. The learning rate grows in proportion to the batch, as far as the steps
stay stable (Goyal et al., "Accurate, large minibatch SGD", 2017). Losses are the same in every measurement; times are
not.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.errors import TwofoldError
from twofold.figures.studies import BatchCurve, draw_batch_curves
from twofold.optim.rules import create_optimizer
from twofold.scratch.data import data_iter, synthetic_regression
from twofold.terminal import track

NUM_EXAMPLES = 1500
BATCH_SIZES = (1, 10, 100, NUM_EXAMPLES)
_WEIGHT = (2.0, -3.4, 1.5, -1.0, 0.8)
_SCALES = (1.0, 0.7, 0.5, 0.35, 0.25)
_BIAS, _NOISE = 4.2, 0.5
# Learning rate an example in the batch, and the most: past 2 / λ_max ≈ 2 the full gradient's steps would diverge.
_LR_PER_EXAMPLE, _MOST_LR = 0.005, 1.0
# So many steps at least, and at least so many epochs.
_STEPS, _EPOCHS, _MOST_EPOCHS = 1500, 3, 300
_POINTS_PER_DOUBLING = 4
# Each training is repeated, and the shortest time to each point counts: what else the machine does only adds to it.
_REPEATS = 3
_FINEST = 1e-6


@dataclass(frozen=True)
class BatchStudy:
    """The curves of all batch sizes, and the lowest loss that any weights have."""

    curves: tuple[BatchCurve, ...]
    least_loss: float
    conditions: str


def check_sizes(sizes: Sequence[int]) -> None:
    """Check batch sizes.

    Raises:
        TwofoldError: one is out of range, or comes twice.
    """
    if not sizes:
        raise TwofoldError("no batch size is given; name one or several, e.g. 1 10 100 1500")
    for size in sizes:
        if not 1 <= size <= NUM_EXAMPLES:
            raise TwofoldError(f"batch size must be from 1 to {NUM_EXAMPLES}, the full set, got {size}")
    if len(set(sizes)) < len(sizes):
        twice = next(size for size in sizes if sizes.count(size) > 1)
        raise TwofoldError(f"batch size {twice} is given twice; name each once")


def learning_rate(batch_size: int) -> float:
    """Return the learning rate for a batch size: in proportion to it, as far as that is stable.

    >>> learning_rate(1), learning_rate(100), learning_rate(1500)
    (0.005, 0.5, 1.0)
    """
    return min(_MOST_LR, _LR_PER_EXAMPLE * batch_size)


def study_batch_sizes(sizes: Sequence[int] = BATCH_SIZES, *, seed: int = 0, show: bool = True) -> BatchStudy:
    """Train with each batch size from the same start; return loss against time, and the time of an epoch.

    The seed is that of the examples and their order.

    Raises:
        TwofoldError: a size cannot be used.
    """
    sizes = sorted(sizes)
    check_sizes(sizes)
    threads = torch.get_num_threads()
    # Matrices this small are not shared out between threads with profit; waiting for one another would be measured.
    torch.set_num_threads(1)
    try:
        return _study(sizes, seed, show)
    finally:
        torch.set_num_threads(threads)


def _study(sizes: Sequence[int], seed: int, show: bool) -> BatchStudy:
    features, labels = problem(seed)
    ones = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    answer = torch.linalg.lstsq(ones.double(), labels.double()).solution
    least = float(((ones.double() @ answer - labels.double()) ** 2).mean() / 2)
    _train(features, labels, batch_size=NUM_EXAMPLES, seed=seed, epochs=5)  # the first calls of torch are slow
    curves = []
    for size in track(sizes, total=len(sizes), label="batch sizes", enabled=show):
        repeats = [_train(features, labels, batch_size=size, seed=seed) for _ in range(_REPEATS)]
        # At each point the shortest time of all repeats, whose losses are the same.
        same_points = zip(*(repeat.points for repeat in repeats), strict=True)
        points = tuple((min(seconds for seconds, _ in same), same[0][1]) for same in same_points)
        epoch_seconds = min(repeat.epoch_seconds for repeat in repeats)
        curves.append(BatchCurve(size, repeats[0].lr, points, epoch_seconds))
    conditions = (
        f"linear regression, {NUM_EXAMPLES:,} × {len(_WEIGHT)}; SGD, learning rate {_LR_PER_EXAMPLE:g} × batch size, "
        f"at most {_MOST_LR:g}; {platform.machine()}, 1 thread, torch {torch.__version__}, shortest of {_REPEATS}"
    )
    return BatchStudy(tuple(curves), least, conditions)


def problem(seed: int) -> tuple[Float[Tensor, "examples features"], Float[Tensor, "examples 1"]]:
    """Return features and labels of the regression."""
    scales = torch.tensor(_SCALES)
    generator = torch.Generator().manual_seed(seed)
    features, labels = synthetic_regression(
        torch.tensor(_WEIGHT) * scales, _BIAS, NUM_EXAMPLES, noise=_NOISE, generator=generator
    )
    return features * scales, labels


def _train(
    features: Float[Tensor, "examples features"],
    labels: Float[Tensor, "examples 1"],
    *,
    batch_size: int,
    seed: int,
    epochs: int | None = None,
) -> BatchCurve:
    steps_per_epoch = -(-len(features) // batch_size)
    if epochs is None:
        epochs = min(_MOST_EPOCHS, max(_EPOCHS, -(-_STEPS // steps_per_epoch)))
    model, loss_function = nn.Linear(features.shape[1], 1), nn.MSELoss()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    lr = learning_rate(batch_size)
    optimizer = create_optimizer("sgd", model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed + 1)
    points: list[tuple[float, float]] = []
    epoch_seconds: list[float] = []
    seconds, step, next_point = 0.0, 0, 1.0
    for _ in range(epochs):
        before = seconds
        clock = time.perf_counter()
        for x, y in data_iter(batch_size, features, labels, generator=generator):
            # ½ (x·w + b - y)², D2L's squared loss.
            loss = loss_function(model(x), y) / 2
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step >= next_point:
                # Evaluating is not training: the clock stands still.
                seconds += time.perf_counter() - clock
                points.append((seconds, _full_loss(model, features, labels)))
                next_point = max(next_point + 1, next_point * 2 ** (1 / _POINTS_PER_DOUBLING))
                clock = time.perf_counter()
        seconds += time.perf_counter() - clock
        epoch_seconds.append(seconds - before)
    points.append((seconds, _full_loss(model, features, labels)))
    return BatchCurve(batch_size, lr, tuple(points), statistics.median(epoch_seconds))


@torch.no_grad()
def _full_loss(
    model: nn.Module, features: Float[Tensor, "examples features"], labels: Float[Tensor, "examples 1"]
) -> float:
    return float(((model(features) - labels) ** 2).mean() / 2)


def draw_study(study: BatchStudy, path: Path) -> None:
    """Draw a study into `path` (.png, .svg or .pdf)."""
    # Above the least that any weights reach, as far down as float32 can tell.
    curves: list[BatchCurve] = []
    for curve in study.curves:
        above = [(at, loss - study.least_loss) for at, loss in curve.points]
        curves.append(replace(curve, points=[(at, loss) for at, loss in above if loss > _FINEST]))
    draw_batch_curves(
        path,
        curves,
        title="What a batch size costs",
        loss_label="loss above the least possible",
        full=NUM_EXAMPLES,
        caption=study.conditions,
    )
