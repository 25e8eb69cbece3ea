"""Crops that keep their overlap with some box, and zooming out: what is drawn, and what becomes of the boxes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Generator, Tensor
from torchvision.ops import box_iou

from twofold.scratch import box_augment
from twofold.scratch.box_augment import CONSTRAINTS

SIDES = st.integers(1, 40)
SIZE = (48, 64)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def painted(boxes: Tensor) -> Tensor:
    """Return a black image with each box in white."""
    image = torch.zeros(1, *SIZE, dtype=torch.uint8)
    for x1, y1, x2, y2 in boxes.int().tolist():
        image[:, y1:y2, x1:x2] = 255
    return image


def seen_box(image: Tensor) -> list[float]:
    """Return the corners of what is light in an image."""
    light = image[0].float() > (image.float().min() + image.float().max()) / 2
    rows, columns = light.any(dim=1).nonzero().flatten(), light.any(dim=0).nonzero().flatten()
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


# Crops


@given(SIDES, SIDES, st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 2**31))
def test_parts_lie_inside_the_image_and_have_an_allowed_shape(
    height: int, width: int, scale_a: float, scale_b: float, seed: int
) -> None:
    scale = min(scale_a, scale_b), max(scale_a, scale_b)
    parts = box_augment.draw_parts(height, width, scale, (0.5, 2.0), generator=seeded(seed))
    assert len(parts) <= 50
    for top, left, h, w in parts:
        assert 0 <= top < top + h <= height
        assert 0 <= left < left + w <= width
        assert 0.5 - 1e-12 <= (w / width) / (h / height) <= 2.0 + 1e-12


def test_sides_are_uniform_and_all_places_as_likely() -> None:
    parts = box_augment.draw_parts(1000, 2000, (0.3, 1.0), (0.1, 10.0), num_tries=4000, generator=seeded(0))
    assert len(parts) == 4000
    heights, widths = torch.tensor([(h / 1000, w / 2000) for _, _, h, w in parts]).T
    for shares in (heights, widths):  # the mean of 0.3..1, within four standard errors
        assert abs(float(shares.mean()) - 0.65) < 4 * 0.7 / 12**0.5 / 4000**0.5
        assert float(shares.min()) < 0.31
        assert float(shares.max()) > 0.99
    assert abs(float(torch.corrcoef(torch.stack([heights, widths]))[0, 1])) < 4 / 4000**0.5
    places = Counter(part[:2] for part in box_augment.draw_parts(4, 4, (0.5, 0.5), num_tries=9000, generator=seeded(1)))
    assert set(places) == {(top, left) for top in range(3) for left in range(3)}
    assert sum((count - 1000) ** 2 / 1000 for count in places.values()) < 26.1  # 8 degrees: once in 1000 times


def test_every_constraint_comes_first_as_often() -> None:
    generator = seeded(2)
    first = Counter(box_augment.draw_constraints(generator)[0] for _ in range(7000))
    assert set(first) == set(CONSTRAINTS)
    assert sum((count - 1000) ** 2 / 1000 for count in first.values()) < 22.5  # 6 degrees: once in 1000 times


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_a_chosen_part_keeps_the_constraint_that_it_was_chosen_for(seed: int, count: int) -> None:
    generator = seeded(seed)
    start = torch.rand(count, 2, generator=generator).double() * 40
    boxes = torch.cat([start, start + 2 + torch.rand(count, 2, generator=generator) * 18], dim=1)
    parts = box_augment.draw_parts(60, 60, generator=generator)
    whole = 0, 0, 60, 60
    for least in CONSTRAINTS[:-1]:
        top, left, height, width = chosen = box_augment.choose_part(boxes, parts, [least, None], whole)
        corners = torch.tensor([[left, top, left + width, top + height]]).double()
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((corners[:, :2] < middles) & (middles < corners[:, 2:])).all(dim=1)
        assert inside.any()
        assert chosen == whole or box_iou(boxes[inside], corners).max() >= least
        _, moved = box_augment.iou_crop(torch.zeros(1, 60, 60, dtype=torch.uint8), boxes, chosen)
        assert ((moved[:, 2:] > moved[:, :2]).all(dim=1) == inside).all(), "a box with its middle inside is kept"


@pytest.mark.parametrize("seed", range(20))
def test_a_painted_box_is_where_its_box_goes(seed: int) -> None:
    generator = seeded(seed)
    start = torch.rand(1, 2, generator=generator) * torch.tensor([40.0, 30.0])
    boxes = torch.cat([start, start + 6 + torch.rand(1, 2, generator=generator) * 12], dim=1).round()
    image = painted(boxes)
    parts = box_augment.draw_parts(*SIZE, generator=generator)
    part = box_augment.choose_part(boxes, parts, box_augment.draw_constraints(generator), (0, 0, *SIZE))
    place = box_augment.draw_zoom_out(*SIZE, sides=(1.0, 2.0), p=1.0, generator=generator)
    for result, moved in (box_augment.iou_crop(image, boxes, part), box_augment.zoom_out(image, boxes, place)):
        assert result.shape == image.shape
        assert seen_box(result) == pytest.approx(moved[0].tolist(), abs=1.01)


# Zooming out


def test_an_image_is_zoomed_out_with_its_probability_and_keeps_its_shape() -> None:
    generator = seeded(3)
    places = [box_augment.draw_zoom_out(1000, 500, p=0.3, generator=generator) for _ in range(4000)]
    stayed = [place == (0, 0, 1000, 500) for place in places]
    assert abs(sum(stayed) / 4000 - 0.7) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    factors = []
    for top, left, height, width in places:
        assert 0 <= top <= 1000 - height
        assert 0 <= left <= 500 - width
        assert abs(height / 2 - width) <= 1
        if height < 1000:
            factors.append(1000 / height)
    mean = sum(factors) / len(factors)  # uniform in 1..4
    assert abs(mean - 2.5) < 4 * 3 / 12**0.5 / len(factors) ** 0.5
    assert max(factors) <= 4.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_augment.draw_parts(0, 4), "1 px or more"),
        (lambda: box_augment.draw_parts(4, 4, (0.0, 1.0)), "scale must be two shares"),
        (lambda: box_augment.draw_parts(4, 4, ratio=(2.0, 1.0)), "ratio must be two values"),
        (lambda: box_augment.draw_parts(4, 4, (0.5, 0.6), (3.0, 4.0)), "no part with sides in scale"),
        (lambda: box_augment.draw_zoom_out(4, 4, (0.9, 2.0)), "sides must be two factors"),
        (lambda: box_augment.draw_zoom_out(4, 4, p=-0.1), "p must lie in 0..1"),
        (
            lambda: box_augment.zoom_out(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(0, 4), (0, 3, 2, 2)),
            "must lie in the image",
        ),
        (
            lambda: box_augment.iou_crop(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(0, 4), (-1, 0, 2, 2)),
            "must lie in the image",
        ),
    ],
)
def test_values_out_of_range(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
