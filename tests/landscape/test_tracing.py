"""Paths over surfaces: those of the readable rules, those of a pencil, and their ends."""

from __future__ import annotations

import doctest
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

import twofold.landscape.tracing
from twofold.errors import TwofoldError
from twofold.landscape.surfaces import FAR_AWAY, SURFACES, find_surface, surface_from
from twofold.landscape.tracing import (
    MOST_STEPS,
    evaluate,
    gradient,
    gradient_noise,
    race,
    start_point,
    suggest_settings,
    trace,
    value_and_gradient,
)
from twofold.optim.rules import OPTIMIZERS
from twofold.optim.schedule import Schedule
from twofold.scratch.optim import Optimizer as ScratchOptimizer

# Those of D2L's figures, and settings for the other rules that match them.
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.4},
    "momentum": {"lr": 0.4, "momentum": 0.5},
    "nesterov": {"lr": 0.2, "momentum": 0.5},
    "adagrad": {"lr": 0.4, "eps": 1e-6},
    "rmsprop": {"lr": 0.4, "gamma": 0.9, "eps": 1e-6},
    "adadelta": {"rho": 0.9, "eps": 1e-5},
    "adam": {"lr": 0.4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"lr": 0.4, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}
CONVENTIONAL = ("momentum", "adagrad", "rmsprop")


