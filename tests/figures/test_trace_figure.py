"""The figures of paths: what is on them, and that the same traces make the same bytes."""

from __future__ import annotations

import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.errors import RunError, TwofoldError
from twofold.figures.chapter import FIGURES
from twofold.figures.drawing import COLOURS, save_figure
from twofold.figures.trace import (
    MOST_FRAMES,
    MOST_PATHS,
    contour_levels,
    describe,
    draw_panels,
    draw_traces,
    fitting_view,
    save_animation,
)
from twofold.landscape.surfaces import SURFACES, surface_from
from twofold.landscape.tracing import Trace, trace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pair() -> list[Trace]:
    return [
        trace("quadratic", "sgd", steps=8, lr=0.4),
        trace("quadratic", "momentum", steps=12, lr=0.4, momentum=0.5),
    ]


def test_paths_stars_and_legend_are_those_of_the_traces(pair: list[Trace]) -> None:
    (axes,) = draw_traces(pair).axes
    lines = {line.get_label(): line for line in axes.lines}
    for one, colour in zip(pair, COLOURS, strict=False):
        line = lines[describe(one)]
        np.testing.assert_array_equal(line.get_xydata(), one.path.numpy())
        assert line.get_color() == colour
    star = [line for line in axes.lines if line.get_marker() == "*"]
    assert [tuple(line.get_xydata()[0]) for line in star] == [(0.0, 0.0)]
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sgd, η = 0.4", "momentum, η = 0.4, γ = 0.5"]
    assert axes.get_title(loc="left") == "quadratic: 0.1*x1**2 + 2*x2**2"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")


def test_a_curve_and_the_path_on_it() -> None:
    walked = trace("wave", "sgd", lr=0.1)
    (axes,) = draw_traces([walked]).axes
    curve, *_ = axes.lines
    x, y = curve.get_xydata().T
    np.testing.assert_allclose(y, x * np.cos(np.pi * x), atol=1e-12)
    (path,) = [line for line in axes.lines if line.get_label() == describe(walked)]
    np.testing.assert_array_equal(path.get_xydata(), torch.stack([walked.path[:, 0], walked.values], dim=1).numpy())
    assert len([line for line in axes.lines if line.get_marker() == "*"]) == 2


def test_labels_tell_what_decides_the_path() -> None:
    assert describe(trace("quadratic", "adadelta", steps=1, eps=1e-5)) == "adadelta, ρ = 0.9, ε = 1e-05"
    assert describe(trace("quadratic", "adamw", steps=1)) == "adamw, η = 0.001, β₁ = 0.9, β₂ = 0.999, λ = 0.01"
    lost = trace("parabola", "sgd", (10.0,), 100, lr=1.1)
    assert describe(lost) == "sgd, η = 1.1 (diverged at step 64)"
    assert describe(lost, end=False) == "sgd, η = 1.1"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_traces_make_the_same_bytes(suffix: str, pair: list[Trace], tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_figure(draw_traces(pair), tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"first.{suffix}").read_bytes()
    assert content == (tmp_path / f"second.{suffix}").read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"first.{suffix}", f"second.{suffix}"]


