"""Charts that compare: labels that keep their distance, bands that hold their runs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from twofold.report.bands import BandPoint, BandSeries, band_chart, ranges, search_chart, spread


@given(st.lists(st.floats(0, 200), max_size=12))
def test_labels_keep_their_distance_their_order_and_the_frame(places: list[float]) -> None:
    moved = spread(places, gap=10.0, low=0.0, high=200.0)
    ordered = sorted(moved)
    assert all(after - before >= 10.0 - 0.11 for before, after in itertools.pairwise(ordered))
    assert all(-0.1 <= place <= 200.1 for place in moved)
    for one, its in zip(places, moved, strict=True):
        for other, theirs in zip(places, moved, strict=True):
            assert one >= other or its < theirs


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([100.0, 20.0, 60.0], gap=10.0, low=0.0, high=200.0) == [100.0, 20.0, 60.0]


def numbers(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split())) for pair in path.strip("MZ").split("L")]  # type: ignore[misc]


def test_a_band_encloses_its_curve_and_all_lies_in_the_frame() -> None:
    points = [BandPoint(x, 0.5 + 0.1 * x, 0.4 + 0.1 * x, 0.55 + 0.1 * x) for x in range(5)]
    chart = band_chart("a", "Accuracy", "epochs", [BandSeries("adam", "adam", points)], as_percent=True)
    assert chart is not None
    (curve,) = chart.curves
    line, band = numbers(curve.path), numbers(curve.band)
    assert len(band) == 2 * len(line)
    for (x, y), (above_x, above), (below_x, below) in zip(line, band[:5], band[:4:-1], strict=True):
        assert x == above_x == below_x
        assert above < y < below
    frame = chart.frame
    assert all(frame.left <= x <= frame.plot_right and frame.top <= y <= frame.plot_bottom for x, y in band)
    assert all(tick.label.endswith("\u00a0%") for tick in chart.y_ticks)
    assert "adam 90.0\u00a0% (80.0\u00a0% to 95.0\u00a0%)" in chart.description


def test_no_points_no_chart() -> None:
    assert band_chart("a", "Loss", "epochs", [BandSeries("adam", "adam", [])]) is None


@pytest.mark.parametrize("value", [0.0, 5e-324, 1.0, 2.3])
def test_a_flat_curve_is_drawn(value: float) -> None:
    chart = band_chart("a", "Loss", "epochs", [BandSeries("sgd", "sgd", [BandPoint(1, value, value, value)])])
    assert chart is not None
    assert chart.curves[0].text.startswith("sgd ")


def test_a_search_shows_its_choice_and_what_diverged() -> None:
    trials = [(0.01, 0.5), (0.1, 0.2), (1.0, None)]
    chart = search_chart("sgd", "sgd", trials, 0.1, (0.001, 10.0), (0.1, 0.6), "chosen: 0.1")
    assert [dot.chosen for dot in chart.dots] == [False, True, False]
    assert [dot.diverged for dot in chart.dots] == [False, False, True]
    assert [tick.label for tick in chart.x_ticks] == ["0.001", "0.01", "0.1", "1", "10"]
    steps = [after.x - before.x for before, after in itertools.pairwise(chart.dots)]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)


def test_ranges_share_a_scale() -> None:
    first, second, none = ranges([[0.8, 0.9], [0.7], []])
    assert none is None
    assert first is not None
    assert second is not None
    assert (first.low, first.low + first.width) == (pytest.approx(50, abs=0.1), pytest.approx(97, abs=0.1))
    assert (second.low, second.width, second.dots) == (3, 0, (3,))
