"""Anchors: D2L's as the readable form has them, SSD's as torchvision does; shapes spelled out and fitted to boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from detectors import detector_spec
from twofold.detect.anchors import AnchorMap, grid_anchors
from twofold.detect.network import map_shapes
from twofold.detect.shapes import d2l_shapes, parse_shapes, shapes_in_words, ssd_scales, ssd_shapes
from twofold.detect.suggest import anchor_fit, fitted_shapes
from twofold.errors import TwofoldError
from twofold.scratch import boxes

sides = st.floats(0.05, 1.0)


@given(st.integers(1, 6), st.integers(1, 6), st.lists(sides, min_size=1, max_size=3), st.lists(sides, min_size=1))
def test_d2l_s_are_those_of_the_readable_form(height: int, width: int, sizes: list[float], ratios: list[float]) -> None:
    expected = boxes.anchors(height, width, sizes, ratios)
    found = grid_anchors([AnchorMap((height, width), d2l_shapes(sizes, ratios))])
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_book_s_detector_has_5444_anchors() -> None:
    maps = [AnchorMap((side, side), d2l_shapes([0.2, 0.27], [1.0, 2.0, 0.5])) for side in (32, 16, 8, 4, 1)]
    assert len(grid_anchors(maps)) == 5444


def test_ssd_s_are_those_of_torchvision() -> None:
    scales, sizes, steps = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], [38, 19, 10, 5, 3, 1], [8, 16, 32, 64, 100, 300]
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    theirs = DefaultBoxGenerator(ratios, scales=scales, steps=steps)
    image, maps = torch.zeros(1, 3, 300, 300), [torch.zeros(1, 1, side, side) for side in sizes]
    expected = theirs(ImageList(image, [(300, 300)]), maps)[0] / 300
    found = grid_anchors(
        [
            AnchorMap((side, side), ssd_shapes(scales[k], scales[k + 1], ratios[k]), (steps[k] / 300, steps[k] / 300))
            for k, side in enumerate(sizes)
        ],
        clip=True,
    )
    assert len(found) == 8732
    assert torch.allclose(found, expected, atol=1e-6)


def test_scales_go_in_even_steps() -> None:
    assert ssd_scales(4) == [0.15, 0.4, 0.65, 0.9, 1.0]
    assert ssd_scales(1) == [0.15, 1.0]


def test_a_square_is_one_in_pixels_of_an_image_that_is_none() -> None:
    ((w, h), *_), *_ = map_shapes("ssd", 2, (100, 400))
    assert w * 400 == pytest.approx(h * 100)


shapes = st.lists(st.lists(st.tuples(sides, sides), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4)


@given(shapes)
def test_what_is_spelled_is_read_back(given_shapes: list) -> None:
    read = parse_shapes(shapes_in_words(given_shapes))
    assert [len(own) for own in read] == [len(own) for own in given_shapes]
    for own, other in zip(read, given_shapes, strict=True):
        assert own == pytest.approx([pytest.approx(shape, rel=1e-3) for shape in other])


@pytest.mark.parametrize("text", ["", "0.1", "0.1x", "0.1x0.2|", "axb", "0x1", "3x1", "nanx1", "1e999x1", "-1x1"])
def test_shapes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(TwofoldError, match="must be shapes in parts of the image"):
        parse_shapes(text)


def test_shapes_for_another_number_of_maps_are_refused() -> None:
    with pytest.raises(TwofoldError, match="are for 2 feature maps, and the network has 4"):
        map_shapes("0.1x0.1|0.2x0.2", 4, (128, 128))


def test_fitted_shapes_find_the_shapes_that_boxes_have() -> None:
    wanted = [(0.1, 0.2), (0.3, 0.1), (0.4, 0.4), (0.9, 0.5)]
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor(wanted).repeat(50, 1) * (1 + 0.02 * torch.randn(200, 2, generator=generator))
    corners = torch.cat([torch.zeros(200, 2), sizes], dim=1)
    found = fitted_shapes(corners, [2, 1, 1])
    assert [len(own) for own in found] == [2, 1, 1]
    flat = [shape for own in found for shape in own]
    assert sorted(flat) == pytest.approx([pytest.approx(shape, rel=0.05) for shape in sorted(wanted)])


def test_boxes_that_no_anchor_fits_are_counted_and_shapes_that_fit_are_named() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.rand(300, 1, 2, generator=generator) * torch.tensor([20.0, 60.0])
    thin = torch.cat([start, start + torch.tensor([40.0, 4.0])], dim=2)
    fit = anchor_fit((thin, torch.zeros(300, 1, dtype=torch.int64)), detector_spec())
    assert fit.recall < 0.2
    assert fit.suggested_recall > fit.recall + 0.3
    better = anchor_fit(
        (thin, torch.zeros(300, 1, dtype=torch.int64)), detector_spec(architecture_options={"anchors": fit.suggested})
    )
    assert better.recall == pytest.approx(fit.suggested_recall)
    assert fit.suggested in fit.in_words()


def test_without_boxes_nothing_fits_and_nothing_is_suggested() -> None:
    fit = anchor_fit((torch.zeros(3, 2, 4), torch.full((3, 2), -1)), detector_spec())
    assert (fit.recall, fit.suggested) == (0.0, "")