def test_docstring_examples() -> None:
    result = doctest.testmod(twofold.landscape.tracing)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("convention", ["d2l", "torch"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_paths_and_states_are_those_of_the_readable_rules(name: str, convention: str) -> None:
    """The quadratic's gradient is written out here, so nothing is shared but the arithmetic."""
    walked = trace("quadratic", name, convention=convention, **SETTINGS[name])
    x = torch.tensor([-5.0, -2.0], dtype=torch.float64)
    extra = {"convention": convention} if name in CONVENTIONAL else {}
    readable = ScratchOptimizer(name, [x], **SETTINGS[name], **extra)
    path, gradients, states = [x.clone()], [], []
    for _ in range(20):
        gradients.append(torch.tensor([0.2, 4.0], dtype=torch.float64) * x)
        readable.step([gradients[-1].clone()])
        path.append(x.clone())
        states.append([one.clone() for one in readable._state[0]])
    torch.testing.assert_close(walked.path, torch.stack(path), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(walked.gradients, torch.stack(gradients), rtol=1e-9, atol=1e-9)
    assert tuple(walked.state) == OPTIMIZERS[name].state_names
    for index, rows in enumerate(walked.state.values()):
        expected = torch.stack([state[index] for state in states])
        if name == "adagrad" and convention == "d2l":
            expected = expected + 1e-6  # the fast form keeps s + ε
        torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(walked.values, 0.1 * walked.path[:, 0] ** 2 + 2 * walked.path[:, 1] ** 2)


@given(lr=st.floats(0.01, 0.49), first=st.floats(-5, 5), second=st.floats(-5, 5))
def test_gradient_descent_on_a_quadratic_is_a_power(lr: float, first: float, second: float) -> None:
    """Each step multiplies the distance along an eigenvector by 1 - ηλ."""
    walked = trace("quadratic", "sgd", (first, second), 20, lr=lr)
    steps = torch.arange(21, dtype=torch.float64)[:, None]
    factors = 1 - lr * torch.tensor([0.2, 4.0], dtype=torch.float64)
    expected = torch.tensor([first, second], dtype=torch.float64) * factors**steps
    torch.testing.assert_close(walked.path, expected, rtol=1e-9, atol=1e-9)


@given(lr=st.floats(0.05, 0.9), gamma=st.floats(0.0, 0.95))
def test_momentum_on_a_parabola_follows_its_recurrence(lr: float, gamma: float) -> None:
    """x(k+1) = (1 + γ - ηλ) x(k) - γ x(k-1), which has no velocity in it."""
    walked = trace("x**2", "momentum", (3.0,), 20, lr=lr, momentum=gamma)
    x = walked.path[:, 0]
    expected = (1 + gamma - 2 * lr) * x[1:-1] - gamma * x[:-2]
    torch.testing.assert_close(x[2:], expected, rtol=1e-9, atol=1e-7)


def test_first_steps_are_those_of_a_pencil() -> None:
    """From (-5, -2) the gradient is (-1, -8)."""
    assert trace("quadratic", "sgd", steps=1, lr=0.4).last.tolist() == pytest.approx([-4.6, 1.2])
    # Divided by the root of its own square, each coordinate's first step is η, whatever its gradient.
    for name in ("adagrad", "adam"):
        assert trace("quadratic", name, steps=1, lr=0.4).last.tolist() == pytest.approx([-4.6, -1.6], abs=1e-6)
    rmsprop = trace("quadratic", "rmsprop", steps=1, lr=0.4, gamma=0.9)
    assert rmsprop.last.tolist() == pytest.approx([-5 + 0.4 / 0.1**0.5, -2 + 0.4 / 0.1**0.5], abs=1e-4)


def test_the_first_trace_of_d2l() -> None:
    walked = trace("quadratic", "sgd", lr=0.4)
    assert walked.path.shape == (21, 2)
    assert walked.last.tolist() == pytest.approx([-5 * 0.92**20, -2 * 0.6**20])
    assert walked.settings == {"lr": 0.4, "convention": "d2l"}
    assert walked.learning_rates.tolist() == [0.4] * 20
    assert walked.verdict == "still moving"


def test_effective_rates() -> None:
    torch.testing.assert_close(
        trace("quadratic", "sgd", lr=0.4).effective_rates, torch.full((20, 2), 0.4, dtype=torch.float64)
    )
    adagrad = trace("quadratic", "adagrad", lr=0.4).effective_rates
    assert bool((adagrad.diff(dim=0) < 0).all())
    # On a constant slope momentum's grows to η/(1 - γ).
    slope = trace("x", "momentum", (0.0,), 60, lr=0.1, momentum=0.5).effective_rates
    assert float(slope[0]) == pytest.approx(0.1)
    assert float(slope[-1]) == pytest.approx(0.2)
    # Where there is no gradient there is no rate.
    assert math.isnan(float(trace("x1**2 + 0*x2", "sgd", (1.0, 1.0), 1, lr=0.1).effective_rates[0, 1]))


def test_a_schedule_sets_the_learning_rate_of_each_step() -> None:
    schedule = Schedule(name="step", lr=0.4, step_epochs=5, step_factor=0.5)
    walked = trace("quadratic", "sgd", schedule=schedule)
    assert walked.learning_rates.tolist() == pytest.approx([0.4 * 0.5 ** (step // 5) for step in range(20)])
    torch.testing.assert_close(walked.effective_rates[:, 0], walked.learning_rates)
    cosine = trace("quadratic", "sgd", schedule=Schedule(name="warmup-cosine", lr=0.4, warmup=0.25))
    assert 0 < float(cosine.learning_rates.min()) < float(cosine.learning_rates.max()) < 0.4
    with pytest.raises(TwofoldError, match=r"lr=0\.1 goes without a schedule"):
        trace("quadratic", "sgd", schedule=schedule, lr=0.1)


def test_momentum_s_conventions_part_when_the_learning_rate_changes() -> None:
    schedule = Schedule(name="step", lr=0.2, step_epochs=5, step_factor=0.1)
    d2l = trace("quadratic", "momentum", schedule=schedule, momentum=0.5)
    torchs = trace("quadratic", "momentum", schedule=schedule, momentum=0.5, convention="torch")
    torch.testing.assert_close(d2l.path[:6], torchs.path[:6])
    assert float((d2l.path[6] - torchs.path[6]).abs().max()) > 0.01


def test_noise_is_keyed_unbiased_and_of_the_size_that_was_said() -> None:
    noisy = SURFACES["noisy"]
    rows = torch.stack([gradient_noise(noisy, 0, step) for step in range(4000)])
    assert torch.equal(rows[7], gradient_noise(noisy, 0, 7))
    assert not torch.equal(rows[7], gradient_noise(noisy, 1, 7))
    assert len(set(rows.flatten().tolist())) == rows.numel()
    # Six standard errors: 0.5/√4000, and 0.5/√8000 of the standard deviation.
    assert float(rows.mean(0).abs().max()) < 6 * 0.5 / 4000**0.5
    assert float((rows.std(0) - 0.5).abs().max()) < 6 * 0.5 / 8000**0.5
    assert abs(float(torch.corrcoef(rows.T)[0, 1])) < 6 / 4000**0.5


def test_the_same_call_gives_the_same_path_and_another_seed_another() -> None:
    torch.manual_seed(1)
    first = trace("noisy", "sgd", lr=0.1, seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first.path, trace("noisy", "sgd", lr=0.1, seed=3).path)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first.path, trace("noisy", "sgd", lr=0.1, seed=4).path)
    # A longer path begins as the shorter one, and its values are those without noise.
    longer = trace("noisy", "sgd", steps=40, lr=0.1, seed=3)
    assert torch.equal(first.path, longer.path[:21])
    torch.testing.assert_close(longer.values, evaluate(SURFACES["quadratic"], longer.path))
    noise = first.gradients - gradient(SURFACES["quadratic"], first.path[:-1])
    torch.testing.assert_close(noise[5], gradient_noise(SURFACES["noisy"], 3, 5))


def test_divergence_ends_the_path_at_its_step() -> None:
    walked = trace("parabola", "sgd", (10.0,), 1000, lr=1.1)
    # |x| = 10 · 1.2^k first passes a million at k = 64.
    assert (walked.ended, walked.ended_at, walked.num_steps) == ("diverged at step 64", 64, 64)
    assert walked.verdict == walked.ended
    assert abs(float(walked.last)) > FAR_AWAY >= abs(float(walked.path[-2]))
    assert len(walked.gradients) == len(walked.learning_rates) == 64
    assert trace("parabola", "sgd", (10.0,), 20, lr=1.1).verdict == "diverging"


def test_values_that_overflow_are_left_out() -> None:
    walked = trace("x**60", "momentum", (2.0,), 20, lr=1e300)
    assert walked.ended == "diverged at step 1"
    assert walked.num_steps == 0
    assert walked.path.isfinite().all()
    assert walked.gradients.shape == walked.state["velocity"].shape == (0, 1)


@pytest.mark.parametrize(
    ("formula", "start", "lr", "words"),
    [
        ("sqrt(x)", 0.1, 1.0, "left the domain at step 1"),
        ("x - log(x)", 0.2, 0.1, "converged"),
        ("log(x)", 1.0, 0.6, "left the domain at step 2"),
        ("sqrt(x**2)*abs(x)", 0.0, 0.1, "cannot be used"),
    ],
)
def test_the_domain_is_where_values_are_finite(formula: str, start: float, lr: float, words: str) -> None:
    if words == "cannot be used":
        with pytest.raises(TwofoldError, match=words):
            trace(formula, "sgd", (start,), lr=lr)
        return
    walked = trace(formula, "sgd", (start,), 50, lr=lr)
    assert walked.verdict == words
    assert walked.path.isfinite().all()
    assert walked.values.isfinite().all()


def test_a_domain_of_its_own() -> None:
    surface = surface_from(lambda points: (points**2).sum(-1), dimension=1, domain=((1.0, 4.0),), name="half")
    walked = trace(surface, "sgd", (3.0,), lr=0.1)
    assert walked.ended == "left the domain at step 5"
    assert float(walked.last) == pytest.approx(3 * 0.8**4)
    with pytest.raises(TwofoldError, match=r"start \(0.5\) cannot be used: half is defined for 1 to 4"):
        trace(surface, "sgd", (0.5,), lr=0.1)


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("quadratic", "adm"), {"lr": 0.1}, "unknown optimizer 'adm': did you mean adam"),
        (("quadrtic", "sgd"), {"lr": 0.1}, "unknown surface 'quadrtic'.*quadratic"),
        (("quadratic", "sgd"), {}, "needs a learning rate"),
        (("quadratic", "sgd"), {"lr": -0.1}, "lr must be 0 or more.*-0.1"),
        (("quadratic", "sgd"), {"lr": 0.1, "momentum": 0.5}, "unknown setting of sgd 'momentum'"),
        (("quadratic", "momentum"), {"lr": 0.1, "momentum": 1.0}, "momentum must be at least 0 and below 1, got 1"),
        (("quadratic", "adam"), {"lr": 0.1, "beta2": 2.0}, "beta2 must be"),
        (("quadratic", "sgd", (1.0,)), {"lr": 0.1}, r"start must have 2 coordinates on quadratic, got \(1\)"),
        (("parabola", "sgd", (1.0, 2.0)), {"lr": 0.1}, "start must have 1 coordinate on"),
        (("quadratic", "sgd", (1e7, 0.0)), {"lr": 0.1}, "start .* cannot be used: its coordinates must be finite"),
        (("quadratic", "sgd", (math.nan, 0.0)), {"lr": 0.1}, "coordinates must be finite"),
        (("log(x)", "sgd", (-1.0,)), {"lr": 0.1}, r"start \(-1\) cannot be used: log\(x\) is not finite there"),
        (("sqrt(x)", "sgd", (0.0,)), {"lr": 0.1}, "the gradient of .* is not finite there"),
        (("log(-1 - x**2)", "sgd"), {"lr": 0.1}, "not finite at any of the points tried"),
        (("quadratic", "sgd", None, -1), {"lr": 0.1}, "steps must be from 0 to 100,000, got -1"),
        (("quadratic", "sgd", None, MOST_STEPS + 1), {"lr": 0.1}, "steps must be from 0"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments: tuple, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TwofoldError, match=words) as caught:
        trace(*arguments, **settings)
    assert "\n" not in str(caught.value)


def test_functions_that_are_no_surfaces_are_refused() -> None:
    points = torch.zeros(3, 2, dtype=torch.float64)
    for function, words in (
        (lambda points: points, "to values of shape"),
        (lambda points: points.sum(), "to values of shape"),
        (lambda points: 1.0, "returned float"),
        (lambda points: points.sum(-1) > 0, "returned torch.bool"),
    ):
        with pytest.raises(TwofoldError, match=words):
            evaluate(surface_from(function, dimension=2), points)
    with pytest.raises(TwofoldError, match="made of torch operations"):
        gradient(surface_from(lambda points: points.detach().sum(-1), dimension=2), points)
    with pytest.raises(TwofoldError, match="points must have 2 coordinates"):
        evaluate(SURFACES["beale"], torch.zeros(3, 1))


def test_value_and_gradient_in_one() -> None:
    points = torch.randn(4, 3, 2, dtype=torch.float64)
    values, slopes = value_and_gradient(SURFACES["beale"], points)
    assert torch.equal(values, evaluate(SURFACES["beale"], points))
    assert torch.equal(slopes, gradient(SURFACES["beale"], points))
    assert not values.requires_grad


def test_verdicts() -> None:
    assert trace("quadratic", "momentum", steps=60, lr=0.4, momentum=0.5).verdict == "converged"
    # A ball that rolls through the minimum at speed has not converged, and what stands still elsewhere neither.
    rolling = trace("x**2", "momentum", (4.0,), 1, lr=0.5, momentum=0.9)
    assert float(rolling.last) == 0.0
    assert rolling.verdict == "still moving"
    assert trace("quadratic", "adagrad", steps=20, lr=1e-4).verdict == "still moving"
    # A saddle is a point without slope as well.
    assert trace("saddle", "sgd", (-1.0, 0.0), 50, lr=0.2).verdict == "converged"
    # A plane slope has no end, bend or not.
    assert trace("x", "sgd", (0.0,), 5, lr=1e-6).verdict == "still moving"
    assert trace("quadratic", "sgd", (0.0, 0.0), 0, lr=0.1).verdict == "converged"


def test_nearest_minimum() -> None:
    found = trace("himmelblau", "sgd", (3.5, -1.5), 100, lr=0.01).nearest_minimum()
    assert found is not None
    assert found[0].point[0] == pytest.approx(3.5844, abs=1e-3)
    assert found[1] < 1e-6
    assert trace("saddle", "sgd", lr=0.1).nearest_minimum() is None


def test_starts() -> None:
    assert start_point(SURFACES["beale"]).tolist() == [1.0, 1.5]
    assert start_point(find_surface("x**2 + y**2")).tolist() == [-5.0, -2.0]
    assert start_point(find_surface("log(x) + y")).tolist() == [4.0, 3.0]
    assert start_point(find_surface("log(x)*log(1 - x)")).tolist() == [0.5]


@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "rmsprop", "adam"])
def test_suggested_settings_lead_down_on_every_surface(name: str) -> None:
    for surface in SURFACES.values():
        settings = suggest_settings(surface, name, steps=10)
        walked = trace(surface, name, steps=10, **settings)
        assert walked.ended == "", (surface.name, settings)
        assert float(walked.values[-1]) < float(walked.values[0]), (surface.name, settings)


def test_suggestions_are_the_best_of_those_tried() -> None:
    surface = find_surface("x**2 + 3*y**2")
    best = suggest_settings(surface, "sgd", (-4.0, 3.0), 10)["lr"]
    sums = {
        lr: float(trace(surface, "sgd", (-4.0, 3.0), 10, lr=lr).values.sum())
        for lr in (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)
    }
    assert best == pytest.approx(min(sums, key=sums.__getitem__))


def test_suggestions_keep_what_was_given_and_know_d2l_s() -> None:
    quadratic = SURFACES["quadratic"]
    assert suggest_settings(quadratic, "momentum") == {"lr": 0.4, "momentum": 0.5}
    assert suggest_settings(quadratic, "momentum", momentum=0.9, lr=0.1) == {"lr": 0.1, "momentum": 0.9}
    assert suggest_settings(SURFACES["beale"], "adadelta") == {"lr": 1.0}
    with pytest.raises(TwofoldError, match="give a learning rate"):
        suggest_settings(find_surface("-x**2"), "sgd", (-5.0,))


def test_rows_fit_together() -> None:
    walked = trace("rosenbrock", "adam", steps=30, lr=0.1)
    assert walked.num_steps == 30
    assert walked.path.shape == (31, 2)
    assert walked.values.shape == (31,)
    for rows in (walked.gradients, walked.updates, walked.effective_rates, *walked.state.values()):
        assert rows.shape == (30, 2)
    torch.testing.assert_close(walked.path[1:], walked.path[:-1] + walked.updates)
    assert walked.settings["beta1"] == 0.9
    assert trace("rosenbrock", "sgd", steps=0, lr=0.1).path.tolist() == [[-1.2, 1.0]]


@given(
    name=st.sampled_from([*SURFACES, "exp(sin(x)*y) + tanh(x)**2 + abs(y)**1.3", "log(x*x + 1) - cos(3*x)/(1 + x*x)"]),
    racers=st.lists(
        st.tuples(st.sampled_from(list(OPTIMIZERS)), st.sampled_from([1e-4, 0.01, 0.3, 2.0])), min_size=1, max_size=5
    ),
    convention=st.sampled_from(["d2l", "torch"]),
    noise=st.sampled_from([0.0, 0.3]),
)
def test_racers_walk_as_each_does_alone(name, racers, convention, noise):
    surface = replace(find_surface(name), noise=noise)
    settings = [(rule, {"lr": lr, "convention": convention}) for rule, lr in racers]
    for (rule, given_), together in zip(settings, race(surface, settings, None, 12, seed=3), strict=True):
        alone = trace(surface, rule, None, 12, seed=3, **given_)
        assert together.settings == alone.settings
        assert (together.ended, together.ended_at) == (alone.ended, alone.ended_at)
        for field in ("path", "values", "gradients", "learning_rates"):
            assert torch.equal(getattr(together, field), getattr(alone, field)), field
        for part, rows in together.state.items():
            assert torch.equal(rows, alone.state[part]), part
