"""Six kinds of error: a case of each by hand, both forms equal on drawn cases, and what fixing a kind gives."""

from __future__ import annotations

import math

import pytest
import torch
from coco_cases import draw, flat
from hypothesis import given, strategies as st

from twofold.data.targets import to_box_targets
from twofold.detect import Detections, error_kinds as fast_form, evaluate_detections, find_error_kinds
from twofold.scratch import detection_errors as readable
from twofold.scratch.detection import Detected, Truth
from twofold.scratch.detection_errors import KINDS, NEITHER, RIGHT, ErrorKinds

Box = tuple[float, float, float, float]
OBJECT: Box = (0, 0, 10, 10)


def judged(
    truth: list[tuple[Box, int]], found: list[tuple[Box, float, int]], *, crowd: list[bool] | None = None
) -> ErrorKinds:
    """Return the errors in one image, in which both forms agree."""
    targets = to_box_targets(
        [[box for box, _ in truth]],
        [[label for _, label in truth]],
        [(99, 99)],
        crowd=[crowd or [False] * len(truth)],
    )
    boxes = torch.tensor([box for box, _, _ in found], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([score for _, score, _ in found], dtype=torch.float64)
    labels = torch.tensor([label for *_, label in found], dtype=torch.int64)
    fast = find_error_kinds(Detections(boxes, scores, labels, torch.tensor([len(found)])), targets, 3)
    image = Truth(targets.boxes, targets.labels, targets.crowd, targets.areas)
    assert_equal(fast, readable.error_kinds([Detected(boxes, scores, labels)], [image], 3))
    return fast


def assert_equal(fast: ErrorKinds, slow: ErrorKinds) -> None:
    for name in ("kinds", "truth", "missed"):
        assert torch.equal(getattr(fast, name), getattr(slow, name)), name
    assert fast.counts == slow.counts
    assert list(fast.gains) == list(slow.gains) == list(KINDS)
    assert [fast.average_precision, *fast.gains.values()] == pytest.approx(
        [slow.average_precision, *slow.gains.values()], abs=1e-12, nan_ok=True
    )


@pytest.mark.parametrize(
    ("kind", "box", "label"),
    [
        ("place", (0, 0, 10, 4), 0),  # IoU 0.4 with the right class
        ("place", (0, 0, 10, 1), 0),  # just 0.1
        ("class", OBJECT, 1),
        ("class", (0, 0, 10, 5), 1),  # just 0.5
        ("both", (0, 0, 10, 4), 1),
        ("background", (50, 50, 60, 60), 0),
        ("background", (0, 0, 9, 1), 0),  # 0.09
    ],
)
def test_one_wrong_detection_of_each_kind(kind: str, box: Box, label: int) -> None:
    errors = judged([(OBJECT, 0)], [(box, 0.9, label)])
    # What its place or class alone would mend is not missed as well.
    missed = kind not in ("place", "class")
    assert errors.counts == {**dict.fromkeys(KINDS, 0), kind: 1, "missed": int(missed)}
    assert errors.truth.tolist() == [-1 if missed else 0]
    assert errors.average_precision == 0.0
    gains = {**dict.fromkeys(KINDS, 0.0), ("missed" if missed else kind): 1.0}
    assert errors.gains == pytest.approx(gains)


def test_a_second_detection_of_an_object_is_double() -> None:
    errors = judged(
        [(OBJECT, 0), ((50, 50, 60, 60), 0)], [(OBJECT, 0.9, 0), (OBJECT, 0.8, 0), ((50, 50, 60, 60), 0.7, 0)]
    )
    assert errors.kinds.tolist() == [RIGHT, KINDS.index("double"), RIGHT]
    assert errors.truth.tolist() == [0, -1, 1]
    # Precision 1 up to recall ½, then 2/3: 51 and 50 of the 101 recalls.
    assert errors.average_precision == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert errors.gains["double"] == pytest.approx(1 - errors.average_precision)


def test_an_object_that_nothing_is_near_is_missed() -> None:
    errors = judged([(OBJECT, 0), ((50, 50, 60, 60), 0)], [(OBJECT, 0.9, 0)])
    assert errors.missed.tolist() == [False, True]
    assert errors.counts["missed"] == 1
    assert errors.average_precision == pytest.approx(51 / 101)
    assert errors.gains["missed"] == pytest.approx(50 / 101)


def test_of_two_that_would_find_an_object_the_one_with_the_higher_score_gets_it() -> None:
    errors = judged([(OBJECT, 0)], [((0, 0, 10, 4), 0.5, 0), ((0, 0, 10, 3), 0.9, 0)])
    assert errors.counts["place"] == 2
    assert errors.gains["place"] == pytest.approx(1.0)


def test_an_object_that_is_found_already_is_not_given_again() -> None:
    errors = judged([(OBJECT, 0)], [((0, 0, 10, 4), 0.9, 0), (OBJECT, 0.5, 0)])
    assert errors.counts["place"] == 1
    assert errors.average_precision == pytest.approx(0.5)
    assert errors.gains["place"] == pytest.approx(0.5)  # by dropping it


def test_the_first_row_of_the_table_that_fits_counts() -> None:
    other = (0.0, 6.0, 10.0, 16.0)
    errors = judged([(OBJECT, 0), (other, 1)], [((0, 3, 10, 13), 0.9, 0), ((0, 6, 10, 16), 0.8, 0)])
    # The first overlaps both boxes enough and finds its own; the second is its own object 0.25, another's wholly.
    assert [KINDS[kind] if kind >= 0 else kind for kind in errors.kinds.tolist()] == [RIGHT, "place"]


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong_and_a_crowd_is_not_missed() -> None:
    errors = judged([((0, 0, 90, 90), 0)], [(OBJECT, 0.9, 0), (OBJECT, 0.8, 1)], crowd=[True])
    assert errors.kinds.tolist() == [NEITHER, KINDS.index("background")]
    assert errors.counts["missed"] == 0
    assert math.isnan(errors.average_precision)
    assert all(math.isnan(gain) for gain in errors.gains.values())


def test_detections_beyond_the_hundredth_of_a_class_do_not_count() -> None:
    errors = judged(
        [(OBJECT, 0)], [((50, 50, 60, 60), 1 - index / 200, 0) for index in range(100)] + [(OBJECT, 0.1, 0)]
    )
    assert errors.counts["background"] == 100
    assert errors.kinds[-1] == NEITHER


def test_a_class_of_which_nothing_is_left_to_find_counts_as_found() -> None:
    errors = judged([(OBJECT, 0), ((50, 50, 60, 60), 1)], [(OBJECT, 0.9, 0)])
    assert errors.average_precision == pytest.approx(0.5)
    assert errors.gains["missed"] == pytest.approx(0.5)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_both_forms_are_equal_however_many_images_are_judged_at_a_time(index: int, pairs: int) -> None:
    images, num_classes = draw(index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_form, "_PAIRS", pairs)
        fast = find_error_kinds(*flat(images), num_classes)
    assert_equal(
        fast, readable.error_kinds([found for _, found in images], [truth for truth, _ in images], num_classes)
    )


@given(st.integers(0, 10_000))
def test_average_precision_is_that_of_the_evaluation(index: int) -> None:
    images, num_classes = draw(index)
    found, truth = flat(images)
    errors = find_error_kinds(found, truth, num_classes)
    expected = evaluate_detections(found, truth, num_classes).average_precision(0.5)
    assert errors.average_precision == pytest.approx(expected, abs=1e-12, nan_ok=True)
    wrong = (errors.kinds >= 0).sum()
    assert sum(errors.counts.values()) == int(wrong) + int(errors.missed.sum())
    assert all(math.isnan(gain) or 0 <= gain <= 1 for gain in errors.gains.values())
    found_or_near = errors.truth[errors.truth >= 0]
    assert not bool(errors.missed[found_or_near].any())


def test_each_image_needs_its_truth() -> None:
    targets = to_box_targets([], [], [])
    with pytest.raises(ValueError, match="each image needs its truth, got 2 and 0"):
        find_error_kinds(Detections(targets.boxes, targets.areas, targets.labels, torch.tensor([0, 0])), targets, 1)
