"""The figures of the chapters on boxes and anchors: each is drawn, says what the readable forms compute, and stays."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from twofold.figures.detection_chapter import FIGURES, draw_scenes
from twofold.figures.drawing import save_figure

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    assert all(axes.get_title(loc="left") for axes in figure.axes)
    save_figure(figure, tmp_path / "one.svg")
    save_figure(FIGURES[name](), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.svg").stat().st_size < 200_000


def words(name: str) -> list[str]:
    return [text.get_text() for axes in FIGURES[name]().axes for text in axes.texts]


def test_both_forms_of_a_box_are_of_the_same_box() -> None:
    said = words("boxes")
    corners = [tuple(map(int, re.findall(r"-?\d+", text))) for text in said if text.count("(") == 2]
    centres = [tuple(map(int, re.findall(r"-?\d+", text))) for text in said if " x " in text]
    assert len(corners) == len(centres) == 2
    for (x1, y1, x2, y2), (cx, cy, w, h) in zip(corners, centres, strict=True):
        assert (w, h) == (x2 - x1, y2 - y1)
        assert (cx, cy) == pytest.approx(((x1 + x2) / 2, (y1 + y2) / 2), abs=0.51)


def test_a_pixel_has_n_and_m_less_one_anchors_and_scales_have_them_at_each_pixel() -> None:
    # Two frames a box.
    assert [len(axes.patches) // 2 for axes in FIGURES["anchors"]().axes] == [3, 5]
    assert [len(axes.patches) // 2 for axes in FIGURES["scales"]().axes] == [16 * 3, 4 * 3, 3]


def test_suppression_leaves_the_best_of_each_object() -> None:
    said = words("suppression")
    assert sorted(said[5:]) == ["Bag 0.90", "Sandal 0.95"]
    assert len(said) == 5 + 2


def test_each_true_box_has_an_anchor_and_more_where_they_overlap_enough() -> None:
    _, table, _ = FIGURES["matching"]().axes
    taken = [float(text.get_text()) for text in table.texts if text.get_weight() == "bold"]
    others = [float(text.get_text()) for text in table.texts if text.get_weight() != "bold"]
    assert len(taken) == 3
    assert [value for value in taken if value < 0.5] == [0.36], "of the box that no anchor overlaps enough"
    assert max(others) < 0.5


def test_the_envelope_lies_over_the_curve_and_falls() -> None:
    one, three = FIGURES["precision-recall"]().axes
    plain, envelope = (np.asarray(line.get_ydata(), dtype=float) for line in one.lines)
    assert bool((envelope >= plain - 1e-6).all())
    assert bool((np.diff(envelope) <= 1e-9).all())
    assert bool((np.diff(plain) > 1e-9).any())
    values = [float(text.get_text().split("AP ")[1]) for text in three.texts]
    assert values == sorted(values, reverse=True)


def test_scenes_stand_four_in_a_row() -> None:
    found = [[("bag", 0.9, (1.0, 1.0, 9.0, 9.0))], []] * 3
    figure = draw_scenes([np.zeros((16, 16), dtype=np.uint8)] * 6, found, "six scenes")
    assert len(figure.axes) == 8
    assert [len(axes.texts) for axes in figure.axes] == [1, 0, 1, 0, 1, 0, 0, 0]


def test_make_figures_writes_each_and_no_two_have_one_name() -> None:
    script = runpy.run_path(str(ROOT / "scripts/make_figures.py"))
    assert set(FIGURES) | {"detections"} == set(script["CHAPTERS"]["detection"])
    assert len(script["WRITERS"]) == sum(map(len, script["CHAPTERS"].values()))
    there = {path.stem for path in (ROOT / "docs/pictures/detection").glob("*.svg")}
    assert set(FIGURES) <= there
