"""The range test where its answer is known, on noise, and on a network."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, strategies as st

from twofold import Recipe, TwofoldError
from twofold.errors import RunError
from twofold.study.lr_find import MARGIN, lr_find, range_test, smooth
from twofold.study.race import RaceSettings


def quadratic(curvatures: list[float], *, noise: float = 0.0, seed: int = 0) -> Callable[[float], float]:
    """Return gradient descent on ½ Σ λx², from x = 1; noise is that of a minibatch: in the gradient and in the loss."""
    matrix, x = np.array(curvatures), np.ones(len(curvatures))
    generator = np.random.default_rng(seed)

    def step(lr: float) -> float:
        nonlocal x
        loss = float(0.5 * (matrix * x * x).sum()) + 0.1 * noise * float(generator.standard_normal())
        x = x - lr * (matrix * x + noise * generator.standard_normal(len(x)))
        return loss

    return step


@given(curvature=st.floats(0.01, 100), steps=st.integers(60, 400))
def test_on_a_quadratic_the_lowest_loss_is_the_edge_of_stability(curvature: float, steps: int) -> None:
    low, high = 1e-5 / curvature, 777 / curvature
    found = range_test(quadratic([curvature]), low=low, high=high, steps=steps, smoothing=0.0)
    factor = (high / low) ** (1 / (steps - 1))
    edge = 2 / curvature
    # The loss at a step is that before its update: the first to overshoot is the last of the low ones.
    assert edge / factor <= found.rates[found.lowest] <= edge * factor**1.01
    assert found.suggestion == found.rates[found.lowest] / MARGIN
    assert found.diverged
    assert found.rates[-1] < high
    assert found.steepest is not None
    assert found.rates[found.steepest] < edge


@given(seed=st.integers(0, 1000), steps=st.integers(150, 400))
def test_with_several_curvatures_and_noise_the_suggestion_is_stable_and_not_timid(seed: int, steps: int) -> None:
    found = range_test(quadratic([1.0, 0.3, 0.1], noise=0.05, seed=seed), low=1e-4, high=100, steps=steps)
    assert found.suggestion is not None
    # Beyond 2 / 1.0 the steps diverge; a hundredth of it would waste the training.
    assert 0.02 < found.suggestion < 1.0
    assert "is lowest" in found.reason
    assert "rises beyond" in found.reason


def test_a_suggestion_that_was_never_tried_says_so() -> None:
    found = range_test(quadratic([1.0]), low=0.5, high=50, steps=60, smoothing=0.0)
    assert found.suggestion is not None
    assert found.suggestion < found.rates[0]
    assert "below the lowest that was tried, 0.5" in found.reason
    assert "below the lowest" not in range_test(quadratic([1.0]), low=0.01, high=50, steps=60, smoothing=0.0).reason


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda lr: 2.3, "hardly fell"),
        (lambda lr: 2.3 * (1 + lr), "rose before it fell"),
        (lambda lr: 1.0 if lr < 1 else math.nan, "rose before it fell"),
    ],
)
def test_without_a_fall_there_is_no_suggestion(step: Callable[[float], float], words: str) -> None:
    found = range_test(step, low=1e-4, high=100, steps=100)
    assert found.suggestion is None
    assert words in found.reason


def test_a_loss_that_never_rises_is_said() -> None:
    found = range_test(lambda lr: 1 / (1 + lr), low=1e-4, high=10, steps=100)
    assert not found.diverged
    assert found.suggestion is not None
    assert "had not risen by 10" in found.reason


def test_a_loss_that_is_broken_from_the_start_is_an_error() -> None:
    with pytest.raises(RunError, match="not finite at the first step"):
        range_test(lambda lr: math.nan, low=1e-4, high=1, steps=20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 0.0}, "low must be above 0, got 0"),
        ({"low": -1.0}, "low must be above 0, got -1"),
        ({"high": 1e-6}, r"high must be at least ten times low \(0.001\), got 1e-06"),
        ({"high": math.inf}, "high must be at least ten times low"),
        ({"steps": 3}, "steps must be 20 or more, got 3"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1, got 1"),
    ],
)
def test_settings_out_of_range(changes: dict, words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        range_test(lambda lr: 1.0, **({"low": 1e-4, "high": 1.0, "steps": 50, "smoothing": 0.9} | changes))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.floats(0, 0.99))
def test_smoothing_stays_between_and_treats_both_directions_alike(values: list[float], keep: float) -> None:
    smoothed = smooth(values, keep)
    assert min(values) - 1e-9 <= min(smoothed)
    assert max(smoothed) <= max(values) + 1e-9
    assert smooth(values[::-1], keep)[::-1] == pytest.approx(smoothed, abs=1e-9)


def test_on_a_network_the_suggestion_trains(small_settings: RaceSettings) -> None:
    from twofold.study.training import load_study_data, run_training

    recipe = Recipe(
        model="lenet-bn",
        data=small_settings.data,
        image_size=28,
        optimizer="adam",
        augment="none",
        batch_size=16,
        precision="float32",
        device="cpu",
        schedule="constant",
    )
    found = lr_find(recipe, steps=120, show=False)
    assert found == lr_find(recipe, steps=120, show=False)
    assert found.suggestion is not None
    shared = load_study_data(recipe, show=False)

    def accuracy(lr: float) -> float:
        record = run_training(shared, recipe.override(lr=lr, epochs=6), on_progress=lambda a, b: None, test=True)
        return record["test"]["accuracy"] if record["test"] else 0.0

    # Better than a learning rate far below, and not beyond the edge.
    assert accuracy(found.suggestion) > max(0.7, accuracy(found.suggestion / 1000))
