from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torchvision.transforms.v2 import functional as oracle

from twofold.augment.blur import GaussianBlur, gaussian_blur
from twofold.errors import TwofoldError


@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.data())
def test_equals_torchvision_image_by_image(
    batch: int, channels: int, half: int, more_rows: int, more_columns: int, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, half + more_rows, half + more_columns), dtype=torch.uint8)
    sigma = data.draw(st.lists(st.floats(0.125, 5.0, width=32), min_size=batch, max_size=batch))
    result = gaussian_blur(images, torch.tensor(sigma), kernel_size=2 * half + 1)
    for image, ours, width in zip(images, result, sigma, strict=True):
        expected = oracle.gaussian_blur(image, [2 * half + 1] * 2, [width] * 2)
        assert (ours.int() - expected.int()).abs().max() <= 1


def test_distribution_and_description() -> None:
    blur = GaussianBlur(5, sigma=(0.5, 2.0))
    drawn = blur.draw(seed=0, epoch=0, indices=torch.arange(20_000))
    assert stats.kstest(drawn.sigma.numpy(), stats.uniform(0.5, 1.5).cdf).statistic < 0.015
    assert blur.describe(drawn)[0] == [f"blur σ {float(drawn.sigma[0]):.1f}"]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match="kernel_size must be odd and 1 or more, got 4"):
        GaussianBlur(4)
    with pytest.raises(TwofoldError, match="sigma must be two numbers above 0"):
        GaussianBlur(5, sigma=(0.0, 1.0))
    with pytest.raises(TwofoldError, match=r"kernel_size 5 needs images of 3 px and more, got \(9, 2\)"):
        gaussian_blur(torch.zeros(1, 1, 9, 2, dtype=torch.uint8), torch.ones(1), kernel_size=5)
