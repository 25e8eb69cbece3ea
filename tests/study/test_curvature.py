"""Curvature over training, and the claims: that they measure what training does, and repeat bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from twofold.errors import TwofoldError
from twofold.study import claims
from twofold.study.claim_names import CLAIMS
from twofold.study.curvature import CurvatureSettings, measure, watch_curvature

SMALL = {"model": "lenet-bn", "model_options": {"width": 0.125}, "num_images": 32}

pytestmark = pytest.mark.usefixtures("data_decompressed_once")


def test_points_are_where_they_were_asked_for_and_repeat() -> None:
    settings = CurvatureSettings(**SMALL, steps=5, every=2)
    state = torch.random.get_rng_state()
    first = list(watch_curvature(settings, show=False))
    assert [point.step for point in first] == settings.measured_steps == [0, 2, 4, 5]
    assert first == list(watch_curvature(settings, show=False))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first[-1].loss < first[0].loss
    for point in first:
        assert point.extremes.smallest < 0 < point.extremes.largest
        assert 0 <= point.accuracy <= 1
    # Measuring leaves training alone: measured more rarely, the last point is the same.
    assert list(watch_curvature(CurvatureSettings(**SMALL, steps=5, every=5), show=False))[-1] == first[-1]


def test_minibatches_and_momentum_train_differently() -> None:
    whole, parts, rolling = (
        list(watch_curvature(CurvatureSettings(**SMALL, steps=3, every=3, **more), show=False))
        for more in ({}, {"batch_size": 16}, {"momentum": 0.9})
    )
    assert whole[0] == parts[0] == rolling[0]
    assert len({run[-1].loss for run in (whole, parts, rolling)}) == 3
    assert CurvatureSettings(**SMALL, lr=0.1).edge == pytest.approx(20)
    assert CurvatureSettings(**SMALL, lr=0.1, momentum=0.9).edge == pytest.approx(38)


def test_loss_is_the_one_that_training_descends() -> None:
    """Full-batch descent at a tiny step lowers the measured loss by η|g|², g the gradient in training mode."""
    lr = 1e-4
    before, after = watch_curvature(CurvatureSettings(**SMALL, lr=lr, steps=1, every=1), show=False)
    drop = (before.loss - after.loss) / lr
    later = list(watch_curvature(CurvatureSettings(**SMALL, lr=2 * lr, steps=1, every=1), show=False))[-1]
    assert drop > 0.1
    assert (before.loss - later.loss) / (2 * lr) == pytest.approx(drop, rel=0.05)


def test_divergence_ends_the_watch() -> None:
    """At an absurd learning rate the logits overflow."""
    points = list(watch_curvature(CurvatureSettings(**SMALL, lr=1e36, steps=40, every=1), show=False))
    assert 1 <= len(points) < 41
    assert all(math.isfinite(point.loss) for point in points)


def test_evaluation_mode_uses_running_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3))
    inputs, labels = 3 + torch.randn(16, 1, 2, 2), torch.arange(16) % 3
    frozen, batch = (measure(model, inputs, labels, step=0, batch_statistics=mode) for mode in (False, True))
    expected = nn.functional.cross_entropy(model.eval()(inputs), labels).detach()
    assert frozen.loss == pytest.approx(float(expected), rel=1e-6)
    assert abs(batch.loss - frozen.loss) > 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_images": 0}, "num_images must be 1 or more, got 0"),
        ({"every": 0}, "every must be 1 or more, got 0"),
        ({"batch_size": 33}, "batch_size must be 1 to num_images=32, got 33"),
        ({"lr": 0.0}, "lr"),
        ({"momentum": 1.0}, "momentum"),
        ({"model": "lenet-nb"}, "did you mean lenet-bn"),
        ({"data": "fashion-minni"}, "fashion-mini"),
    ],
)
def test_wrong_settings_are_one_line(change: dict, words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        CurvatureSettings(**{**SMALL, **change})


def test_too_few_images_and_batches_of_one() -> None:
    for change, words in (
        ({"num_images": 10001}, "at most the .* training images of fashion-mini, got 10001"),
        ({"batch_size": 1}, "2 or more, got 1"),
    ):
        with pytest.raises(TwofoldError, match=words):
            next(watch_curvature(CurvatureSettings(**{**SMALL, **change}), show=False))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims on fewer images and batches."""
    for name, value in {
        "BATCH_SIZES": (1, 4, 16),
        "_BATCH": 8,
        "_DRAWS": 24,
        "_PRECISION": 1e-2,
        "_STEPS": 150,
    }.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr(claims.gradient_source, "__kwdefaults__", {"seed": 0, "num_images": 32})
    monkeypatch.setattr(claims, "NUM_IMAGES", 32)


def test_every_claim_holds(quick: None) -> None:
    evidence = claims.Evidence()
    measured = list(claims.measure_claims(evidence=evidence))
    assert {found.claim for found in measured} == set(CLAIMS)
    assert [found.what for found in measured if not found.holds] == []
    assert all(found.at_least or found.tolerance < 5 for found in measured)
    assert [one.batch_size for one in evidence.with_replacement] == [1, 4, 16]
    assert len(evidence.bounds) == 4
    assert [decay for decay, _ in evidence.memories] == list(claims.DECAYS)


def test_a_wrong_theory_does_not_hold(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "stable_lr", lambda largest, momentum, nesterov: 2 / largest)
    assert [found.holds for found in claims.measure_claims(["step-size"])] == [True, False, False, False]
    monkeypatch.setattr(claims, "expected_variance", lambda one, size, num, replacement: one / size**0.7)
    assert [found.holds for found in claims.measure_claims(["variance"])] == [True, False, False, False]


def test_unknown_claims_get_the_nearest_name() -> None:
    with pytest.raises(TwofoldError, match="did you mean memory"):
        next(claims.measure_claims(["memori"]))
