"""What the chapter on optimisation says of gradients and steps, measured on a real network and the real optimisers.

Each claim is a number that theory knows, the number that was measured, and how far apart the two may be: for what is
random four standard errors, else rounding or the precision of the search. A claim can fail, and then says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from twofold.data import class_labels, normalise
from twofold.engine.build import load_recipe_data, model_spec
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.errors import check_known
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.keyed import derive_key, permutation, torch_generator_seed
from twofold.landscape.averaging import Memory, measure_memory
from twofold.landscape.gradient_noise import (
    GradientSource,
    Variance,
    epoch_bias,
    expected_variance,
    fit_slope,
    gradient_variance,
    image_variance,
    sampled_bias,
)
from twofold.landscape.stability import measure_stable_lr, stable_lr
from twofold.study.claim_names import CLAIMS

NUM_IMAGES = 256
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_BATCH = 32
_DRAWS = 48
_STANDARD_ERRORS = 4.0
# D2L's quadratic, 0.1 x₁² + 2 x₂², turned by an angle so that no eigenvector lies along an axis.
_EIGENVALUES = (0.2, 4.0)
_ANGLE = 0.5
_PRECISION = 1e-4
_STEPS = 1000
DECAYS = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Measured:
    """One claim and what was measured of it.

    Attributes:
        tolerance: how far from the expected value the measured one may be.
        at_least: whether it must be at least what is expected, instead of equal; the tolerance is then infinite.
    """

    claim: str
    what: str
    measured: float
    expected: float
    tolerance: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether measurement and theory agree."""
        if self.at_least:
            return self.measured >= self.expected
        return abs(self.measured - self.expected) <= self.tolerance


@dataclass
class Evidence:
    """What the figure shows beside the table; filled by `measure_claims`."""

    with_replacement: list[Variance] = field(default_factory=list)
    without: list[Variance] = field(default_factory=list)
    bounds: list[tuple[str, float, float]] = field(default_factory=list)
    memories: list[tuple[float, Memory]] = field(default_factory=list)


def measure_claims(names: Sequence[str] = (), *, seed: int = 0, evidence: Evidence | None = None) -> Iterator[Measured]:
    """Measure each claim in turn and yield what was found.

    All of `CLAIMS` where no names are given; `evidence` is given the values behind the claims.

    Raises:
        TwofoldError: an unknown name; the message has the nearest ones.
    """
    chosen = [check_known("claim", name, CLAIMS) for name in names] or list(CLAIMS)
    kept = Evidence() if evidence is None else evidence
    for name in chosen:
        yield from _MEASURES[name](seed, kept)


def gradient_source(model: str, *, seed: int = 0, num_images: int = NUM_IMAGES) -> GradientSource:
    """Return the gradients of a network of half its width, in training mode, at its initial weights.

    The model has no dropout, as lenet and lenet-bn; the images are drawn from the training images of fashion-mini.
    """
    recipe = Recipe(model=model, model_options={"width": 0.5}, data="fashion-mini", val_fraction=0.0, seed=seed)
    data = load_recipe_data(recipe, Options(show=False), splits=("train",))
    hardware = pick_hardware("cpu", "float32")
    spec = model_spec(recipe, data, hardware)
    chosen = permutation(derive_key(seed, "claims"), len(data.train))[:num_images]
    inputs = normalise(data.train.load(chosen), spec.mean, spec.std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator_seed(seed, "init"))
        network = build_model(spec, hardware).train()
    return GradientSource(network, nn.CrossEntropyLoss(), inputs, class_labels(data.train.targets)[chosen])


def _unbiased(seed: int, _: Evidence) -> Iterator[Measured]:
    source = gradient_source("lenet", seed=seed)
    yield Measured(
        "unbiased",
        f"lenet, an epoch of {NUM_IMAGES // _BATCH} batches of {_BATCH}: error of their mean gradient, as a share",
        epoch_bias(source, batch_size=_BATCH, seed=seed),
        0.0,
        1e-9,
    )
    yield Measured(
        "unbiased",
        f"lenet, {_DRAWS} batches of {_BATCH} with replacement, mean gradient: its error in standard errors (about 1)",
        sampled_bias(source, batch_size=_BATCH, num_batches=_DRAWS, seed=seed),
        0.0,
        _STANDARD_ERRORS,
    )
    yield Measured(
        "unbiased",
        f"lenet-bn, an epoch of batches of {_BATCH}: the same is biased by 1% or more, as a share",
        epoch_bias(gradient_source("lenet-bn", seed=seed), batch_size=_BATCH, seed=seed),
        0.01,
        math.inf,
        at_least=True,
    )


