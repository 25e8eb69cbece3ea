"""The helper that compares: what it must not let pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from twofold.proof.parity import Case, Difference, KeyedChoose, cast, compare, refuses, with_gradients


def differences(mine: Tensor, other: Tensor, **options: Any) -> list[Difference]:
    case = Case({}, lambda: {"value": mine}, lambda: {"value": other}, dtypes=(torch.float64,), **options)
    return list(compare(case))


def one(mine: Any, other: Any, **options: Any) -> Difference:
    (difference,) = differences(torch.as_tensor(mine), torch.as_tensor(other), **options)
    return difference


def test_equal_results_hold_and_unequal_ones_do_not() -> None:
    x = torch.tensor([1.0, -3.0], dtype=torch.float64)
    assert one(x, x).holds
    assert one(x, x * (1 + 1e-11)).holds
    assert not one(x, x * (1 + 1e-9)).holds
    assert not one(x, -x).holds


def test_the_error_is_relative_to_the_largest_number() -> None:
    assert one([100.0, 0.0], [100.0, 1.0]).error == pytest.approx(0.01)
    # Nothing is divided by zero: what should be 0 may not be much.
    assert one([1e-12], [0.0]).holds is False or one([1e-12], [0.0]).error == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("mine", "other", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "shape"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64), "dtype"),
        (torch.tensor([float("nan")]), torch.tensor([1.0]), "undefined"),
        (torch.tensor([1.0]), torch.tensor([float("nan")]), "undefined"),
        (torch.tensor([float("inf")]), torch.tensor([-float("inf")]), "infinite"),
    ],
)
def test_shapes_dtypes_and_undefined_numbers_are_compared(mine: Tensor, other: Tensor, words: str) -> None:
    difference = one(mine, other)
    assert not difference.holds
    assert words in str(difference)


def test_undefined_numbers_in_the_same_places_are_equal() -> None:
    x = torch.tensor([float("nan"), float("inf"), 1.0])
    assert one(x, x).holds
    assert one(torch.zeros(0), torch.zeros(0)).holds


def test_results_must_have_the_same_names_and_say_what_they_are() -> None:
    x = torch.zeros(1)
    with pytest.raises(AssertionError, match="different results"):
        list(compare(Case({}, lambda: {"value": x}, lambda: {"value": x, "gradient x": x})))
    with pytest.raises(AssertionError, match="different results"):
        list(compare(Case({}, lambda: {}, lambda: {})))
    with pytest.raises(AssertionError, match="start with"):
        list(compare(Case({}, lambda: {"thing": x}, lambda: {"thing": x})))


def test_a_form_may_change_its_inputs_without_the_other_seeing_it() -> None:
    def form(x: Tensor) -> dict[str, Tensor]:
        x += 1
        return {"update x": x}

    assert all(difference.holds for difference in compare(Case({"x": torch.zeros(3)}, form, form)))


def test_gradients_are_autograd_s() -> None:
    x = torch.tensor([2.0, 3.0], dtype=torch.float64)
    results = with_gradients(lambda x: x**2, torch.tensor([1.0, 10.0]).double(), {"x": x})
    assert results["value"].tolist() == [4.0, 9.0]
    assert results["gradient x"].tolist() == [4.0, 60.0]


def test_refusals_are_errors_for_people() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    def refusing() -> None:
        raise ValueError("no")

    assert refuses(refusing)
    assert not refuses(lambda: None)
    with pytest.raises(ZeroDivisionError):
        refuses(broken)


def test_inputs_are_cast_and_whole_numbers_are_not() -> None:
    given_inputs = {"x": torch.zeros(1, dtype=torch.float64), "labels": torch.zeros(1, dtype=torch.int64), "lr": 0.1}
    out = cast(given_inputs, torch.float32)
    assert out["x"].dtype == torch.float32
    assert out["labels"].dtype == torch.int64
    assert out["lr"] == 0.1


@given(st.integers(-5, 5), st.integers(0, 20), st.integers(0, 100))
def test_keyed_choices_lie_in_their_range_and_repeat(low: int, span: int, index: int) -> None:
    drawn = [KeyedChoose("name", index).integer(low, low + span) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert low <= drawn[0] <= low + span


def test_keyed_choices_reach_both_ends() -> None:
    drawn = {KeyedChoose("ends", index).integer(0, 2) for index in range(50)}
    assert drawn == {0, 1, 2}
