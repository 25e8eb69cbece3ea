from __future__ import annotations

import colorsys
import itertools
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Generator, Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from twofold.scratch import augment

SIDES = st.integers(1, 40)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(seed))


def distance_from_uniform(values: list[float], low: float, high: float) -> float:
    """Return Kolmogorov and Smirnov's statistic times √n: above 1.95 once in 1000 times for uniform numbers."""
    numbers = (torch.tensor(values, dtype=torch.float64).sort().values - low) / (high - low)
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    return float(torch.maximum(steps[1:] - numbers, numbers - steps[:-1]).max()) * math.sqrt(len(values))


def chi_square(counts: list[int]) -> float:
    """Return how far equally likely counts are from equal."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


# Drawing


def test_flip_is_drawn_with_its_probability() -> None:
    generator = seeded(0)
    flipped = sum(augment.draw_flip(0.3, generator) for _ in range(10_000))
    assert abs(flipped / 10_000 - 0.3) < 3.3 * math.sqrt(0.3 * 0.7 / 10_000)


@given(SIDES, SIDES, st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 100), st.floats(0.01, 100), st.integers(0))
def test_crop_lies_inside_the_image(
    height: int, width: int, scale_a: float, scale_b: float, ratio_a: float, ratio_b: float, seed: int
) -> None:
    scale, ratio = sorted((scale_a, scale_b)), sorted((ratio_a, ratio_b))
    top, left, h, w = augment.draw_resized_crop(
        height, width, (scale[0], scale[1]), (ratio[0], ratio[1]), seeded(seed % 2**63)
    )
    assert 0 <= top < top + h <= height
    assert 0 <= left < left + w <= width


def test_area_and_log_ratio_of_a_crop_are_uniform() -> None:
    # Small enough that all fit, in an image so large that rounding to pixels does not count.
    generator, side = seeded(1), 10_000
    crops = [augment.draw_resized_crop(side, side, (0.1, 0.5), (0.6, 1.6), generator) for _ in range(4000)]
    areas, ratios = [h * w / side**2 for _, _, h, w in crops], [w / h for _, _, h, w in crops]
    assert min(areas) > 0.1 - 1e-3
    assert max(areas) < 0.5 + 1e-3
    assert min(ratios) > 0.6 - 1e-3
    assert max(ratios) < 1.6 + 1e-3
    assert distance_from_uniform(areas, 0.1, 0.5) < 1.95
    assert distance_from_uniform([math.log(ratio) for ratio in ratios], math.log(0.6), math.log(1.6)) < 1.95


def test_all_places_of_a_crop_are_as_likely() -> None:
    generator = seeded(2)
    crops = [augment.draw_resized_crop(8, 7, (25 / 56, 25 / 56), (1.0, 1.0), generator) for _ in range(6000)]
    assert {(h, w) for _, _, h, w in crops} == {(5, 5)}
    places = Counter((top, left) for top, left, _, _ in crops)
    assert set(places) == set(itertools.product(range(4), range(3)))
    assert chi_square(list(places.values())) < 31.3  # 11 degrees of freedom: above once in 1000 times


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (100, 10, (3.0, 4.0), (48, 0, 3, 10)),  # too high: all of the width
        (10, 100, (0.25, 0.5), (0, 47, 10, 5)),  # too wide: all of the height
        (300, 300, (0.5, 2.0), (0, 0, 300, 300)),  # of an allowed ratio: all of it
        (1, 9, (0.01, 0.02), (0, 4, 1, 1)),  # less than a pixel wide: one pixel
    ],
)
def test_crop_that_never_fits_is_cut_from_the_middle(
    height: int, width: int, ratio: tuple[float, float], expected: tuple[int, int, int, int]
) -> None:
    for seed in range(20):
        drawn = augment.draw_resized_crop(height, width, (1.0, 1.0), ratio, seeded(seed))
        assert drawn == expected


@pytest.mark.parametrize(("height", "width"), [(224, 224), (375, 500), (640, 120), (5, 90)])
def test_crops_are_those_of_torchvision(height: int, width: int) -> None:
    scale, ratio = (0.08, 1.0), (3 / 4, 4 / 3)
    oracle = v2.RandomResizedCrop((9, 9), scale=scale, ratio=ratio)
    for seed in range(100):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = oracle.make_params([torch.zeros(3, height, width)])
        drawn = augment.draw_resized_crop(height, width, scale, ratio, seeded(seed))
        assert drawn == tuple(expected[name] for name in ("top", "left", "height", "width"))


def test_jitter_is_uniform_in_its_ranges_and_orders() -> None:
    generator = seeded(3)
    drawn = [augment.draw_jitter(0.4, 1.5, 0.2, 0.1, generator) for _ in range(4800)]
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.0, 2.5), "saturation": (0.8, 1.2), "hue": (-0.1, 0.1)}
    for name, (low, high) in ranges.items():
        factors = [getattr(jitter, name) for jitter in drawn]
        assert min(factors) > low - 1e-6
        assert max(factors) < high + 1e-6
        assert distance_from_uniform(factors, low, high) < 1.95
    orders = Counter(jitter.order for jitter in drawn)
    assert set(orders) == set(itertools.permutations(ranges))
    assert chi_square(list(orders.values())) < 49.7  # 23 degrees of freedom: above once in 1000 times


def test_draws_depend_on_the_seed_alone() -> None:
    def draw(seed: int) -> list[object]:
        generator = seeded(seed)
        return [
            *[augment.draw_flip(0.5, generator) for _ in range(30)],
            augment.draw_resized_crop(300, 200, generator=generator),
            augment.draw_jitter(0.4, 0.4, 0.4, 0.1, generator),
        ]

    with torch.random.fork_rng(devices=[]):
        first = draw(7)
        torch.rand(5)
        assert draw(7) == first
    assert all(a != b for a, b in zip(draw(8)[30:], first[30:], strict=True))
    assert draw(8)[:30] != first[:30]


# What was drawn, applied


def test_jitter_of_torchvision_gives_the_same_pixels() -> None:
    names = ("brightness", "contrast", "saturation", "hue")
    oracle = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    image = noise(3, 40, 30)
    differing = 0.0
    for seed in range(30):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            params = oracle.make_params([image])
        jitter = augment.draw_jitter(0.4, 0.4, 0.4, 0.1, seeded(seed))
        assert jitter.order == tuple(names[i] for i in params["fn_idx"].tolist())
        assert [getattr(jitter, name) for name in names] == [params[f"{name}_factor"] for name in names]
        gap = (augment.color_jitter(image, jitter).int() - oracle.transform(image, params).int()).abs()
        # A pixel that one step leaves a level apart can be moved on by the next.
        assert gap.max() <= 3
        differing += float((gap > 0).double().mean()) / 30
    assert differing < 1e-3


def test_crop_of_torchvision_gives_the_same_pixels() -> None:
    oracle = v2.RandomResizedCrop((24, 32))
    image = noise(3, 90, 70)
    for seed in range(30):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = oracle(image)
        drawn = augment.draw_resized_crop(90, 70, generator=seeded(seed))
        ours = augment.resized_crop(image, *drawn, size=(24, 32))
        assert (ours.int() - expected.int()).abs().max() <= 1


def test_order_of_a_jitter_matters() -> None:
    image = noise(3, 8, 8)
    first = augment.Jitter(("brightness", "contrast", "saturation", "hue"), 1.8, 0.3, 1.0, 0.0)
    second = augment.Jitter(("contrast", "brightness", "saturation", "hue"), 1.8, 0.3, 1.0, 0.0)
    by_hand = augment.adjust_brightness(augment.adjust_contrast(image, 0.3), 1.8)
    assert torch.equal(augment.color_jitter(image, second), by_hand)
    assert not torch.equal(augment.color_jitter(image, first), by_hand)


# Resizing


@given(st.integers(1, 60), st.integers(1, 60))
def test_rows_of_the_resize_matrix_are_means(size: int, out_size: int) -> None:
    weights = augment.resize_matrix(size, out_size)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(out_size))
    torch.testing.assert_close(weights.flip(0, 1), weights)  # left and right are treated alike
    if size == out_size:
        assert torch.equal(weights, torch.eye(size))


def test_a_new_pixel_has_its_centre_of_mass_where_it_lies() -> None:
    for size, out_size in ((100, 40), (40, 100), (97, 31)):
        weights = augment.resize_matrix(size, out_size)
        places = weights @ (torch.arange(size) + 0.5)
        expected = (torch.arange(out_size) + 0.5) * size / out_size
        inside = slice(4, -4)  # at the edge the triangle is cut
        torch.testing.assert_close(places[inside], expected[inside], atol=0.02 * size / out_size, rtol=0)


@pytest.mark.parametrize("size", [(40, 50), (13, 9), (128, 200)])
def test_resize_rounds_to_the_nearest_pixel(size: tuple[int, int]) -> None:
    image = noise(3, 64, 80)
    exact = functional.resize(image.double(), list(size))
    assert (augment.resize(image, size).double() - exact).abs().max() < 0.5 + 1e-3


def test_fine_stripes_turn_grey_when_shrunk() -> None:
    stripes = (torch.arange(90) % 2 * 255).to(torch.uint8).expand(1, 90, 90)
    shrunk = augment.resize(stripes, (30, 30))[:, :, 2:-2].float()
    assert (shrunk - 127.5).abs().max() < 15  # every third column alone would give black and white


# Colours


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_hue_saturation_value_are_those_of_colorsys(red: int, green: int, blue: int) -> None:
    rgb = torch.tensor([red, green, blue], dtype=torch.float64).view(3, 1, 1) / 255
    hsv = augment.rgb_to_hsv(rgb)
    expected = torch.tensor(colorsys.rgb_to_hsv(*rgb.flatten().tolist()), dtype=torch.float64)
    torch.testing.assert_close(hsv.flatten(), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(augment.hsv_to_rgb(hsv), rgb, atol=1e-12, rtol=0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_red_green_blue_are_those_of_colorsys(hue: float, saturation: float, value: float) -> None:
    hsv = torch.tensor([hue, saturation, value], dtype=torch.float64)
    expected = torch.tensor(colorsys.hsv_to_rgb(hue, saturation, value), dtype=torch.float64)
    torch.testing.assert_close(augment.hsv_to_rgb(hsv.view(3, 1, 1)).flatten(), expected, atol=1e-12, rtol=0)


def test_half_a_turn_either_way_is_the_same() -> None:
    image = noise(3, 30, 30)
    there, back = augment.adjust_hue(image, 0.5), augment.adjust_hue(image, -0.5)
    assert (there.int() - back.int()).abs().max() <= 1
    assert (augment.adjust_hue(there, 0.5).int() - image.int()).abs().max() <= 2
    assert not torch.equal(there, image)


def test_contrast_and_saturation_keep_the_mean_grey() -> None:
    image = noise(3, 60, 60) // 2 + 64  # far enough from black and white that nothing is clamped
    for changed in (augment.adjust_contrast(image, 1.4), augment.adjust_saturation(image, 1.3)):
        grays = [augment.rgb_to_grayscale(x).float().mean() for x in (image, changed)]
        assert abs(grays[0] - grays[1]) < 1  # the fraction is cut off: up to one level
        assert not torch.equal(changed, image)


# All of them


@given(st.sampled_from([1, 3]), SIDES, SIDES, st.integers(0, 2**31))
def test_flips_undo_themselves_and_meet_in_half_a_turn(channels: int, height: int, width: int, seed: int) -> None:
    image = noise(channels, height, width, seed=seed)
    for flip in (augment.horizontal_flip, augment.vertical_flip):
        assert torch.equal(flip(flip(image)), image)
    both = augment.vertical_flip(augment.horizontal_flip(image))
    assert torch.equal(both, torch.rot90(image, 2, (1, 2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_that_was_given_stays_as_it_is(channels: int) -> None:
    image = noise(channels, 9, 7)
    before = image.clone()
    for change in (
        augment.horizontal_flip,
        augment.vertical_flip,
        lambda x: augment.crop(x, 1, 1, 5, 5).fill_(0),
        lambda x: augment.resize(x, (4, 4)),
        augment.rgb_to_grayscale,
        lambda x: augment.adjust_brightness(x, 0.5),
        lambda x: augment.adjust_contrast(x, 0.5),
        lambda x: augment.adjust_saturation(x, 0.5),
        lambda x: augment.adjust_hue(x, 0.2),
        lambda x: augment.normalize(augment.to_float(x), [0.5] * channels, [0.5] * channels),
    ):
        change(image)
        assert torch.equal(image, before)


def test_normalize_by_the_images_own_statistics_gives_mean_0_and_variance_1() -> None:
    x = augment.to_float(noise(3, 50, 50))
    mean, std = x.mean(dim=(1, 2)), x.std(dim=(1, 2), correction=0)
    y = augment.normalize(x, mean.tolist(), std.tolist())
    torch.testing.assert_close(y.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(dim=(1, 2), correction=0), torch.ones(3))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: augment.crop(x, 0, 0, 0, 3), "height and width must be 1 px or more, got 0 and 3"),
        (lambda x: augment.resize(x, (3, 0)), "got 4 to 0"),
        (lambda x: augment.rgb_to_grayscale(x, 2), "num_output_channels must be 1 or 3, got 2"),
        (lambda x: augment.adjust_brightness(x, -0.5), "brightness_factor must be 0 or more, got -0.5"),
        (lambda x: augment.adjust_contrast(x, math.nan), "contrast_factor must be 0 or more, got nan"),
        (lambda x: augment.adjust_saturation(x, math.inf), "saturation_factor must be 0 or more, got inf"),
        (lambda x: augment.adjust_hue(x, 0.6), "hue_factor must lie in -0.5..0.5.*got 0.6"),
        (lambda x: augment.normalize(x.float(), [0.5], [0.5]), "need 3 values, one a channel, got 1 and 1"),
        (lambda x: augment.normalize(x.float(), [0.5] * 3, [0.5, -1.0, 0.5]), "std must be above 0, got"),
        (lambda x: augment.draw_flip(1.5), "p must lie in 0..1, got 1.5"),
        (lambda x: augment.draw_resized_crop(0, 4), "height and width must be 1 px or more, got 0 and 4"),
        (lambda x: augment.draw_resized_crop(4, 4, scale=(0.5, 0.2)), "scale must be .* got .0.5, 0.2."),
        (lambda x: augment.draw_resized_crop(4, 4, scale=(0.5, 2.0)), "scale must be .* got .0.5, 2.0."),
        (lambda x: augment.draw_resized_crop(4, 4, ratio=(0.0, 2.0)), "ratio must be .* got .0.0, 2.0."),
        (lambda x: augment.draw_jitter(contrast=-1.0), "contrast must be 0 or more, got -1.0"),
        (lambda x: augment.draw_jitter(hue=0.7), "hue must lie in 0..0.5.*got 0.7"),
    ],
)
def test_errors_name_the_argument_and_its_value(call: Callable[[Tensor], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call(torch.zeros(3, 4, 4, dtype=torch.uint8))