def _variance(seed: int, evidence: Evidence) -> Iterator[Measured]:
    source = gradient_source("lenet", seed=seed)
    one = image_variance(source)
    for replacement, kept, how in (
        (True, evidence.with_replacement, "with replacement: slope of log variance over log B"),
        (False, evidence.without, "without: slope over log of (N − B)/(B(N − 1))"),
    ):
        for batch_size in BATCH_SIZES:
            found, error = gradient_variance(source, batch_size, replacement=replacement, num_batches=_DRAWS, seed=seed)
            theory = expected_variance(one, batch_size, len(source), replacement=replacement)
            kept.append(Variance(batch_size, found, error, theory))
        shape = BATCH_SIZES if replacement else [variance.theory for variance in kept]
        slope = fit_slope(shape, [v.measured for v in kept], [v.error for v in kept])
        yield Measured(
            "variance",
            f"lenet, {_DRAWS} batches each of B = 1 to {BATCH_SIZES[-1]} {how}",
            slope.slope,
            -1.0 if replacement else 1.0,
            _STANDARD_ERRORS * slope.error,
        )
        yield Measured(
            "variance",
            f"the same batches: measured variance over that of theory, mean of the {len(kept)} sizes",
            sum(variance.measured / variance.theory for variance in kept) / len(kept),
            1.0,
            _STANDARD_ERRORS * math.hypot(*(variance.error / variance.theory for variance in kept)) / len(kept),
        )


def _step_size(seed: int, evidence: Evidence) -> Iterator[Measured]:
    turn = torch.tensor(_ANGLE, dtype=torch.float64)
    rotation = torch.stack([torch.stack([turn.cos(), -turn.sin()]), torch.stack([turn.sin(), turn.cos()])])
    hessian = rotation @ torch.diag(torch.tensor(_EIGENVALUES, dtype=torch.float64)) @ rotation.T
    largest = max(_EIGENVALUES)
    for rule, momentum, label in (
        ("sgd", 0.0, "gradient descent"),
        ("momentum", 0.5, "momentum 0.5"),
        ("momentum", 0.9, "momentum 0.9"),
        ("nesterov", 0.9, "nesterov 0.9"),
    ):
        settings = {"momentum": momentum} if momentum else {}
        found = measure_stable_lr(hessian, optimizer=rule, steps=_STEPS, precision=_PRECISION, **settings)
        expected = stable_lr(largest, momentum=momentum, nesterov=rule == "nesterov")
        evidence.bounds.append((label, found * largest, expected * largest))
        formula = {"sgd": "2", "momentum": "2(1 + γ)", "nesterov": "2(1 + γ)/(1 + 2γ)"}[rule]
        yield Measured(
            "step-size",
            f"{label} on a quadratic diverges past lr · λ_max = {formula}",
            found * largest,
            expected * largest,
            _PRECISION * expected * largest,
        )


def _memory(seed: int, evidence: Evidence) -> Iterator[Measured]:
    for decay in DECAYS:
        held = measure_memory("momentum", "velocity", "momentum", decay)
        evidence.memories.append((decay, held))
        yield Measured(
            "memory", f"momentum {decay:g}: sum of the weights of all past gradients", held.total, 1 / (1 - decay), 1e-9
        )
        yield Measured(
            "memory",
            f"momentum {decay:g}: share of that which the last {held.horizon} hold (1 − 1/e = 0.632 as γ nears 1)",
            held.recent_share,
            1 - decay**held.horizon,
            1e-9,
        )
    held = measure_memory("adam", "grad_avg", "beta1", 0.9)
    yield Measured("memory", "adam's average of gradients, β₁ = 0.9: sum of the weights", held.total, 1.0, 1e-9)


_MEASURES: dict[str, Callable[[int, Evidence], Iterator[Measured]]] = {
    "unbiased": _unbiased,
    "variance": _variance,
    "step-size": _step_size,
    "memory": _memory,
}
