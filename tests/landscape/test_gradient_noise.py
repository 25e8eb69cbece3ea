"""The noise of stochastic gradients: on a real network with real images, and where the answer is known exactly."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torch import nn

from twofold.data import channel_statistics, load_data, normalise
from twofold.errors import TwofoldError
from twofold.landscape.gradient_noise import (
    GradientSource,
    draw_batches,
    epoch_bias,
    expected_variance,
    fit_slope,
    gradient_variance,
    image_variance,
    sampled_bias,
)
from twofold.models.lenet import LeNet

NUM = 96


def lenet_source(*, batch_norm: bool, num: int = NUM) -> GradientSource:
    """A narrow LeNet in training on real images."""
    data = load_data("fashion-mini", val_fraction=0.0, show_progress=False, splits=("train",))
    mean, std = channel_statistics(data.train)
    chosen = torch.arange(num)
    torch.manual_seed(0)
    model = LeNet(width=0.25, batch_norm=batch_norm).train()
    inputs = normalise(data.train.load(chosen), mean, std)
    return GradientSource(model, nn.CrossEntropyLoss(), inputs, data.train.targets.labels[chosen], piece=40)


@pytest.fixture(scope="module")
def lenet() -> GradientSource:
    return lenet_source(batch_norm=False)


def line_source(num: int = 60) -> tuple[GradientSource, torch.Tensor]:
    """Least squares through the origin with its per-image gradients (xw − y)x in closed form."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(num, 4, generator=generator)
    y = torch.randn(num, 1, generator=generator)
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.5)
    gradients = (x.double() @ model.weight.detach().double().T - y.double()) * x.double()
    return GradientSource(model, lambda found, wanted: ((found - wanted) ** 2).mean() / 2, x, y), gradients


def test_gradients_are_those_in_closed_form() -> None:
    source, gradients = line_source()
    torch.testing.assert_close(source.full(), gradients.mean(dim=0))
    some = torch.tensor([5, 7, 7])
    torch.testing.assert_close(source.batch(some), gradients[some].mean(dim=0))
    expected = np.var(gradients.numpy(), axis=0).sum()
    assert image_variance(source) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("batch_size", [1, 8, 32, NUM])
def test_an_epoch_s_mean_gradient_is_the_full_gradient(lenet: GradientSource, batch_size: int) -> None:
    for seed in range(1 if batch_size == 1 else 3):
        assert epoch_bias(lenet, batch_size=batch_size, seed=seed) < 1e-12


def test_batch_norm_breaks_it() -> None:
    """Each batch is normalised by its own statistics: another function, another gradient, the more the smaller."""
    source = lenet_source(batch_norm=True)
    large, small = epoch_bias(source, batch_size=48), epoch_bias(source, batch_size=4)
    assert small > large > 0.01
    assert small > 0.1
    assert epoch_bias(source, batch_size=NUM) < 1e-12


def test_uneven_batches_are_refused(lenet: GradientSource) -> None:
    """Their mean counts the images of the smaller last batch more than once; measured here without the check."""
    with pytest.raises(TwofoldError, match="divide the 96 images evenly, got 36"):
        epoch_bias(lenet, batch_size=36)
    batches = torch.arange(NUM).split(36)
    mean = torch.stack([lenet.batch(indices) for indices in batches]).mean(dim=0)
    assert float((mean - lenet.full()).norm() / lenet.full().norm()) > 1e-3


def test_sampling_with_replacement_is_unbiased_within_its_standard_error() -> None:
    """Over 60 experiments the squares of the distances average to 1 within their own four standard errors."""
    source, _ = line_source()
    squares = np.array([sampled_bias(source, batch_size=4, num_batches=40, seed=seed) ** 2 for seed in range(60)])
    assert abs(squares.mean() - 1) < 4 * squares.std(ddof=1) / math.sqrt(len(squares))
    # A biased gradient is found out: the batches see other labels than the full gradient does.
    biased = copy.copy(source)
    shifted, true_full = copy.copy(source), source.full()
    shifted._labels = source._labels + source._images[:, :1]
    biased.batch, biased.full = shifted.batch, lambda: true_full  # type: ignore[method-assign]
    assert min(sampled_bias(biased, batch_size=4, num_batches=40, seed=seed) for seed in range(5)) > 4


