"""The geometry of the curves."""

from __future__ import annotations

import doctest
import math
import re

import pytest
from hypothesis import example, given, strategies as st

import twofold.report.charts
import twofold.report.facts
import twofold.report.render
import twofold.tasks.section
from twofold.records import EpochRecord, StepRecord
from twofold.report.charts import Chart, charts, nice_ticks, reliability
from twofold.report.render import wilson_interval


def step(number: int, loss: float | None = 1.0) -> StepRecord:
    return StepRecord(step=number, epoch=number / 10, loss=loss, lr=0.1, images_per_second=1000.0)


def epoch(number: int, val_loss: float | None = 1.0, val_accuracy: float | None = 0.9) -> EpochRecord:
    measured = {"loss": val_loss, "accuracy": val_accuracy}
    return EpochRecord(
        epoch=number,
        step=10 * number,
        train={"loss": 1.0, "accuracy": 0.8},
        val={name: value for name, value in measured.items() if value is not None},
        lr=0.1,
        images_per_second=1000.0,
    )


def by_slug(made: tuple[Chart, ...]) -> dict[str, Chart]:
    return {chart.slug: chart for chart in made}


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) ([\d.e-]+)", path)]


@pytest.mark.parametrize(
    "module", [twofold.report.facts, twofold.report.charts, twofold.report.render, twofold.tasks.section]
)
def test_docstring_examples(module: object) -> None:
    result = doctest.testmod(module)  # pyright: ignore[reportArgumentType]
    assert result.attempted > 0
    assert result.failed == 0


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), num_steps=st.integers(2, 8))
def test_ticks_are_round_and_cover_the_range(low: float, span: float, num_steps: int) -> None:
    ticks = nice_ticks(low, low + span, num_steps)
    assert 2 <= len(ticks) <= 2 * num_steps + 3
    assert ticks[0] <= low + 1e-6 * max(1, abs(low) + span)
    assert ticks[-1] >= low + span - 1e-6 * max(1, abs(low) + span)
    width = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    leading = width / 10 ** math.floor(math.log10(width * 1.0001))
    assert min(abs(leading - round_number) for round_number in (1, 2, 5, 10)) < 0.01


def test_best_is_marked_on_what_only_validation_measures() -> None:
    lines = [
        EpochRecord(epoch=n, step=n, train={"loss": 1.0}, val={"loss": 1.0, "mAP": 0.1 * n}, lr=0.1, seconds=1.0)
        for n in (1, 2, 3)
    ]
    chart = by_slug(charts([], lines, None, 3))["mAP"]
    assert len(chart.curves) == 1
    assert (chart.best, chart.best_dot) == (chart.curves[0].dots[2][0], chart.curves[0].dots[2])


def test_a_single_value_stands_on_an_axis_from_zero() -> None:
    line = EpochRecord(epoch=1, step=1, train={}, val={"loss": 5.7, "macro_f1": 0.036}, lr=0.1, seconds=1.0)
    made = by_slug(charts([], [line], None, 1))
    assert made["macro_f1"].y_ticks[0].label == "0\u00a0%"
    assert made["loss"].y_ticks[0].label == "0"


def test_four_charts_of_a_whole_run() -> None:
    made = by_slug(charts([step(n) for n in range(1, 31)], [epoch(n) for n in (1, 2, 3)], None, 2))
    assert list(made) == ["loss", "accuracy", "lr", "speed"]
    loss = made["loss"]
    assert [curve.name for curve in loss.curves] == ["train, each step", "train", "validation"]
    assert loss.best == loss.curves[2].dots[1][0]
    assert loss.best_dot == loss.curves[2].dots[1]
    assert made["lr"].best is None
    assert "from 90.0\u00a0% to 90.0\u00a0%" in made["accuracy"].description
    assert "epoch 2: train 80.0\u00a0%, validation 90.0\u00a0%" in [one.text for one in made["accuracy"].readouts]


