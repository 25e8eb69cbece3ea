"""The seam: which epoch is better, and that every task answers all that the engine asks."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given, strategies as st

from twofold import TwofoldError
from twofold.tasks.registry import TASKS, task_named
from twofold.tasks.task import Metric, Task

MEASURED = st.fixed_dictionaries({"loss": st.sampled_from([0.1, 0.2, 0.3]), "accuracy": st.sampled_from([0.5, 0.6])})


@given(measured=MEASURED, best=MEASURED, higher=st.booleans())
def test_better_is_the_metric_and_between_equals_the_lower_loss(measured: dict, best: dict, higher: bool) -> None:
    sign = 1 if higher else -1
    key = (sign * measured["accuracy"], -measured["loss"])
    assert Metric("accuracy", higher).improves(measured, best) == (key > (sign * best["accuracy"], -best["loss"]))


@given(epochs=st.lists(MEASURED, min_size=1, max_size=8))
def test_the_best_of_many_is_the_first_of_the_best(epochs: list[dict]) -> None:
    metric, best, chosen = Metric("accuracy"), {}, None
    for epoch, measured in enumerate(epochs):
        if metric.improves(measured, best):
            best, chosen = measured, epoch
    assert chosen == max(range(len(epochs)), key=lambda i: (epochs[i]["accuracy"], -epochs[i]["loss"], -i))


def test_a_best_value_of_which_no_loss_is_known_keeps_its_place_between_equals() -> None:
    """A checkpoint from before the rule for ties has the value alone."""
    assert not Metric("accuracy").improves({"loss": 0.1, "accuracy": 0.9}, {"accuracy": 0.9})
    assert Metric("accuracy").improves({"loss": 9.0, "accuracy": 0.91}, {"accuracy": 0.9})


@pytest.mark.parametrize("name", TASKS)
def test_every_task_answers_all_that_is_asked(name: str) -> None:
    task = task_named(name)
    assert isinstance(task, Task)
    assert (task.name, inspect.isabstract(type(task))) == (name, False)
    assert not vars(task), "a task is stateless"


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(TwofoldError, match="unknown task 'clasify': did you mean classify"):
        task_named("clasify")
