"""Eigenvalues of Hessians: of small functions, and of networks by Lanczos' method; oracles are dense."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from twofold.errors import RunError, TwofoldError
from twofold.landscape.hessian import classify_point, extreme_eigenvalues, hessian_eigenvalues, hessian_product, lanczos
from twofold.models.lenet import LeNet


def rosenbrock(x: Tensor) -> Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def himmelblau(x: Tensor) -> Tensor:
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_eigenvalues_of_rosenbrock_are_those_of_its_second_derivatives(a: float, b: float) -> None:
    matrix = np.array([[2 - 400 * (b - a**2) + 800 * a**2, -400 * a], [-400 * a, 200.0]])
    expected = scipy.linalg.eigvalsh(matrix)
    found = hessian_eigenvalues(rosenbrock, torch.tensor([a, b], dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("function", "point", "verdict"),
    [
        (lambda x: 0.1 * x[0] ** 2 + 2 * x[1] ** 2, [0.0, 0.0], "minimum"),
        (lambda x: -(x**2).sum(), [0.0, 0.0, 0.0], "maximum"),
        (lambda x: x[0] ** 2 - x[1] ** 2, [0.0, 0.0], "saddle"),
        (lambda x: x[0] ** 2 - x[1] ** 2 + 0 * x[2], [0.0, 0.0, 0.0], "saddle"),
        (rosenbrock, [1.0, 1.0], "minimum"),
        (himmelblau, [3.0, 2.0], "minimum"),
        (himmelblau, [-0.270845, -0.923039], "maximum"),
        (himmelblau, [0.0866778, 2.884255], "saddle"),
        (lambda x: x[0] ** 3, [0.0], "undecided"),
        (lambda x: x[0] ** 2 + x[1] ** 4, [0.0, 0.0], "undecided"),
        (lambda x: x.sum(), [1.0, 2.0], "undecided"),
    ],
)
def test_verdicts(function, point: list[float], verdict: str) -> None:
    assert classify_point(hessian_eigenvalues(function, torch.tensor(point))) == verdict


def test_a_function_of_wrong_kind_or_without_derivative_is_one_clear_line() -> None:
    with pytest.raises(TwofoldError, match=r"one element, got \(2,\)"):
        hessian_eigenvalues(lambda x: x, torch.zeros(2))
    with pytest.raises(TwofoldError, match=r"\[0\.0\] are not finite"):
        hessian_eigenvalues(lambda x: x.abs().sqrt().sum(), torch.zeros(1))
    with pytest.raises(TwofoldError, match="got none"):
        classify_point(torch.zeros(0))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.integers(0, 1000))
def test_lanczos_finds_both_ends_of_any_symmetric_matrix(eigenvalues: list[float], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    dim = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    found = lanczos(lambda v: matrix @ v, torch.randn(dim, generator=generator, dtype=torch.float64), steps=dim)
    scale = max(map(abs, eigenvalues)) + 1e-9
    assert found.smallest == pytest.approx(min(eigenvalues), abs=1e-6 * scale)
    assert found.largest == pytest.approx(max(eigenvalues), abs=1e-6 * scale)
    assert found.num_products <= dim


def test_lanczos_bounds_its_error_and_stays_within() -> None:
    """Before it has settled: the values lie inside the spectrum, an eigenvalue within each bound."""
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(300, generator=generator, dtype=torch.float64), torch.tensor([30.0, -8.0])])
    errors = []
    for steps in (3, 6, 12, 24):
        start = torch.randn(len(values), generator=generator, dtype=torch.float64)
        found = lanczos(lambda v: values * v, start, steps=steps)
        assert found.num_products == steps
        assert -8.0 - 1e-9 <= found.smallest <= found.largest <= 30.0 + 1e-9
        for value, error in ((found.smallest, found.smallest_error), (found.largest, found.largest_error)):
            assert float((values - value).abs().min()) <= error + 1e-9
        errors.append(found.largest_error)
    assert errors[0] > 1e-3 > errors[-1]


def test_lanczos_stops_when_settled_or_when_nothing_is_left() -> None:
    values = torch.cat([torch.zeros(200), torch.tensor([10.0, -5.0])]).double()
    start = torch.ones(len(values), dtype=torch.float64)
    # Three different eigenvalues: the space is exhausted after three products.
    assert lanczos(lambda v: values * v, start, steps=50).num_products == 3
    assert lanczos(lambda v: 0 * v, start, steps=50).largest == 0.0
    spread = torch.linspace(0, 1, 200, dtype=torch.float64)
    spread[-1], spread[0] = 50.0, -20.0
    settled = lanczos(lambda v: spread * v, start[:200], steps=100, tolerance=0.01)
    assert settled.num_products < 20
    assert settled.largest == pytest.approx(50.0, rel=0.01)
    assert settled.smallest == pytest.approx(-20.0, rel=0.01)


def mlp(*, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), activation(), nn.Linear(8, 3)).double()


def some_images(num: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 3, (num,), generator=generator)
    return torch.randn(num, *shape, generator=generator, dtype=torch.float64), labels


def dense_hessian(model: nn.Module, loss: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The whole matrix, by torch.func: another way to second derivatives than the tested one."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    values = dict(model.named_parameters())
    sizes = [values[name].numel() for name in names]

    def of_vector(vector: Tensor) -> Tensor:
        parts = {name: part.view_as(values[name]) for name, part in zip(names, vector.split(sizes), strict=True)}
        return loss(torch.func.functional_call(model, parts, (images,)), labels)

    start = torch.cat([values[name].detach().reshape(-1) for name in names])
    return torch.func.jacrev(torch.func.grad(of_vector))(start).detach()


@pytest.mark.parametrize("piece", [40, 7])
def test_network_s_eigenvalues_are_those_of_its_dense_hessian(piece: int) -> None:
    model, loss, (images, labels) = mlp(), nn.CrossEntropyLoss(), some_images(40, 3, 4)
    dense = torch.linalg.eigvalsh(dense_hessian(model, loss, images, labels))
    found = extreme_eigenvalues(model, loss, images, labels, piece=piece, tolerance=1e-9)
    assert found.largest == pytest.approx(float(dense[-1]), rel=1e-8)
    assert found.smallest == pytest.approx(float(dense[0]), rel=1e-8)
    assert found.num_products < len(dense)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_convolutions_and_batch_norm(batch_statistics: bool) -> None:
    """A LeNet of an eighth of its width, on 8 images, against its dense Hessian in the same mode."""
    torch.manual_seed(0)
    model = LeNet(image_size=(16, 16), width=0.0625, num_classes=3, batch_norm=True).double()
    loss, (images, labels) = nn.CrossEntropyLoss(), some_images(8, 1, 16, 16)
    model.train()(images)  # statistics that differ from those at the start
    before = copy.deepcopy(model.state_dict())
    twin = copy.deepcopy(model).train(batch_statistics)
    for module in twin.modules():
        if batch_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    dense = torch.linalg.eigvalsh(dense_hessian(twin, loss, images, labels))
    found = extreme_eigenvalues(model, loss, images, labels, tolerance=1e-8, batch_statistics=batch_statistics)
    assert found.largest == pytest.approx(float(dense[-1]), rel=1e-6)
    assert found.smallest == pytest.approx(float(dense[0]), rel=1e-6)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_linear_regression_is_a_known_quadratic() -> None:
    """Loss mean (xw − y)², so the Hessian is 2 XᵀX/N whatever the weights, in float32 and in float64."""
    images, _ = some_images(50, 6)
    targets = images.sum(dim=1, keepdim=True)
    model = nn.Linear(6, 1, bias=False)
    expected = scipy.linalg.eigvalsh((2 * images.T @ images / 50).numpy())
    for dtype, rel in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        found = extreme_eigenvalues(model, nn.MSELoss(), images.float(), targets.to(dtype), dtype=dtype)
        assert found.largest == pytest.approx(expected[-1], rel=max(rel, 1e-6))
        assert found.smallest == pytest.approx(expected[0], rel=max(rel, 1e-6))
    assert model.weight.dtype == torch.float32


def test_frozen_parameters_do_not_count_and_a_flat_loss_has_no_curvature() -> None:
    model, loss, (images, labels) = mlp(), nn.CrossEntropyLoss(), some_images(20, 3, 4)
    model[1].requires_grad_(False)
    dense = torch.linalg.eigvalsh(dense_hessian(model, loss, images, labels))
    _, parameters = hessian_product(model, loss, images, labels)
    assert len(parameters) == len(dense) == 27
    found = extreme_eigenvalues(model, loss, images, labels, tolerance=1e-9)
    assert found.largest == pytest.approx(float(dense[-1]), rel=1e-8)
    # Softmax does not change when all logits rise: some eigenvalues are 0, none below.
    assert abs(found.smallest) < 1e-9
    flat = extreme_eigenvalues(nn.Linear(4, 1), lambda y, _: y.mean(), torch.ones(3, 4), torch.zeros(3))
    assert (flat.smallest, flat.largest) == (0.0, 0.0)


def test_the_seed_decides_and_hardly_matters() -> None:
    model, loss, (images, labels) = mlp(activation=nn.ReLU), nn.CrossEntropyLoss(), some_images(30, 3, 4)
    first, again, other = (extreme_eigenvalues(model, loss, images, labels, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.largest == pytest.approx(other.largest, rel=0.01)


def test_wrong_use_of_networks() -> None:
    model, loss, (images, labels) = mlp(), nn.CrossEntropyLoss(), some_images(6, 3, 4)
    with pytest.raises(TwofoldError, match="steps must be 1 or more, got 0"):
        extreme_eigenvalues(model, loss, images, labels, steps=0)
    with pytest.raises(TwofoldError, match="got 6 and 5"):
        extreme_eigenvalues(model, loss, images, labels[:5])
    with pytest.raises(TwofoldError, match="one or more, got 0 and 0"):
        extreme_eigenvalues(model, loss, images[:0], labels[:0])
    with pytest.raises(TwofoldError, match="piece must be 1 or more"):
        extreme_eigenvalues(model, loss, images, labels, piece=0)
    with pytest.raises(TwofoldError, match="set piece=6"):
        extreme_eigenvalues(model, loss, images, labels, piece=5, batch_statistics=True)
    with pytest.raises(RunError, match="not finite"):
        extreme_eigenvalues(model, loss, images * math.inf, labels)
    with pytest.raises(TwofoldError, match="no trainable parameters"):
        extreme_eigenvalues(model.requires_grad_(False), loss, images, labels)
