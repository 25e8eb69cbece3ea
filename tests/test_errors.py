"""Errors for people: the nearest name where one is near, and settings in the words of whoever reads."""

from __future__ import annotations

import pytest

from twofold.errors import SettingError, nearest


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("lenett", ["lenet", "resnet18"], "did you mean lenet?"),
        ("SGD", ["adam", "adamw", "sgd"], "did you mean sgd?"),
        ("sdg", ["adam", "sgd"], "did you mean sgd?"),
        ("Resnet50", ["resnet50", "resnet101"], "did you mean resnet50?"),
        ("fashion", ["fashion-mini", "mnist"], "did you mean fashion-mini?"),
        ("norm", ["batch-norm", "conv"], "did you mean batch-norm?"),
        ("dropout", ["out", "top"], "known are out, top"),
        ("zzz", ["lenet"], "known are lenet"),
        ("", ["lenet"], "known are lenet"),
    ],
)
def test_what_is_near_is_suggested_and_nothing_else(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint


def test_a_setting_is_told_in_the_words_of_who_reads() -> None:
    error = SettingError("{} and {} exclude each other, got {}", {"epochs": 2}, "batch_size")
    assert str(error) == "epochs=2 and batch_size exclude each other, got {}"
    assert error.written(lambda setting: "--x") == "--x and --x exclude each other, got {}"


def test_a_name_of_any_length_is_looked_up_at_once() -> None:
    """Letter by letter, a million would be compared with a million."""
    known = ["lenet", "resnet18", "y" * 1_000_000]
    assert nearest("x" * 1_000_000, known).startswith("known are lenet, resnet18, y")
    assert nearest("lenet" + "x" * 1_000_000, ["lenet", "nin"]) == "known are lenet, nin"
    assert nearest("resnet1", known) == "did you mean resnet18?"
