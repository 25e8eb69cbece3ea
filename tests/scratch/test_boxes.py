from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from twofold.scratch import boxes


def corners(most: int, least: int = 0, smallest_side: int = 0) -> st.SearchStrategy[Tensor]:
    """Return boxes on a grid of quarters, so that sums, halves and overlaps have no rounding error."""
    place, side = st.integers(-20, 20), st.integers(smallest_side, 20)
    box = st.tuples(place, place, side, side).map(lambda b: [b[0] / 4, b[1] / 4, (b[0] + b[2]) / 4, (b[1] + b[3]) / 4])
    lists = st.lists(box, min_size=least, max_size=most)
    return lists.map(lambda rows: torch.tensor(rows, dtype=torch.float64).reshape(-1, 4))


# Two forms


@given(corners(6))
def test_forms_of_a_box_are_exact_inverses(some: Tensor) -> None:
    assert torch.equal(boxes.center_to_corner(boxes.corner_to_center(some)), some)
    assert torch.equal(boxes.corner_to_center(boxes.center_to_corner(some)), some)  # any four numbers are a centre form


@given(corners(5), corners(5), st.integers(-8, 8))
def test_overlap_is_symmetric_and_does_not_depend_on_place_or_unit(some: Tensor, others: Tensor, shift: int) -> None:
    overlap = boxes.iou(some, others)
    assert overlap.shape == (len(some), len(others))
    assert torch.equal(overlap, boxes.iou(others, some).T)
    assert torch.equal(overlap, boxes.iou(some + shift, others + shift))
    assert torch.equal(overlap, boxes.iou(some * 4, others * 4))
    assert ((overlap >= 0) & (overlap <= 1)).all()


@given(corners(6))
def test_a_box_has_1_with_itself_unless_it_has_no_area(some: Tensor) -> None:
    expected = (boxes.area(some) > 0).double()
    assert torch.equal(boxes.iou(some, some).diagonal(), expected)


# Anchors


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.lists(st.floats(0.05, 2), min_size=1, max_size=4),
    st.lists(st.floats(0.1, 10), min_size=1, max_size=4),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
def test_anchors_have_their_places_areas_and_ratios(
    height: int, width: int, sizes: list[float], ratios: list[float], image_size: tuple[int, int]
) -> None:
    n, m = len(sizes), len(ratios)
    made = boxes.anchors(height, width, sizes, ratios, image_size).double()
    assert made.shape == (height * width * (n + m - 1), 4)
    centers = boxes.corner_to_center(made).view(height, width, n + m - 1, 4)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    expected_x = ((torch.arange(width).double() + 0.5) / width).view(1, width, 1)
    expected_y = ((torch.arange(height).double() + 0.5) / height).view(height, 1, 1)
    close(centers[..., 0], expected_x.expand(centers.shape[:3]))
    close(centers[..., 1], expected_y.expand(centers.shape[:3]))
    areas = torch.tensor([size**2 for size in sizes] + [sizes[0] ** 2] * (m - 1)).double()
    close((centers[..., 2] * centers[..., 3])[0, 0], areas)
    pixels = centers[..., 2:] * torch.tensor([image_size[1], image_size[0]])
    expected = torch.tensor([ratios[0]] * n + ratios[1:]).double()
    # A long thin anchor far from 0 has few digits left for its short side.
    torch.testing.assert_close((pixels[..., 0] / pixels[..., 1])[0, 0], expected, rtol=5e-2, atol=0)


def test_an_anchor_of_size_1_covers_a_square_image() -> None:
    assert torch.equal(boxes.anchors(1, 1, [1.0], [1.0]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))


def test_ratios_are_relative_unless_an_image_size_is_given() -> None:
    relative = boxes.corner_to_center(boxes.anchors(1, 1, [0.5], [1.0]))
    in_pixels = boxes.corner_to_center(boxes.anchors(1, 1, [0.5], [1.0], image_size=(100, 400)))
    assert relative[0, 2:].tolist() == [0.5, 0.5]
    assert in_pixels[0, 2:].tolist() == [0.25, 1.0]  # 100 by 100 pixels


def test_ssd300_has_8732_anchors_map_after_map() -> None:
    maps = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    sizes = [[0.1 + 0.15 * k, 0.15 + 0.15 * k] for k in range(6)]
    ratios = [[1.0, 2.0, 0.5] if k in (0, 4, 5) else [1.0, 2.0, 0.5, 3.0, 1 / 3] for k in range(6)]
    made = boxes.multiscale_anchors(maps, sizes, ratios)
    assert len(made) == 8732
    assert torch.equal(made[-4:], boxes.anchors(1, 1, sizes[-1], ratios[-1]))
    assert torch.equal(made[: 38 * 38 * 4], boxes.anchors(38, 38, sizes[0], ratios[0]))


# Matching


