"""What counts as found, step by step; the whole is held against pycocotools in tests/detect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from twofold.scratch import detection, ranking


def test_thresholds_and_recalls_are_rounded_as_coco_rounds_them() -> None:
    assert np.linspace(0.5, 0.95, 10).tolist() == detection.THRESHOLDS
    assert np.linspace(0, 1, 101).tolist() == detection.RECALLS


def test_a_detection_takes_the_free_box_that_it_overlaps_most_the_last_on_a_tie() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    overlap = torch.tensor([[0.6, 0.6, 0.2], [0.9, 0.9, 0.9], [0.1, 0.2, 0.4]])
    assert detection.match_detections(overlap, 0.5, nothing, nothing).tolist() == [1, 2, -1]


def test_a_box_that_counts_is_taken_before_one_that_is_ignored_and_a_crowd_is_never_used_up() -> None:
    overlap = torch.tensor([[0.6, 0.9], [0.6, 0.9], [0.6, 0.9]])
    crowd = torch.tensor([False, True])
    assert detection.match_detections(overlap, 0.5, crowd, crowd).tolist() == [0, 1, 1]
    assert detection.match_detections(overlap, 0.5, ~crowd & crowd, crowd).tolist() == [0, 1, -1]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12))
def test_read_at_every_recall_the_curve_is_that_of_a_ranking(rows: list[tuple[int, bool]]) -> None:
    """The largest precision of all lists that reach a recall: `ranking` has the lists, one for each score."""
    scores = torch.tensor([score for score, _ in rows], dtype=torch.float64) + torch.arange(len(rows)) / 100
    right = torch.tensor([right for _, right in rows])
    num_truths = max(1, int(right.sum()))
    precision, recall, _ = detection.curve(scores, right, torch.ones_like(right), num_truths)
    _, plain, plain_recall = ranking.precision_recall(scores, right)
    if bool(right.any()):
        assert recall.tolist() == plain_recall.tolist()
        assert precision.tolist() == [plain[place:].max().item() for place in range(len(rows))]
    read, _ = detection.read_curve(precision, recall, scores)
    assert bool((read[:-1] >= read[1:]).all())
    assert read[100] == (precision[recall == 1].max() if bool(right.any()) else 0)


def test_each_image_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="each image needs its truth, got 0 and 1"):
        detection.evaluate([], [detection.Truth(*(torch.zeros(0) for _ in range(4)))], 1)
