"""The figures of `twofold explain`: what is on them, in whatever names."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from PIL import Image

import twofold
import twofold.figures.explain
import twofold.figures.page
from small_predictors import FAMILIES, HOSTILE, image_of, make
from twofold.data import load_eval_images
from twofold.figures.drawing import save_figure
from twofold.figures.explain import draw_channel, draw_explanation
from twofold.interpret import (
    Channel,
    explain_channel,
    explain_image,
)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def shown(axes: Any) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_drawn(name: str, tmp_path: Path) -> None:
    predictor = make(name, channels=3 if name == "resnet50" else 1)
    pixels = image_of(predictor)
    explanation = explain_image(predictor, pixels, classes=predictor.spec.class_names)
    figure = draw_explanation(explanation, title="noise")
    panels = figure.axes
    maps = [values for stage in explanation.stages for values in stage.maps]
    assert len(maps) == sum(min(6, stage.num_maps) for stage in explanation.stages)
    assert len(panels) == 2 + 3 + len(maps)
    assert np.array_equal(shown(panels[0]).reshape(28, 28, -1), pixels.permute(1, 2, 0).numpy())
    for axes, values in zip(panels[5:], maps, strict=True):
        assert np.array_equal(shown(axes), values.numpy())
    assert all(stage.name in texts(figure) for stage in explanation.stages)
    save_figure(figure, tmp_path / "explain.png")
    with Image.open(tmp_path / "explain.png") as saved:
        assert saved.size == (1800, pytest.approx(150 * figure.get_figheight(), abs=1))


def test_flip_average_is_said() -> None:
    explanation = explain_image(make("sprint"), image_of(make("sprint")))
    made = (explanation, replace(explanation, flip_average=True))
    words = ["mirror image" in " ".join(texts(draw_explanation(one, title="x"))) for one in made]
    assert words == [False, True]


def test_where_nothing_speaks_for_a_class_the_figure_says_so() -> None:
    predictor = make("sprint")
    explanation = explain_image(predictor, image_of(predictor))
    cold = replace(explanation.heats[0], heat=torch.zeros(28, 28))
    warm = replace(explanation.heats[0], heat=torch.eye(28))
    words = []
    for heat in (cold, warm):
        panel = draw_explanation(replace(explanation, heats=(heat,)), title="x").axes[2]
        words.append([text.get_text() for text in panel.texts])
    assert words == [["nothing does"], []]
    overlay = np.asarray(panel.images[1].get_array())
    assert overlay.shape == (28, 28, 4)
    assert np.array_equal(overlay[..., 3] > 0, np.eye(28, dtype=bool))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_hostile_names_are_drawn_as_they_are(suffix: str, tmp_path: Path) -> None:
    predictor = make("sprint", classes=HOSTILE, size=(28, 56), channels=3)
    explanation = explain_image(predictor, image_of(predictor), classes=HOSTILE)
    figure = draw_explanation(explanation, title="$a_{b$.png")
    written = texts(figure)
    for name in ("$x_1$", "$\\frac{", "a_b^{c}", "<b>&amp;", "two\N{REPLACEMENT CHARACTER}lines"):
        assert name in written
    assert written[0].startswith("$a_{b$.png: ")
    assert not any(text.get_parse_math() for text in figure.texts)
    save_figure(figure, tmp_path / f"figure{suffix}")  # warnings are errors here
    begin = (tmp_path / f"figure{suffix}").read_bytes()[:8]
    assert begin.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_no_text_leaves_the_page_or_meets_another() -> None:
    predictor = make("densenet121", classes=tuple(f"{name} {'very ' * 40}long" for name in "abcdefg"))
    explanation = explain_image(predictor, image_of(predictor), classes=predictor.spec.class_names)
    figure = draw_explanation(explanation, title="title " * 60)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert any(text.endswith("…") for text in texts(figure))
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart
    panels = [axes.get_window_extent(renderer) for axes in figure.axes]
    assert min(panel.y0 for panel in panels) > 0
    assert max(panel.x1 for panel in panels) <= figure.bbox.width


def test_a_channel_is_drawn_with_frames_where_they_are_parts(run: Path, images: Path) -> None:
    predictor = twofold.load(run, device="cpu")
    data = load_eval_images(str(images), predictor.spec, show_progress=False)
    own = ("my$.png", data.images.load(torch.tensor([5]))[0])
    view = explain_channel(predictor, Channel("features.3", 4), data, own=own, show=False)
    figure = draw_channel(view)
    assert len(figure.axes) == 10
    assert view.own is not None
    for axes, example in zip(figure.axes, (view.own, *view.examples), strict=True):
        assert np.array_equal(shown(axes), example.pixels[0].numpy())
        assert example.peak.box is not None
        top, bottom, left, right = example.peak.box
        frame: Any = axes.patches[-1]
        assert (frame.get_y(), frame.get_x()) == (top - 0.5, left - 0.5)
        assert (frame.get_height(), frame.get_width()) == (bottom - top, right - left)
    written = texts(figure)
    assert "my$.png" in written
    assert any("120 images of clothes" in text for text in written)
    whole = replace(view.examples[0], peak=replace(view.examples[0].peak, box=None, activation=0.0))
    figure = draw_channel(replace(view, examples=(whole,), own=None))
    assert len(figure.axes) == 1
    assert not figure.axes[0].patches
    assert "it is active in none of them" in texts(figure)
    assert "it is active in none of them" not in written


def test_docstring_examples() -> None:
    result = doctest.testmod(twofold.figures.page)
    assert result.attempted >= 4
    assert result.failed == 0


def test_a_colour_image_is_explained_in_colour(tmp_path: Path, image_folder: Path) -> None:
    colour = np.zeros((40, 60, 3), dtype=np.uint8)
    colour[10:30, 20:50] = (220, 40, 60)
    predictor = make("resnet18", channels=3)
    pixels = predictor.pixels(colour)
    save_figure(draw_explanation(explain_image(predictor, pixels), title="red"), tmp_path / "red.png")
    drawn = matplotlib.image.imread(tmp_path / "red.png")
    reds = np.all(np.abs(drawn[..., :3] - np.array([220, 40, 60]) / 255) < 0.01, axis=-1)
    assert reds.sum() > 5000
