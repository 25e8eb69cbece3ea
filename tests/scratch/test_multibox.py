"""Losses of a detector, where torchvision leaves a choice open or is undefined."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.scratch import boxes, generalised_iou, loss, multibox


def test_of_equal_losses_the_earlier_anchors_are_hard() -> None:
    positive = torch.tensor([[False, True, False, False, False, False]])
    chosen = multibox.hard_negatives(torch.ones(1, 6), positive)
    assert chosen.tolist() == [[True, False, True, True, False, False]]


def test_an_image_without_positives_teaches_nothing_and_does_not_lend_its_negatives() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    logits, offsets, truth = torch.randn(2, 5, 3), torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    in_logits, in_offsets = multibox.multibox_loss_backward(torch.tensor(1.0), logits, offsets, labels, truth)
    assert bool((in_logits[1] == 0).all() and (in_offsets[1] == 0).all())
    both = multibox.multibox_loss(logits, offsets, labels, truth)
    first = multibox.multibox_loss(logits[:1], offsets[:1], labels[:1], truth[:1])
    assert torch.equal(torch.stack(both), torch.stack(first))
    assert torch.stack(multibox.multibox_loss(logits, offsets, 0 * labels, truth)).tolist() == [0.0, 0.0]


def test_fewer_negatives_than_asked_for_are_all_taken_once() -> None:
    """torchvision counts positives a second time there."""
    labels = torch.tensor([[1, 1, 0]])
    by_class, _ = multibox.multibox_loss(torch.zeros(1, 3, 2), torch.zeros(1, 3, 4), labels, torch.zeros(1, 3, 4))
    assert float(by_class) == pytest.approx(3 * torch.tensor(2.0).log().item() / 2)


def test_the_true_offsets_of_background_may_be_anything() -> None:
    truth = torch.full((1, 3, 4), torch.nan)
    truth[0, 0] = 1.0
    labels = torch.tensor([[1, 0, 0]])
    _, by_box = multibox.multibox_loss(torch.zeros(1, 3, 2), torch.zeros(1, 3, 4), labels, truth)
    assert float(by_box) == 2.0
    _, gradient = multibox.multibox_loss_backward(
        torch.tensor(1.0), torch.zeros(1, 3, 2), torch.zeros(1, 3, 4), labels, truth
    )
    assert gradient[0].sum(dim=1).tolist() == [-4.0, 0.0, 0.0]


@given(st.lists(st.integers(0, 6), min_size=8, max_size=8))
def test_generalised_iou_is_defined_for_all_boxes_and_its_loss_is_1_less_it(values: list[int]) -> None:
    """On a grid: many boxes have no area, or are one point."""
    drawn = torch.tensor(values, dtype=torch.float64).reshape(2, 4)
    some, truth = torch.cat([drawn[:, :2], drawn[:, :2] + drawn[:, 2:]], dim=1).split(1)
    value, lost = generalised_iou.giou(some, truth), generalised_iou.giou_loss(some, truth)
    gradient = generalised_iou.giou_loss_backward(torch.tensor(1.0).double(), some, truth)
    assert bool(value.isfinite().all() and lost.isfinite() and gradient.isfinite().all())
    assert -1 <= float(value) <= 1
    assert float(value) <= float(boxes.iou(some, truth)) + 1e-12
    assert float(lost) == pytest.approx(1 - float(value))
    assert float(generalised_iou.giou(truth, some)) == pytest.approx(float(value))


def test_gradient_of_generalised_iou_brings_boxes_that_do_not_meet_together() -> None:
    some, truth = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[6.0, 3.0, 8.0, 4.0]])
    assert float(boxes.iou(some, truth)) == 0.0
    for _ in range(300):
        some = some - 0.5 * generalised_iou.giou_loss_backward(torch.tensor(1.0), some, truth)
    assert float(boxes.iou(some, truth)) > 0.05


def test_focal_loss_without_focus_is_binary_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 3), (torch.rand(5, 3) < 0.5).float()
    plain = loss.focal_loss(logits, targets, alpha=None, gamma=0.0)
    torch.testing.assert_close(plain, loss.binary_cross_entropy(logits, targets))


def test_each_class_is_suppressed_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    corners = torch.rand(60, 2)
    some, scores, labels = torch.cat([corners, corners + 0.4], dim=1), torch.rand(60), torch.arange(60) % 3
    kept = boxes.nms_by_class(some, scores, labels, 0.4)
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    for label in range(3):
        own = torch.nonzero(labels == label).flatten()
        assert set(kept[labels[kept] == label].tolist()) == set(own[boxes.nms(some[own], scores[own], 0.4)].tolist())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: loss.smooth_l1_loss(torch.zeros(1), torch.zeros(1), beta=0.0), "beta must be above 0, got 0.0"),
        (lambda: loss.focal_loss(torch.zeros(1), torch.full((1,), 0.5)), "targets must be 0 or 1"),
        (lambda: loss.focal_loss(torch.zeros(1), torch.zeros(1), gamma=-1.0), "gamma must be 0 or more .* got -1.0"),
        (
            lambda: multibox.hard_negatives(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), -1),
            "ratio must be 0 or more, got -1",
        ),
    ],
)
def test_errors_name_the_argument_and_its_value(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
