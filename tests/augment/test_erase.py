from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torchvision.transforms.v2 import functional as oracle

from twofold.augment.erase import Cutout, EraseParams, RandomErasing, erase
from twofold.errors import TwofoldError

NAMES = ("top", "left", "height", "width")


@given(st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12), st.data())
def test_equals_torchvision_image_by_image(channels: int, height: int, width: int, data: st.DataObject) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, channels, height, width), dtype=torch.uint8)
    rows = []
    for _ in images:
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        rows.append((data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w)), h, w))
    params = EraseParams(*(torch.tensor(column) for column in zip(*rows, strict=True)))
    result = erase(images, params, fill=77)
    for image, ours, (top, left, h, w) in zip(images, result, rows, strict=True):
        paint = torch.full((channels, h, w), 77, dtype=torch.uint8)
        assert torch.equal(ours, oracle.erase(image, top, left, h, w, paint))


def test_a_rectangle_over_the_edge_is_cut_off() -> None:
    images = torch.full((2, 1, 4, 4), 9, dtype=torch.uint8)
    params = EraseParams(torch.tensor([-1, 3]), torch.tensor([-2, 2]), torch.tensor([3, 0]), torch.tensor([3, 5]))
    result = erase(images, params)
    expected = images.clone()
    expected[0, :, :2, :1] = 0
    assert torch.equal(result, expected)


def test_distribution_of_random_erasing() -> None:
    erasing = RandomErasing((1000, 1000), probability=0.6, scale=(0.1, 0.3), ratio=(0.5, 2.0))
    drawn = erasing.draw(seed=0, epoch=0, indices=torch.arange(20_000))
    applied = drawn.height > 0
    assert abs(float(applied.float().mean()) - 0.6) < 0.015
    top, left, height, width = (getattr(drawn, name)[applied].double() for name in NAMES)
    assert float((top + height).max()) <= 1000
    assert float((left + width).max()) <= 1000
    assert stats.kstest((height * width / 1e6).numpy(), stats.uniform(0.1, 0.2).cdf).statistic < 0.02
    low, high = torch.tensor([0.5, 2.0], dtype=torch.float64).log().tolist()
    assert stats.kstest((height / width).log().numpy(), stats.uniform(low, high - low).cdf).statistic < 0.02
    assert stats.kstest((top / (1000 - height)).numpy(), stats.uniform(0, 1).cdf).statistic < 0.02
    assert stats.kstest((left / (1000 - width)).numpy(), stats.uniform(0, 1).cdf).statistic < 0.02


def test_one_pixel_is_left_as_it_is() -> None:
    drawn = RandomErasing((1, 1), probability=1.0).draw(seed=0, epoch=0, indices=torch.arange(50))
    images = torch.full((50, 3, 1, 1), 200, dtype=torch.uint8)
    assert torch.equal(RandomErasing((1, 1)).apply(images, drawn), images)


def test_distribution_of_cutout() -> None:
    cutout = Cutout((10, 8), side=5, probability=0.5)
    drawn = cutout.draw(seed=0, epoch=0, indices=torch.arange(20_000))
    applied = drawn.height > 0
    assert abs(float(applied.float().mean()) - 0.5) < 0.015
    assert drawn.height[applied].unique().tolist() == [5]
    for start, length in ((drawn.top, 10), (drawn.left, 8)):
        counts = torch.bincount(start + 2, minlength=length)
        assert len(counts) == length
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_described() -> None:
    params = EraseParams(torch.tensor([1, 1]), torch.tensor([2, 2]), torch.tensor([3, 0]), torch.tensor([4, 4]))
    assert Cutout((9, 9), side=3).describe(params) == [["erased 4×3 px at 2, 1"], []]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"fill must lie in 0..255, got 256"):
        RandomErasing((9, 9), fill=256)
    with pytest.raises(TwofoldError, match="side must be 1 px or more, got 0"):
        Cutout((9, 9), side=0)
    with pytest.raises(TwofoldError, match="scale must be two numbers"):
        RandomErasing((9, 9), scale=(0.3, 0.2))
