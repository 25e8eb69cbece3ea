"""The confusion matrix of very many classes shows where the mistakes are, and counts every image."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from twofold.report.matrix import matrix, most_confused
from twofold.tasks.section import Confusion


def total(drawn: dict[str, Any]) -> int:
    return sum(cell["count"] for _, cells in drawn["rows"] for cell in cells)


@pytest.mark.parametrize("num_classes", [2, 20, 100, 101, 300])
def test_every_image_is_counted_once(num_classes: int) -> None:
    draw = random.Random(num_classes)
    counts: list[dict[int, int]] = [{} for _ in range(num_classes)]
    for _ in range(2000):
        row, column = draw.randrange(num_classes), draw.randrange(num_classes)
        counts[row][column] = counts[row].get(column, 0) + 1
    drawn = matrix(Confusion(tuple(f"c{index}" for index in range(num_classes)), tuple(counts)))
    assert total(drawn) == 2000
    assert len(drawn["rows"]) == len(drawn["names"]) == (num_classes if num_classes <= 100 else 31)
    assert (drawn["note"] is None) == (num_classes <= 100)


def test_of_many_classes_those_that_are_taken_for_one_another_are_shown() -> None:
    # Class 2k is taken for 2k + 1 three times for k = 100 to 114; every other class for many, once each.
    pairs = [(2 * k, 2 * k + 1) for k in range(100, 115)]
    counts: list[dict[int, int]] = [{index: 5} for index in range(300)]
    for row, column in pairs:
        counts[row][column] = 3
    for row in range(200):
        counts[row] |= {240 + row % 60: 1}
    drawn = matrix(Confusion(tuple(f"c{index}" for index in range(300)), tuple(counts)))
    shown = list(dict.fromkeys(index for pair in pairs for index in pair))
    assert list(drawn["names"]) == [*(f"c{index}" for index in shown), "270 other classes"]
    wrong = [
        cell["text"] for _, cells in drawn["rows"][:30] for cell in cells if cell["count"] and not cell["is_right"]
    ]
    assert wrong == [f"c{row}: 3 of 8 taken for c{column} (37.5\u00a0%)" for row, column in pairs]
    assert drawn["note"] == (
        "Of 300 classes, the 30 most often confused with one another, with 45 of the 245 mistakes. The last row and "
        "the last column are all others together."
    )
    name, cells = drawn["rows"][-1]
    assert name == "270 other classes"
    assert [cell["count"] for cell in cells] == [*[0] * 30, 270 * 5 + 200]
    assert cells[-1]["text"] == "270 other classes: 1,350 of 1,550 recognised, 200 taken for another of them"
    assert cells[-1]["is_right"]


def test_others_that_are_mostly_wrong_are_shown_as_wrong() -> None:
    counts = [{(index + 1) % 150: 2} for index in range(150)]
    _, cells = matrix(Confusion(tuple(map(str, range(150))), tuple(counts)))["rows"][-1]
    assert (cells[-1]["is_right"], cells[-1]["strength"] > 0.9) == (False, True)
    assert "0 of 240 recognised, 238 taken for another of them" in cells[-1]["text"]


@given(
    st.lists(st.dictionaries(st.integers(0, 11), st.integers(1, 9), max_size=6), min_size=12, max_size=12),
    st.integers(1, 12),
)
def test_the_class_with_the_fewest_mistakes_is_taken_off_again_and_again(counts, num_classes) -> None:
    left = list(range(12))
    while len(left) > num_classes:
        among = {
            index: sum(counts[index].get(other, 0) + counts[other].get(index, 0) for other in left if other != index)
            for index in left
        }
        left.remove(min(left, key=lambda index: (among[index], -index)))
    assert most_confused(counts, num_classes) == left