@given(corners(9), corners(6), st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
def test_each_true_box_gets_an_anchor_and_no_other_overlap_is_wasted(
    anchors: Tensor, truth: Tensor, threshold: float
) -> None:
    matched = boxes.match(anchors, truth, threshold)
    assert matched.shape == (len(anchors),)
    overlap = boxes.iou(anchors, truth)
    if len(anchors) >= len(truth):
        assert set(range(len(truth))) <= set(matched.tolist())
    else:
        assert sorted(set(matched.tolist())) == sorted(matched.tolist())  # one anchor each
        assert -1 not in matched
    forced = 0
    for anchor, true_box in enumerate(matched.tolist()):
        row = overlap[anchor]
        if true_box == -1:
            assert len(row) == 0 or row.max() < threshold
        elif row[true_box] < threshold or row[true_box] < row.max():
            forced += 1  # only the first step gives less than an anchor's best, or less than the threshold
    assert forced <= len(truth)


@given(corners(8, least=1), corners(1, least=1))
def test_a_single_true_box_takes_its_best_anchor(anchors: Tensor, truth: Tensor) -> None:
    overlap = boxes.iou(anchors, truth)[:, 0]
    matched = boxes.match(anchors, truth, threshold=1.0)
    assert matched[overlap.argmax()] == 0
    assert torch.equal(matched == 0, (overlap == 1) | (torch.arange(len(anchors)) == overlap.argmax()))


def test_the_largest_overlap_goes_first_and_the_loser_takes_what_is_free() -> None:
    anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 1.0], [8.0, 8.0, 9.0, 9.0]])
    truth = torch.tensor([[0.0, 0.0, 4.0, 3.0], [0.0, 0.0, 4.0, 3.5]])  # both overlap anchor 0 most, the second more
    assert boxes.match(anchors, truth, 0.5).tolist() == [1, 0, -1]
    assert boxes.match(anchors, truth.flip(0), 0.5).tolist() == [0, 1, -1]


def test_lower_thresholds_match_more() -> None:
    anchors = boxes.anchors(8, 8, [0.2, 0.3], [1.0, 2.0, 0.5])
    truth = torch.tensor([[0.1, 0.1, 0.45, 0.4], [0.5, 0.3, 0.9, 0.8]])
    counts = [int((boxes.match(anchors, truth, t) >= 0).sum()) for t in (0.9, 0.5, 0.3, 0.1)]
    assert counts[0] == 2  # none overlaps so well: each true box has its own alone
    assert counts == sorted(set(counts))


# Offsets


@given(corners(6, least=6, smallest_side=1), corners(6, least=6, smallest_side=1), st.floats(0.05, 2))
def test_offsets_applied_give_the_true_boxes(anchors: Tensor, truth: Tensor, variance: float) -> None:
    variances = (variance, 0.1, 2 * variance, 0.2)
    change = boxes.offsets(anchors, truth, variances)
    torch.testing.assert_close(boxes.apply_offsets(anchors, change, variances), truth, atol=1e-9, rtol=0)
    assert torch.equal(boxes.offsets(anchors, anchors), torch.zeros_like(anchors))
    assert torch.equal(boxes.apply_offsets(anchors, torch.zeros_like(anchors)), anchors)


def test_offsets_do_not_depend_on_place_or_unit() -> None:
    anchor, truth = torch.tensor([[1.0, 2.0, 3.0, 6.0]]), torch.tensor([[2.0, 1.0, 3.0, 4.0]])
    change = boxes.offsets(anchor, truth)
    assert torch.equal(boxes.offsets(anchor * 8, truth * 8), change)
    assert torch.equal(boxes.offsets(anchor + 16, truth + 16), change)
    expected = [0.5 / 2 / 0.1, -1.5 / 4 / 0.1, math.log(1 / 2) / 0.2, math.log(3 / 4) / 0.2]
    torch.testing.assert_close(change, torch.tensor([expected]))


# Suppression


@given(corners(12), st.data(), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_kept_boxes_leave_one_another_alone_and_dropped_ones_have_a_better(
    some: Tensor, data: st.DataObject, threshold: float
) -> None:
    ranks = data.draw(st.lists(st.integers(0, 5), min_size=len(some), max_size=len(some)))
    scores = torch.tensor(ranks, dtype=torch.float64)
    kept = boxes.nms(some, scores, threshold)
    order = [(-scores[i].item(), i) for i in kept.tolist()]
    assert order == sorted(order)  # by falling score, the first on a tie
    overlap = boxes.iou(some, some)
    assert (overlap[kept][:, kept].fill_diagonal_(0) <= threshold).all()
    for i in set(range(len(some))) - set(kept.tolist()):
        assert any(overlap[k, i] > threshold and (-scores[k].item(), k) < (-scores[i].item(), i) for k in kept.tolist())
    again = boxes.nms(some[kept], scores[kept], threshold)
    assert torch.equal(again, torch.arange(len(kept)))


# Errors


BOX = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: boxes.anchors(0, 3, [0.5], [1.0]), "height and width must be 1 or more, got 0 and 3"),
        (lambda: boxes.anchors(3, 3, [], [1.0]), "sizes and ratios need one value or more"),
        (lambda: boxes.anchors(3, 3, [0.5], [0.0]), "all above 0, got .0.5. and .0.0."),
        (lambda: boxes.anchors(3, 3, [0.5], [1.0], (0, 5)), "image_size must be 1 px or more, got .0, 5."),
        (
            lambda: boxes.multiscale_anchors([(1, 1)], [[0.5]], []),
            "each map needs its sizes and ratios, got 1, 1 and 0",
        ),
        (lambda: boxes.match(BOX, BOX, 1.5), "threshold must lie in 0..1, got 1.5"),
        (lambda: boxes.nms(BOX, torch.ones(1), -0.1), "threshold must lie in 0..1, got -0.1"),
        (lambda: boxes.offsets(BOX, BOX * torch.tensor([1, 1, 0, 1])), "a width and a height above 0"),
        (lambda: boxes.offsets(BOX, BOX, (0.1, 0.1, 0.0, 0.2)), "variances must be four values above 0"),
    ],
)
def test_errors_name_the_argument_and_its_value(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