def test_nothing_to_draw() -> None:
    assert charts([], [], 10.0, None) == ()
    assert [chart.slug for chart in charts([step(1, loss=None)], [], None, None)] == ["lr", "speed"]


def test_without_validation_there_is_one_curve_and_no_gap() -> None:
    made = by_slug(charts([], [epoch(1, None, None), epoch(2, None, None)], None, None))
    assert [curve.name for curve in made["accuracy"].curves] == ["train"]


def test_each_metric_of_a_task_has_a_chart() -> None:
    lines = [EpochRecord(epoch=n, step=n, train={"loss": 1.0, "box": 2.0}, val={"map": 0.1 * n}) for n in (1, 2, 3)]
    made = by_slug(charts([], lines, None, 3))
    assert list(made) == ["loss", "map", "box"]
    assert made["map"].description == "Map over 3 epochs: validation from 10.0\u00a0% to 30.0\u00a0%. Best epoch: 3."
    assert made["box"].description == "Loss: box over 3 epochs: train from 2 to 2. Best epoch: 3."


def test_a_loss_that_is_not_finite_breaks_the_line() -> None:
    losses = [1.0, 0.9, None, 0.8, 0.7]
    (curve,) = by_slug(charts([step(n, loss) for n, loss in enumerate(losses, 1)], [], None, None))["loss"].curves
    assert [command for command in curve.path if command.isalpha()] == ["M", "L", "M", "L"]


def test_an_unfinished_run_shows_the_rest_of_its_plan() -> None:
    chart = charts([step(n) for n in range(1, 31)], [], 10.0, None)[0]
    assert chart.undone is not None
    share = (chart.undone - chart.frame.left) / (chart.frame.plot_right - chart.frame.left)
    assert share == pytest.approx(0.3, abs=0.01)
    assert charts([step(n) for n in range(1, 31)], [], None, None)[0].undone is None


@given(st.lists(st.floats(0, 1e6) | st.none(), min_size=1, max_size=1000))
@example([5e-324])
@example([0.0, 1e-320])
@example([1e6, math.nextafter(1e6, 2e6)])
def test_curves_stay_in_the_drawing_and_light(losses: list[float | None]) -> None:
    for chart in charts([step(n, loss) for n, loss in enumerate(losses, 1)], [], None, None):
        for curve in chart.curves:
            assert len(curve.path) < 6000
            for x, y in coordinates(curve.path):
                assert chart.frame.left <= x <= chart.frame.plot_right
                assert 0 <= y <= chart.frame.plot_bottom


def test_reliability_sets_accuracy_against_confidence() -> None:
    made = reliability([(0.55, 0.5, 10), (0.95, 0.95, 1000)])
    assert made is not None
    large, small = made.dots
    assert large.radius > small.radius
    assert large.y == large.ideal
    assert small.y > small.ideal  # less often right than sure: below the diagonal, and y grows downwards
    assert reliability([]) is None


@given(st.integers(1, 5000), st.data())
def test_wilson_bounds_are_where_the_score_test_turns(num_trials: int, data: st.DataObject) -> None:
    """At each bound p the observed share lies just 1.96 standard errors of p away: Wilson's definition."""
    share = data.draw(st.integers(0, num_trials)) / num_trials
    low, high = wilson_interval(share, num_trials)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for bound in (low, high):
        squared_error = 1.959963984540054**2 * bound * (1 - bound) / num_trials
        assert (share - bound) ** 2 == pytest.approx(squared_error, abs=1e-12)


def test_thresholds_stand_beside_the_names_of_their_labels() -> None:
    spec = {"class_names": ["bag", "boot"], "label_thresholds": [0.25, 0.5], "channels": 1}
    facts = {fact.label: fact.value for fact in twofold.report.facts.preprocessing_facts(spec)}
    assert facts == {"Label thresholds": "bag 0.25, boot 0.5", "Channels": "1"}
    none = twofold.report.facts.preprocessing_facts(spec | {"label_thresholds": None})
    assert none[0].value == "none"
