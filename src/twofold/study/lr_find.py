"""The learning-rate range test: raise the learning rate step by step, and see where the loss falls and where it rises.

A training from fresh weights in which the learning rate grows from far too small to far too large within some hundred
steps, each step the same factor more (Smith, "Cyclical learning rates for training neural networks", 2017). The loss
first stays, then falls, then rises: at the lowest point the steps begin to overshoot.

What to suggest is a choice. Ours is a tenth of the learning rate at the lowest point. On a quadratic ½λx² the loss
falls as long as η < 2/λ, so the lowest point is the edge of stability itself, and a tenth of it is safe by a margin
that is the same whatever the number of steps (with several curvatures the rise shows late, which the margin allows
for). The other usual choice, where the loss falls most steeply, is reported beside it: it needs no edge, but on a
quadratic it moves with the number of steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.engine.build import build_training
from twofold.engine.calls import takes
from twofold.engine.recipe import Recipe
from twofold.engine.step import train_step
from twofold.errors import RunError, SettingError
from twofold.study.training import RunningAverage, load_study_data, study_conditions
from twofold.terminal import track

# The test ends where the smoothed loss is this many times its lowest.
_RISEN = 4.0
# The suggestion is the learning rate at the lowest loss, over this.
MARGIN = 10.0
# The loss must fall to this share of its start, or the test has shown nothing.
_MUST_FALL_TO = 0.95


@dataclass(frozen=True)
class RangeTest:
    """What a range test measured, and what it suggests.

    Attributes:
        rates: learning rate of each step.
        losses: mean loss of each step, before its update.
        smoothed: the losses, averaged forwards and backwards so that nothing moves sideways.
        diverged: the test ended because the loss rose; otherwise it reached the highest learning rate.
        lowest: index of the lowest smoothed loss.
        steepest: index where the smoothed loss falls most for a factor on the learning rate, None if it never falls.
        suggestion: the suggested learning rate; None where the loss did not fall.
        reason: why this one, or why none.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool
    lowest: int
    steepest: int | None
    suggestion: float | None
    reason: str

    def __repr__(self) -> str:
        suggestion = None if self.suggestion is None else float(f"{self.suggestion:.3g}")
        return (
            f"RangeTest(suggestion={suggestion}, reason={self.reason!r}; rates and losses of {len(self.rates)} steps)"
        )


def check_range(low: float, high: float, steps: int, smoothing: float) -> None:
    """Check the settings of a range test.

    Raises:
        TwofoldError: one cannot be used.
    """
    if not (math.isfinite(low) and low > 0):
        raise SettingError(f"{{}} must be above 0, got {low:g}", "low")
    if not (math.isfinite(high) and high >= 10 * low):
        raise SettingError(f"{{}} must be at least ten times {{}} ({10 * low:g}), got {high:g}", "high", "low")
    if steps < 20:
        raise SettingError(f"{{}} must be 20 or more, got {steps}", "steps")
    if not 0 <= smoothing < 1:
        raise SettingError(f"{{}} must be at least 0 and below 1, got {smoothing:g}", "smoothing")


def range_test(
    step: Callable[[float], float], *, low: float, high: float, steps: int, smoothing: float = 0.9, show: bool = False
) -> RangeTest:
    """Call `step` with growing learning rates until the loss diverges.

    `step` does one update at a learning rate and returns the loss before it. The learning rates go from `low` to
    `high`, evenly spaced in their logarithm; `smoothing` is the share of the average loss that is kept from step to
    step.

    Raises:
        TwofoldError: a setting cannot be used.
        RunError: the first loss is not finite.
    """
    check_range(low, high, steps, smoothing)
    rates: list[float] = []
    losses: list[float] = []
    average, best, diverged = RunningAverage(smoothing), math.inf, False
    for index in track(range(steps), total=steps, label="raising the learning rate", enabled=show):
        lr = low * (high / low) ** (index / (steps - 1))
        loss = step(lr)
        if not math.isfinite(loss):
            diverged = True
            break
        rates.append(lr)
        losses.append(loss)
        smoothed = average.add(loss)
        best = min(best, smoothed)
        if smoothed > _RISEN * best:
            diverged = True
            break
    if not losses:
        raise RunError("the loss is not finite at the first step, before any update: look at the data and the network")
    return _suggest(rates, losses, diverged, smoothing)


def _suggest(rates: Sequence[float], losses: Sequence[float], diverged: bool, smoothing: float) -> RangeTest:
    smoothed = smooth(losses, smoothing)
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    falls = [smoothed[index + 1] - smoothed[index - 1] for index in range(1, lowest)]
    steepest = 1 + min(range(len(falls)), key=falls.__getitem__) if falls and min(falls) < 0 else None
    suggestion: float | None = rates[lowest] / MARGIN
    at = f"the loss is lowest, {smoothed[lowest]:.3g}, at {rates[lowest]:.3g}"
    if lowest == 0 or smoothed[lowest] > _MUST_FALL_TO * smoothed[0]:
        suggestion = None
        way = "rose before it fell: try a lower min" if diverged else "hardly fell: try more steps or a higher max"
        reason = f"no suggestion: the loss began at {smoothed[0]:.3g} and {way}"
    elif diverged:
        reason = f"{at}, and rises beyond: a tenth of that keeps clear of the edge"
    else:
        reason = f"{at}, and had not risen by {rates[-1]:.3g}: a tenth of that; a higher max would find the edge"
    if suggestion is not None and suggestion < rates[0]:
        reason += f"; it is below the lowest that was tried, {rates[0]:.3g}: a lower min would show the loss there"
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), diverged, lowest, steepest, suggestion, reason)


def smooth(values: Sequence[float], keep: float) -> list[float]:
    """Return the mean of an exponential average run forwards and one run backwards: less noise, nothing moved.

    >>> smooth([4.0, 2.0, 3.0], 0.0)
    [4.0, 2.0, 3.0]
    """
    forwards = list(map(RunningAverage(keep).add, values))
    backwards = list(map(RunningAverage(keep).add, values[::-1]))[::-1]
    return [(forward + backward) / 2 for forward, backward in zip(forwards, backwards, strict=True)]


@takes(Recipe, known=Recipe.model_fields)
def lr_find(
    recipe: Recipe,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 300,
    smoothing: float = 0.9,
    skip_broken: bool = False,
    show: bool = True,
) -> RangeTest:
    """Run the range test on the network, the images and the optimiser that `recipe` names.

    Its learning rate, schedule and epochs play no part; when the images are used up, they come again in a new order.

    Args:
        recipe: the training that a learning rate is sought for.
        low: the first learning rate.
        high: the last, if the loss has not risen before.
        steps: how many, evenly spaced in the logarithm of the learning rate.
        smoothing: share of the average loss that is kept from step to step.
        skip_broken: go on without images that cannot be read.
        show: print progress.

    Raises:
        TwofoldError: data, device, network or a setting cannot be used.
        RunError: the loss is not finite from the start, or memory ran out.
    """
    check_range(low, high, steps, smoothing)
    with study_conditions(recipe):
        training = build_training(recipe, load_study_data(recipe, skip_broken=skip_broken, show=show))
        batches = ((epoch, step) for epoch in itertools.count() for step in training.steps(epoch=epoch))
        numbers = itertools.count()

        def step(lr: float) -> float:
            epoch, batch = next(batches)
            return float(train_step(training, batch, epoch=epoch, step=next(numbers), lr=lr).losses["loss"])

        return range_test(step, low=low, high=high, steps=steps, smoothing=smoothing, show=show)
