"""Boxes drawn into images."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twofold.figures.labels
from twofold.figures.detections import draw_detections
from twofold.figures.drawing import save_figure


def drawn(path: Path, image: Image.Image, *objects: tuple) -> np.ndarray:
    save_figure(draw_detections(image, objects), path / "drawn.png")
    with Image.open(path / "drawn.png") as drawing:
        return np.asarray(drawing.convert("RGB")).astype(int)


def test_the_examples_of_places_hold() -> None:
    assert doctest.testmod(twofold.figures.labels).failed == 0


def test_a_box_lies_where_it_is_and_the_image_stays(tmp_path: Path) -> None:
    image = Image.new("L", (100, 50), 200)
    pixels = drawn(tmp_path, image, ("", None, (20.0, 10.0, 80.0, 40.0)))
    scale = 7  # 640 px at least
    assert pixels.shape == (50 * scale, 100 * scale, 3)
    coloured = np.abs(pixels[..., 0] - pixels[..., 2]) > 60
    rows, columns = np.nonzero(coloured[:, : 50 * scale])[0], np.nonzero(coloured[15 * scale :])[1]
    assert rows.min() == pytest.approx(10 * scale, abs=8)
    assert columns.min() == pytest.approx(20 * scale, abs=4)
    assert columns.max() == pytest.approx(80 * scale, abs=4)
    assert pixels[25 * scale, 50 * scale].tolist() == [200, 200, 200]


def test_a_large_image_keeps_its_pixels_and_a_huge_one_is_made_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    pixels = drawn(tmp_path, Image.fromarray(noise))
    assert np.array_equal(pixels, noise)
    assert drawn(tmp_path, Image.new("L", (5000, 20))).shape == (16, 4000, 3)


@pytest.mark.parametrize(
    "name", ["猫", "قطة", "<b>&amp;", "$\\frac{", "two\nlines", "\ud800", "w" * 300, "", "\u202egnp"]
)
def test_any_name_is_drawn(name: str, tmp_path: Path) -> None:
    pixels = drawn(tmp_path, Image.new("RGB", (640, 640), "white"), (name, 0.5, (300.0, 300.0, 400.0, 400.0)))
    # The ground of the name, above the box, stays in the image.
    assert (pixels[:290] != 255).any()


def test_names_of_boxes_that_lie_on_one_another_can_be_read() -> None:
    objects = [(f"thing {k}", 0.5, (100.0 + k, 100.0 + k, 300.0, 300.0)) for k in range(5)]
    figure = draw_detections(Image.new("L", (640, 640)), objects)
    figure.canvas.draw()
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(places) == 5
    assert not any(a.overlaps(b) for k, a in enumerate(places) for b in places[k + 1 :])


def test_boxes_outside_of_the_image_and_empty_ones_do_no_harm(tmp_path: Path) -> None:
    odd = [(-1e6, -5.0, 1e6, 5.0), (10.0, 10.0, 10.0, 10.0), (700.0, 700.0, 800.0, 800.0)]
    image = Image.new("L", (64, 64), 128)
    assert drawn(tmp_path, image, *[("odd", 0.1, box) for box in odd]).shape == (640, 640, 3)
