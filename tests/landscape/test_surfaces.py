"""The named surfaces: what is written about each is true."""

from __future__ import annotations

import dataclasses
import doctest
import math
import subprocess
import sys

import pytest
import torch

import twofold.landscape.surfaces
from twofold.errors import TwofoldError
from twofold.landscape.hessian import classify_point, hessian_eigenvalues
from twofold.landscape.surfaces import SURFACES, Surface, find_surface, surface_from
from twofold.landscape.tracing import evaluate, gradient

# Values and gradients by hand, in plain Python.
BY_HAND = {
    "quadratic": (lambda x, y: 0.1 * x * x + 2 * y * y, lambda x, y: (0.2 * x, 4 * y)),
    "noisy": (lambda x, y: 0.1 * x * x + 2 * y * y, lambda x, y: (0.2 * x, 4 * y)),
    "ill-conditioned": (
        lambda x, y: 25 * (x - y) ** 2 + 0.25 * (x + y) ** 2,
        lambda x, y: (50 * (x - y) + 0.5 * (x + y), -50 * (x - y) + 0.5 * (x + y)),
    ),
    "parabola": (lambda x: x * x, lambda x: (2 * x,)),
    "wave": (
        lambda x: x * math.cos(math.pi * x),
        lambda x: (math.cos(math.pi * x) - math.pi * x * math.sin(math.pi * x),),
    ),
    "cubic": (lambda x: x**3, lambda x: (3 * x * x,)),
    "saddle": (lambda x, y: x * x - y * y, lambda x, y: (2 * x, -2 * y)),
    "beale": (
        lambda x, y: sum((c - x + x * y**k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
        lambda x, y: (
            sum(2 * (c - x + x * y**k) * (y**k - 1) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
            sum(2 * (c - x + x * y**k) * k * x * y ** (k - 1) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
        ),
    ),
    "himmelblau": (
        lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
        lambda x, y: (
            4 * x * (x * x + y - 11) + 2 * (x + y * y - 7),
            2 * (x * x + y - 11) + 4 * y * (x + y * y - 7),
        ),
    ),
    "rosenbrock": (
        lambda x, y: (1 - x) ** 2 + 100 * (y - x * x) ** 2,
        lambda x, y: (-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)),
    ),
}


def points_in(surface: Surface, count: int = 50) -> torch.Tensor:
    low, high = torch.tensor(surface.view, dtype=torch.float64).T
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, surface.dimension, generator=generator, dtype=torch.float64)


def test_docstring_examples() -> None:
    result = doctest.testmod(twofold.landscape.surfaces)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", SURFACES)
def test_values_and_gradients_are_those_by_hand(name: str) -> None:
    surface = SURFACES[name]
    value, slope = BY_HAND[name]
    points = points_in(surface)
    expected = torch.tensor([value(*point) for point in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(evaluate(surface, points), expected, rtol=1e-10, atol=1e-10)
    expected = torch.tensor([slope(*point) for point in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(gradient(surface, points), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SURFACES)
def test_gradients_are_finite_differences(name: str) -> None:
    surface, step = SURFACES[name], 1e-6
    points = points_in(surface, 10)
    for index in range(surface.dimension):
        shift = torch.zeros(surface.dimension, dtype=torch.float64)
        shift[index] = step
        slope = (evaluate(surface, points + shift) - evaluate(surface, points - shift)) / (2 * step)
        torch.testing.assert_close(gradient(surface, points)[:, index], slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SURFACES)
def test_stationary_points_are_what_they_are_said_to_be(name: str) -> None:
    surface = SURFACES[name]
    for one in surface.stationary:
        point = torch.tensor(one.point, dtype=torch.float64)
        assert float(evaluate(surface, point)) == pytest.approx(one.value, abs=1e-12)
        assert float(gradient(surface, point).abs().max()) < 1e-12
        # Of x³ second derivatives cannot tell: they are 0.
        kind = classify_point(hessian_eigenvalues(surface, point))
        assert kind == ("undecided" if name == "cubic" else one.kind)


def test_known_curvatures() -> None:
    eigenvalues = hessian_eigenvalues(SURFACES["quadratic"], torch.zeros(2))
    torch.testing.assert_close(eigenvalues, torch.tensor([0.2, 4.0], dtype=torch.float64))
    eigenvalues = hessian_eigenvalues(SURFACES["ill-conditioned"], torch.ones(2))
    torch.testing.assert_close(eigenvalues, torch.tensor([1.0, 100.0], dtype=torch.float64))


def test_every_kind_that_the_chapter_needs_is_there() -> None:
    assert {surface.dimension for surface in SURFACES.values()} == {1, 2}
    assert {one.kind for surface in SURFACES.values() for one in surface.stationary} == {"minimum", "maximum", "saddle"}
    assert [surface.name for surface in SURFACES.values()] == list(SURFACES)
    assert [name for name, surface in SURFACES.items() if surface.noise] == ["noisy"]
    quadratic = SURFACES["quadratic"]
    assert (quadratic.start, quadratic.steps, quadratic.view) == ((-5.0, -2.0), 20, ((-5.5, 1.0), (-3.0, 1.0)))


@pytest.mark.parametrize("name", SURFACES)
def test_starts_and_minima_are_in_view(name: str) -> None:
    surface = SURFACES[name]
    assert surface.start is not None
    for point in (surface.start, *(one.point for one in surface.stationary)):
        assert all(low <= value <= high for value, (low, high) in zip(point, surface.view, strict=True))


def test_names_and_formulas_are_found() -> None:
    assert find_surface("beale") is SURFACES["beale"]
    assert find_surface("ill-conditioned") is SURFACES["ill-conditioned"]
    own = find_surface("x**2 + y**4")
    assert (own.name, own.formula, own.dimension, own.steps) == ("x**2 + y**4", "x**2 + y**4", 2, 20)
    assert own.start is None
    assert find_surface("x").dimension == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rosenbrok", "unknown surface 'rosenbrok'.* did you mean rosenbrock"),
        ("ill-condition", "did you mean ill-conditioned"),
        ("valley", "known are beale"),
        ("x**2 + foo(y)", "unknown function foo"),
    ],
)
def test_what_is_neither_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(TwofoldError, match=words) as caught:
        find_surface(text)
    assert "\n" not in str(caught.value)


def test_callables_of_the_user() -> None:
    bowl = surface_from(lambda points: (points**2).sum(-1), dimension=2, name="bowl", start=(1, 2))
    assert bowl.start == (1.0, 2.0)
    assert float(evaluate(bowl, torch.tensor([3.0, 4.0]))) == 25.0
    torch.testing.assert_close(gradient(bowl, torch.tensor([3.0, 4.0])), torch.tensor([6.0, 8.0]))


def test_a_surface_is_frozen_and_can_be_varied() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SURFACES["saddle"].noise = 1.0  # type: ignore[misc]
    assert dataclasses.replace(SURFACES["saddle"], noise=1.0).noise == 1.0
    assert hash(SURFACES["saddle"]) != hash(SURFACES["beale"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimension": 3}, "dimension must be 1 or 2, got 3"),
        ({"view": ((0.0, 1.0),)}, "view must be given for 2 coordinates"),
        ({"start": (1.0,)}, "start must be given for 2 coordinates"),
        ({"view": ((1.0, 0.0), (0.0, 1.0))}, "from a lower to a higher number"),
        ({"view": ((0.0, math.inf), (0.0, 1.0))}, "from a lower to a higher number"),
        ({"domain": ((0.0, 0.0), (0.0, 1.0))}, "from a lower to a higher number"),
        ({"noise": -1.0}, "noise must be 0 or more"),
        ({"noise": math.nan}, "noise must be 0 or more"),
    ],
)
def test_wrong_descriptions_are_refused(options: dict, words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        surface_from(lambda points: points.sum(-1), **{"dimension": 2, **options})


def test_names_and_formulas_need_no_torch() -> None:
    code = (
        "import sys; from twofold.landscape.surfaces import find_surface\n"
        "find_surface('beale'); find_surface('x**2 + sin(y)'); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