def test_real_gradients_with_replacement_are_unbiased(lenet: GradientSource) -> None:
    assert sampled_bias(lenet, batch_size=8, num_batches=60) < 3


@pytest.mark.parametrize("replacement", [True, False])
def test_variance_of_real_gradients_falls_as_theory_says(lenet: GradientSource, replacement: bool) -> None:
    one = image_variance(lenet)
    sizes = (1, 2, 4, 8, 16, 32, 64)
    measured = [gradient_variance(lenet, size, replacement=replacement, num_batches=40) for size in sizes]
    theory = [expected_variance(one, size, NUM, replacement=replacement) for size in sizes]
    for (found, error), expected in zip(measured, theory, strict=True):
        assert abs(found - expected) < 4.5 * error
    against_theory = fit_slope(theory, [found for found, _ in measured], [error for _, error in measured])
    assert abs(against_theory.slope - 1) < 4 * against_theory.error < 0.1
    against_size = fit_slope(sizes, [found for found, _ in measured], [error for _, error in measured])
    # 1/B fits with replacement; without, the measurement is good enough to tell that it does not.
    assert (abs(against_size.slope + 1) < 4 * against_size.error) == replacement


def test_whole_batches_without_replacement_have_no_noise(lenet: GradientSource) -> None:
    found, _ = gradient_variance(lenet, NUM, replacement=False, num_batches=2)
    assert found < 1e-24
    assert expected_variance(5.0, NUM, NUM, replacement=False) == 0.0


@given(st.integers(1, 50), st.data(), st.booleans(), st.integers(0, 99))
def test_batches_are_what_was_asked_for(num: int, data, replacement: bool, seed: int) -> None:
    size = data.draw(st.integers(1, 2 * num if replacement else num))
    batches = list(draw_batches(num, size, 3, replacement=replacement, seed=seed))
    again = list(draw_batches(num, size, 3, replacement=replacement, seed=seed))
    for batch, same in zip(batches, again, strict=True):
        assert torch.equal(batch, same)
        assert batch.shape == (size,)
        assert 0 <= int(batch.min()) <= int(batch.max()) < num
        assert replacement or len(batch.unique()) == size


def test_draws_are_uniform() -> None:
    for replacement in (True, False):
        drawn = torch.cat(list(draw_batches(20, 10, 400, replacement=replacement, seed=0)))
        assert stats.chisquare(torch.bincount(drawn, minlength=20).numpy()).pvalue > 1e-4


@given(st.floats(-3, 3), st.lists(st.floats(0.1, 100), min_size=3, max_size=8, unique=True))
def test_slope_is_that_of_weighted_least_squares(slope: float, x: list[float]) -> None:
    generator = np.random.default_rng(len(x))
    y = 3 * np.array(x) ** slope * np.exp(generator.normal(0, 0.01, len(x)))
    error = y * generator.uniform(0.01, 0.1, len(x))
    expected, covariance = np.polyfit(np.log(x), np.log(y), 1, w=y / error, cov="unscaled")
    found = fit_slope(x, y.tolist(), error.tolist())
    assert found.slope == pytest.approx(expected[0], rel=1e-6, abs=1e-6)
    assert found.error == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = LeNet(image_size=(16, 16), width=0.125, batch_norm=True).train()
    before = copy.deepcopy(model.state_dict())
    source = GradientSource(model, nn.CrossEntropyLoss(), torch.randn(8, 1, 16, 16), torch.arange(8))
    epoch_bias(source, batch_size=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_wrong_use(lenet: GradientSource) -> None:
    with pytest.raises(TwofoldError, match="num_batches must be 2 or more, got 1"):
        sampled_bias(lenet, batch_size=4, num_batches=1)
    with pytest.raises(TwofoldError, match="num_batches must be 2 or more, got 0"):
        gradient_variance(lenet, 4, replacement=True, num_batches=0)
    with pytest.raises(TwofoldError, match="batch_size must be 1 to 96, got 97"):
        gradient_variance(lenet, 97, replacement=False)
    with pytest.raises(TwofoldError, match="got 3 and 2"):
        GradientSource(nn.Linear(2, 1), nn.MSELoss(), torch.zeros(3, 2), torch.zeros(2, 1))
