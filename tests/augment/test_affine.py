from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torchvision.transforms.v2 import InterpolationMode, functional as oracle

from twofold.augment.affine import Affine, AffineParams
from twofold.errors import TwofoldError

NAMES = ("angle", "shift_x", "shift_y", "scale", "shear_x", "shear_y")


@given(
    st.sampled_from(["nearest", "bilinear"]),
    st.sampled_from([1, 3]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 1000),
)
def test_equals_torchvision_image_by_image(
    interpolation: str, channels: int, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(0)
    # Smooth images: where a rounding error decides which of two pixels is taken, they then differ little.
    ramp = torch.arange(height)[:, None] * 3 + torch.arange(width) * 2
    images = (ramp + torch.randint(0, 100, (4, channels, 1, 1))).to(torch.uint8)
    affine = Affine((height, width), degrees=180, shift=0.3, scale=(0.5, 2.0), shear=30, interpolation=interpolation)
    params = affine.draw(seed=seed, epoch=0, indices=torch.arange(4))
    result = affine.apply(images, params)
    for i, image in enumerate(images):
        angle, shift_x, shift_y, scale, shear_x, shear_y = (float(getattr(params, name)[i]) for name in NAMES)
        expected = oracle.affine(
            image, angle, [shift_x, shift_y], scale, [shear_x, shear_y], InterpolationMode(interpolation)
        )
        difference = (result[i].int() - expected.int()).abs()
        if interpolation == "bilinear":
            assert int(difference.max()) <= 1
        else:
            assert float((difference > 0).float().mean()) <= 0.02


def test_a_quarter_turn_moves_every_pixel() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    zero, one = torch.zeros(2), torch.ones(2)
    params = AffineParams(torch.tensor([90.0, -180.0]), zero, zero, one, zero, zero)
    for interpolation in ("nearest", "bilinear"):
        result = Affine((8, 8), interpolation=interpolation).apply(images, params)
        assert torch.equal(result[0], images[0].rot90(-1, (1, 2)))
        assert torch.equal(result[1], images[1].rot90(2, (1, 2)))


def test_a_shift_leaves_black_behind() -> None:
    images = torch.full((1, 1, 4, 5), 200, dtype=torch.uint8)
    zero, one = torch.zeros(1), torch.ones(1)
    result = Affine((4, 5)).apply(images, AffineParams(zero, one * 2, -one, one, zero, zero))
    expected = torch.zeros(1, 1, 4, 5, dtype=torch.uint8)
    expected[..., :3, 2:] = 200
    assert torch.equal(result, expected)


def test_distribution_of_the_parameters() -> None:
    affine = Affine((200, 100), degrees=30, shift=0.1, scale=(0.8, 1.2), shear=10)
    drawn = affine.draw(seed=0, epoch=0, indices=torch.arange(20_000))
    ranges = {"angle": (-30, 30), "scale": (0.8, 1.2), "shear_x": (-10, 10), "shear_y": (-10, 10)}
    for name, (low, high) in ranges.items():
        assert stats.kstest(getattr(drawn, name).numpy(), stats.uniform(low, high - low).cdf).statistic < 0.015
    assert drawn.shift_x.unique().tolist() == list(range(-10, 11))
    assert drawn.shift_y.unique().tolist() == list(range(-20, 21))
    assert (torch.stack([getattr(drawn, name) for name in NAMES]).corrcoef() - torch.eye(6)).abs().max() < 0.03


def test_described() -> None:
    one = torch.ones(1)
    params = AffineParams(10 * one, 3 * one, -2 * one, 0.5 * one, 4 * one, -5 * one)
    affine = Affine((9, 9), degrees=10, shift=0.5, scale=(0.5, 1.0), shear=5)
    assert affine.describe(params) == [["rotated +10°", "moved +3, -2 px", "size ×0.50", "sheared +4°, -5°"]]
    assert Affine((9, 9), degrees=10).describe(params) == [["rotated +10°"]]


def test_wrong_values_are_refused() -> None:
    for settings, message in (
        ({"degrees": 181}, r"degrees must lie in 0..180, got 181"),
        ({"shift": 1.1}, r"shift must lie in 0..1"),
        ({"shear": 90}, r"shear must lie in 0..90 degrees"),
        ({"scale": (0.0, 1.0)}, r"scale must be two numbers above 0"),
        ({"interpolation": "bilinaer"}, "did you mean bilinear"),
    ):
        with pytest.raises(TwofoldError, match=message):
            Affine((9, 9), **settings)