def test_svg_says_no_date_and_is_small(pair: list[Trace], tmp_path: Path) -> None:
    save_figure(draw_traces(pair), tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text()
    root = ET.fromstring(text)
    assert root.tag.endswith("svg")
    assert "<dc:date>" not in text
    assert len(text) < 250_000


def test_another_process_makes_the_same_figure(tmp_path: Path) -> None:
    """As `make figures` does; hashes of strings differ from process to process."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/make_figures.py", "saddle", "adagrad", "--output", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("saddle", "adagrad"):
        assert f"wrote {tmp_path / name}.svg" in done.stderr
        save_figure(FIGURES[name](), tmp_path / f"{name}-here.svg")
        assert (tmp_path / f"{name}.svg").read_bytes() == (tmp_path / f"{name}-here.svg").read_bytes()


def test_make_figures_refuses_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(ROOT / "scripts/make_figures.py"))
    assert set(FIGURES) <= set(script["WRITERS"])
    monkeypatch.setattr(sys, "argv", ["make_figures.py", "adagrd", "--output", str(tmp_path)])
    assert script["main"]() == 2
    assert capsys.readouterr().err.startswith("error: unknown figure 'adagrd': did you mean adagrad")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_the_chapter_is_drawn(name: str) -> None:
    figure = FIGURES[name]()
    panels = figure.axes
    assert panels
    for axes in panels:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
    if name in {"steepest-descent", "momentum", "adagrad", "rmsprop", "adadelta", "adam", "all-rules"}:
        for axes in panels:
            paths = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) > 1]
            assert paths
            for path in paths:
                assert path.shape == (21, 2)
                assert tuple(path[0]) == (-5.0, -2.0)


def test_the_figures_in_the_documents_are_those_of_the_list() -> None:
    drawn = {path.stem for path in (ROOT / "docs/pictures/optimisation").glob("*.svg")}
    assert set(FIGURES) <= drawn


def test_an_animation_has_a_frame_a_step_and_a_pause(pair: list[Trace], tmp_path: Path) -> None:
    save_animation(pair, tmp_path / "race.gif")
    with Image.open(tmp_path / "race.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames == 13  # type: ignore[attr-defined]
        assert film.info["loop"] == 0
        shown, durations = [], []
        for frame in range(13):
            film.seek(frame)
            durations.append(film.info["duration"])
            shown.append(np.asarray(film.convert("RGB")).astype(int))
    assert durations == [150] * 12 + [2500]
    red = np.array([int(COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])
    blue = np.array([int(COLOURS[1][at : at + 2], 16) for at in (1, 3, 5)])
    pixels = {
        name: [int((np.abs(frame - colour).sum(-1) < 20).sum()) for frame in shown]
        for name, colour in (("red", red), ("blue", blue))
    }
    # Both grow; the shorter path stands still after its 8 steps, and the longer one goes on.
    assert pixels["red"][8] > pixels["red"][3] > pixels["red"][0]
    assert pixels["blue"][12] > pixels["blue"][8] > pixels["blue"][0]
    assert (shown[9] != shown[8]).any()


def test_a_path_that_others_cover_keeps_its_colour(tmp_path: Path) -> None:
    """The palette comes from the last frame, where nothing but the legend is left of the first path."""
    traces = [trace("quadratic", "sgd", steps=3, lr=lr) for lr in (0.1, 0.1000001)]
    save_animation(traces, tmp_path / "same.gif")
    with Image.open(tmp_path / "same.gif") as film:
        palette = np.array(film.getpalette()).reshape(-1, 3)
    for colour in COLOURS[:2]:
        wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        assert np.abs(palette - wanted).sum(-1).min() < 12


def test_views_widen_for_paths_and_not_without_end() -> None:
    inside = trace("quadratic", "sgd", lr=0.1)
    assert fitting_view(inside.surface, [inside]) == SURFACES["quadratic"].view
    above = trace("quadratic", "sgd", lr=0.4)
    (left, right), (bottom, top) = fitting_view(above.surface, [above])
    assert (left, right, bottom) == (-5.5, 1.0, -3.0)
    assert 1.2 < top < 1.5
    away = trace("quadratic", "sgd", lr=0.6)
    _, (bottom, top) = fitting_view(away.surface, [away])
    assert (bottom, top) == (-7.0, 5.0)
    far = trace("quadratic", "sgd", (100.0, 0.0), lr=0.1)
    (left, right), _ = fitting_view(far.surface, [far])
    assert left <= 0
    assert right > 100


def test_contour_levels_show_valley_and_slope() -> None:
    steep = np.array([0.001, 0.01, 0.02, 0.1, 1.0, 2.0, 50.0, 2500.0])
    levels = contour_levels(steep)
    assert (np.diff(levels) > 0).all()
    assert (levels < 1.0).sum() >= 4
    assert (levels > 100).sum() >= 2
    even = contour_levels(np.linspace(-1, 1, 1001))
    np.testing.assert_allclose(np.diff(even), np.diff(even)[0])
    assert -1 < even[0] < even[-1] < 1
    # What is not finite does not count, and a plain has no contours.
    assert np.isfinite(contour_levels(np.array([np.nan, np.inf, 1.0, 2.0]))).all()
    assert contour_levels(np.full(9, 3.0)).size == 0
    assert contour_levels(np.full(9, np.nan)).size == 0


@pytest.mark.parametrize("formula", ["log(x) + y**2", "sqrt(x)*log(y)", "0*x + 0*y", "max(x, y)", "log(x)", "0*x"])
def test_surfaces_with_holes_and_plains_are_drawn(formula: str, tmp_path: Path) -> None:
    save_figure(draw_traces([trace(formula, "sgd", steps=3, lr=0.01)]), tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as drawn:
        assert drawn.size[0] > 900


def test_dollar_signs_and_long_names_are_text(tmp_path: Path) -> None:
    surface = surface_from(lambda points: (points**2).sum(-1), dimension=2, name="$\\frac{" + "long " * 40)
    save_figure(draw_traces([trace(surface, "sgd", steps=2, lr=0.1)]), tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as drawn:
        assert drawn.size[0] < 1200


def test_what_cannot_be_drawn_is_one_clear_line(pair: list[Trace], tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="no trace to draw"):
        draw_traces([])
    with pytest.raises(TwofoldError, match=f"room for {MOST_PATHS} paths, got 10"):
        draw_traces(pair * 5)
    with pytest.raises(TwofoldError, match="on one surface, got quadratic, saddle"):
        draw_panels([("both", [pair[0], trace("saddle", "sgd", steps=1, lr=0.1)], None)])
    long = trace("parabola", "sgd", steps=MOST_FRAMES, lr=0.1)
    with pytest.raises(TwofoldError, match="1,000 frames at most"):
        save_animation([long], tmp_path / "long.gif")
    with pytest.raises(RunError, match="cannot write"):
        save_figure(draw_traces(pair), tmp_path / "missing" / "one.png")
    assert list(tmp_path.iterdir()) == []
