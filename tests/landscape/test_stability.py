"""The step size past which a rule diverges, and what a running average remembers: measured on the real optimisers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from twofold.errors import TwofoldError
from twofold.landscape.averaging import impulse_weights, measure_memory
from twofold.landscape.stability import measure_stable_lr, stable_lr


def turned(*eigenvalues: float) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues, none of whose eigenvectors lies along an axis."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=generator).double())
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("sgd", {}),
        ("momentum", {"momentum": 0.5}),
        ("momentum", {"momentum": 0.9, "convention": "d2l"}),
        ("nesterov", {"momentum": 0.9}),
    ],
)
@pytest.mark.parametrize("eigenvalues", [(4.0, 0.2), (100.0, 3.0, 1.0)])
def test_a_rule_diverges_where_theory_says(optimizer: str, settings: dict, eigenvalues: tuple[float, ...]) -> None:
    found = measure_stable_lr(turned(*eigenvalues), optimizer=optimizer, steps=400, precision=2e-3, **settings)
    momentum = settings.get("momentum", 0.0)
    assert found == pytest.approx(
        stable_lr(max(eigenvalues), momentum=momentum, nesterov=optimizer == "nesterov"), rel=2e-3
    )


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_the_bound_is_where_the_iteration_s_spectral_radius_passes_one(momentum: float, nesterov: bool) -> None:
    """The oracle is linear algebra: one step as a matrix on (x, v), for an eigenvalue of 1."""

    def radius(lr: float) -> float:
        # v′ = γv + x; x′ = x − ηv′, or x − η(x + γv′) looking ahead
        ahead = np.array([[1, 0], [0, 0]]) if nesterov else np.zeros((2, 2))
        velocity = np.array([1.0, momentum])
        position = (
            np.array([1.0, 0.0]) - lr * (ahead[0] + momentum * velocity)
            if nesterov
            else np.array([1.0, 0.0]) - lr * velocity
        )
        return max(abs(np.linalg.eigvals(np.stack([position, velocity]))))

    bound = stable_lr(1.0, momentum=momentum, nesterov=nesterov)
    assert radius(0.999 * bound) < 1 < radius(1.001 * bound)


def test_wrong_use_of_stability() -> None:
    with pytest.raises(TwofoldError, match="no minimum"):
        measure_stable_lr(turned(1.0, -1.0))
    with pytest.raises(TwofoldError, match="precision must be between"):
        measure_stable_lr(turned(1.0, 2.0), precision=0.0)
    with pytest.raises(TwofoldError, match="did you mean"):
        measure_stable_lr(turned(1.0, 2.0), optimizer="momentun")
    with pytest.raises(TwofoldError, match="largest_eigenvalue must be above 0, got -1"):
        stable_lr(-1.0)
    with pytest.raises(TwofoldError, match="momentum must be at least 0 and below 1, got 1"):
        stable_lr(1.0, momentum=1.0)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.99])
def test_momentum_holds_a_power_of_each_gradient(decay: float) -> None:
    memory = measure_memory("momentum", "velocity", "momentum", decay)
    expected = decay ** np.arange(len(memory.weights))
    np.testing.assert_allclose(memory.weights, expected, rtol=1e-9, atol=1e-15)
    assert memory.total == pytest.approx(1 / (1 - decay), rel=1e-9)
    assert memory.mean_age == pytest.approx(decay / (1 - decay), abs=1e-9)
    assert memory.recent_share == pytest.approx(1 - decay**memory.horizon, rel=1e-9)
    if decay == 0.99:
        assert memory.recent_share == pytest.approx(1 - 1 / math.e, abs=0.003)


@pytest.mark.parametrize(
    ("optimizer", "state", "decay_name"),
    [
        ("adam", "grad_avg", "beta1"),
        ("adam", "square_avg", "beta2"),
        ("rmsprop", "square_avg", "gamma"),
        ("adadelta", "square_avg", "rho"),
    ],
)
def test_averages_weigh_the_same_and_add_up_to_one(optimizer: str, state: str, decay_name: str) -> None:
    weights = impulse_weights(optimizer, state, steps=50, **{decay_name: 0.8})
    np.testing.assert_allclose(weights, 0.2 * 0.8 ** np.arange(50), rtol=1e-9)
    assert measure_memory(optimizer, state, decay_name, 0.8).total == pytest.approx(1, rel=1e-9)


def test_momentum_is_what_a_mixture_of_gradients_makes_of_its_weights() -> None:
    """Any sequence of gradients, not only a single one: the velocity is their sum by weight."""
    from twofold.optim.rules import create_optimizer

    gradients = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    weights = impulse_weights("momentum", "velocity", steps=30, momentum=0.7)
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    rule = create_optimizer("momentum", [parameter], lr=0.1, momentum=0.7)
    for gradient in gradients:
        parameter.grad = gradient[None]
        rule.step()
    assert rule.state[parameter]["velocity"].item() == pytest.approx(float(gradients.flip(0) @ weights), rel=1e-9)


def test_wrong_use_of_averages() -> None:
    with pytest.raises(TwofoldError, match="known are grad_avg, square_avg"):
        impulse_weights("adam", "velocity", steps=3)
    with pytest.raises(TwofoldError, match="steps must be 1 or more, got 0"):
        impulse_weights("adam", "grad_avg", steps=0)
    with pytest.raises(TwofoldError, match="beta1 must be at least 0 and below 1, got 1"):
        measure_memory("adam", "grad_avg", "beta1", 1.0)
