from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torchvision.transforms.v2 import functional as oracle

from twofold.augment import colour
from twofold.augment.jitter import PROPERTIES, ColourJitter, ColourJitterParams, Grey
from twofold.errors import TwofoldError
from twofold.scratch import augment as scratch

CHANGES = ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue")


def _largest_difference(ours: torch.Tensor, expected: torch.Tensor) -> int:
    assert (ours.shape, ours.dtype) == (expected.shape, torch.uint8)
    return int((ours.int() - expected.int()).abs().max())


@given(
    st.sampled_from(CHANGES),
    st.integers(1, 4),
    st.sampled_from([1, 3]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
    st.data(),
)
def test_equals_torchvision_and_scratch_image_by_image(
    name: str, batch: int, channels: int, height: int, width: int, extreme: bool, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8)
    images = images // 128 * 255 if extreme else images
    values = st.floats(-0.5, 0.5, width=32) if name == "adjust_hue" else st.floats(0.0, 3.0, width=32)
    factors = data.draw(st.lists(values, min_size=batch, max_size=batch))
    result = getattr(colour, name)(images, torch.tensor(factors))
    for image, ours, factor in zip(images, result, factors, strict=True):
        limit = 0 if name == "adjust_brightness" else 1
        assert _largest_difference(ours, getattr(oracle, name)(image, factor)) <= limit
        assert _largest_difference(ours, getattr(scratch, name)(image, factor)) <= limit


@pytest.mark.parametrize("name", CHANGES)
def test_every_corner_of_the_colour_cube(name: str) -> None:
    steps = torch.arange(0, 256, 5, dtype=torch.uint8)
    cube = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, -1, len(steps))
    for factor in (-0.5, -1 / 3, -0.07, 0.0, 1 / 6, 0.5) if name == "adjust_hue" else (0.0, 0.3, 1.0, 2.5, 100.0):
        ours = getattr(colour, name)(cube, torch.tensor([factor]))
        assert _largest_difference(ours, getattr(oracle, name)(cube, factor)) <= 1


def test_no_change_is_exact() -> None:
    images = torch.randint(0, 256, (2, 3, 30, 30), dtype=torch.uint8)
    assert torch.equal(colour.adjust_brightness(images, torch.ones(2)), images)
    assert torch.equal(colour.adjust_contrast(images, torch.ones(2)), images)
    assert torch.equal(colour.adjust_saturation(images, torch.ones(2)), images)


def test_grey_equals_torchvision() -> None:
    images = torch.randint(0, 256, (4, 3, 9, 8), dtype=torch.uint8)
    assert torch.equal(colour.to_grey(images), oracle.rgb_to_grayscale(images, num_output_channels=3))
    assert torch.equal(colour.to_grey(images[:, :1]), images[:, :1])
    grey = Grey(probability=0.4)
    drawn = grey.draw(seed=0, epoch=0, indices=torch.arange(4))
    expected = torch.where(drawn.applied.view(-1, 1, 1, 1), colour.to_grey(images), images)
    assert torch.equal(grey.apply(images, drawn), expected)
    many = grey.draw(seed=0, epoch=0, indices=torch.arange(10_000)).applied.float().mean()
    assert abs(float(many) - 0.4) < 0.02


# Small images are changed many at a time, large ones one by one.
@pytest.mark.parametrize("size", [12, 240])
@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_equals_torchvision_in_every_order(size: int, channels: int) -> None:
    orders = list(permutations(range(4)))
    generator = torch.Generator().manual_seed(size)
    images = torch.randint(0, 256, (len(orders), channels, size, size), generator=generator, dtype=torch.uint8)
    drawn = ColourJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5)
    factors = drawn.draw(seed=1, epoch=0, indices=torch.arange(len(orders)))
    params = ColourJitterParams(torch.tensor(orders), *(getattr(factors, name) for name in PROPERTIES))
    result = drawn.apply(images, params)
    for i, order in enumerate(orders):
        expected = images[i]
        for which in order:
            expected = getattr(oracle, CHANGES[which])(expected, float(getattr(params, PROPERTIES[which])[i]))
        difference = (result[i].int() - expected.int()).abs()
        # A pixel whose value lies on the edge between two levels may be cut off differently, and the next change
        # stretches that one level by its factor: seldom, and little.
        assert int(difference.max()) <= 3
        assert float((difference > 1).float().mean()) < 1e-3


# Sums of pixels are float32 in the first, float64 in the second.
@pytest.mark.parametrize("size", [81, 300])
@pytest.mark.parametrize("amounts", [(0.9, 0.9), (0.0, 0.5), (0.5, 0.0)])
def test_grey_images_are_changed_by_tables_to_the_same_bits(size: int, amounts: tuple[float, float]) -> None:
    images = torch.randint(0, 256, (12, 1, size, size), generator=torch.Generator().manual_seed(size)).to(torch.uint8)
    images[0], images[1] = 0, 255
    jitter = ColourJitter(brightness=amounts[0], contrast=amounts[1], saturation=0.5)
    params = jitter.draw(seed=2, epoch=0, indices=torch.arange(12))
    result = jitter.apply(images, params)
    for i, order in enumerate(params.order.tolist()):
        expected = images[i : i + 1]
        for which in order:
            if which < 2 and amounts[which]:
                change = (colour.adjust_brightness, colour.adjust_contrast)[which]
                expected = change(expected, getattr(params, PROPERTIES[which])[i : i + 1])
        assert torch.equal(result[i], expected[0])


def test_jitter_leaves_alone_what_has_no_amount() -> None:
    images = torch.randint(0, 256, (5, 3, 9, 9), dtype=torch.uint8)
    only = ColourJitter(contrast=0.3)
    params = only.draw(seed=0, epoch=0, indices=torch.arange(5))
    assert torch.equal(only.apply(images, params), colour.adjust_contrast(images, params.contrast))
    assert all(len(phrases) == 1 and phrases[0].startswith("contrast ×") for phrases in only.describe(params))


def test_distribution_of_the_parameters() -> None:
    jitter = ColourJitter(brightness=0.4, contrast=1.5, saturation=0.1, hue=0.2)
    drawn = jitter.draw(seed=0, epoch=0, indices=torch.arange(24_000))
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.0, 2.5), "saturation": (0.9, 1.1), "hue": (-0.2, 0.2)}
    for name, (low, high) in ranges.items():
        assert stats.kstest(getattr(drawn, name).numpy(), stats.uniform(low, high - low).cdf).statistic < 0.015
    values = torch.stack([getattr(drawn, name) for name in ranges])
    assert (values.corrcoef() - torch.eye(4)).abs().max() < 0.03
    code = (drawn.order * torch.tensor([64, 16, 4, 1])).sum(dim=1)
    _, counts = code.unique(return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_described() -> None:
    one = torch.ones(1)
    params = ColourJitterParams(torch.tensor([[3, 0, 2, 1]]), 1.5 * one, 0.5 * one, one, -0.25 * one)
    jitter = ColourJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5)
    assert jitter.describe(params) == [["hue -90°", "brightness ×1.50", "saturation ×1.00", "contrast ×0.50"]]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match="contrast must be 0 or more, got -1"):
        ColourJitter(contrast=-1)
    with pytest.raises(TwofoldError, match=r"hue must lie in 0..0.5, parts of the colour circle, got 0.6"):
        ColourJitter(hue=0.6)
    with pytest.raises(TwofoldError, match=r"1 channel \(grey\) or 3 \(colour\), got 2"):
        colour.adjust_contrast(torch.zeros(1, 2, 3, 3, dtype=torch.uint8), torch.ones(1))
