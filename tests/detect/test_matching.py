"""Matching of whole batches: D2L's way as the readable form has it, torchvision's as its matcher does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from twofold.detect.matching import match
from twofold.scratch import boxes

# Corners on a coarse grid, so that ties and boxes without area are common.
corner = st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 4), st.integers(0, 4))


def to_boxes(values: list[tuple[int, int, int, int]]) -> Tensor:
    return torch.tensor([(x, y, x + w, y + h) for x, y, w, h in values], dtype=torch.float32).reshape(-1, 4)


batches = st.integers(0, 5).flatmap(
    lambda most: st.lists(
        st.lists(st.tuples(corner, st.booleans()), min_size=most, max_size=most), min_size=1, max_size=3
    )
)
some_anchors = st.lists(corner, min_size=1, max_size=20)


@given(some_anchors, batches, st.sampled_from([0.1, 0.5, 0.9]))
def test_d2l_s_way_is_that_of_the_readable_form(anchors: list, batch: list, threshold: float) -> None:
    own = to_boxes(anchors)
    truth = torch.stack([to_boxes([box for box, _ in image]) for image in batch])
    there = torch.tensor([[kept for _, kept in image] for image in batch]).reshape(len(batch), -1).bool()
    found = match(own, truth, there, threshold=threshold)
    for image, kept in enumerate(there):
        expected = boxes.match(own, truth[image, kept], threshold)
        numbers = torch.nonzero(kept).flatten()
        assert found[image].tolist() == [int(numbers[which]) if which >= 0 else -1 for which in expected.tolist()]


@given(some_anchors, st.lists(corner, min_size=1, max_size=5))
def test_torchvision_s_way_is_that_of_its_matcher(anchors: list, truth: list) -> None:
    own = to_boxes([(x, y, w + 1, h + 1) for x, y, w, h in anchors])
    true = to_boxes([(x, y, w + 1, h + 1) for x, y, w, h in truth])
    expected = SSDMatcher(0.5)(box_iou(true, own))
    found = match(own, true[None], torch.ones(1, len(true), dtype=torch.bool), way="torchvision")
    assert found[0].tolist() == expected.clamp(min=-1).tolist()


@pytest.mark.parametrize("way", ["d2l", "torchvision"])
def test_without_boxes_all_is_background(way) -> None:
    own = to_boxes([(0, 0, 2, 2), (1, 1, 2, 2)])
    assert match(own, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), way=way).eq(-1).all()
    padding = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    assert match(own, *padding, way=way).eq(-1).all()


def test_in_d2l_s_way_every_box_has_an_anchor() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(8, 6, 2, generator=generator)
    truth = torch.cat([start, start + 0.01 + 0.3 * torch.rand(8, 6, 2, generator=generator)], dim=2)
    anchors = boxes.multiscale_anchors([(8, 8), (4, 4)], [[0.2], [0.4]], [[1.0, 2.0]] * 2)
    matched = match(anchors, truth, torch.ones(8, 6, dtype=torch.bool))
    assert [set(own.tolist()) - {-1} for own in matched] == [set(range(6))] * 8
