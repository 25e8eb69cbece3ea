"""What a detector says of an image, as Python and a notebook have it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

import twofold
from detectors import detector_run, scenes  # noqa: F401
from twofold import TwofoldError
from twofold.tasks.predictions import DetectionPrediction

FOUND = (
    ("cat", 0.9, (10.0, 5.0, 40.0, 25.0)),
    ("<script>alert(1)</script>猫", 0.6, (0.0, 0.0, 100.0, 50.0)),
    ("dog", 0.2, (50.0, 30.0, 60.0, 40.0)),
)
PREDICTION = DetectionPrediction((50, 100), FOUND, 0.5)


def test_fewer_or_more_objects_are_shown() -> None:
    assert len(PREDICTION.boxes) == 2
    assert PREDICTION.only(threshold=0.1).class_names[-1] == "dog"
    assert PREDICTION.only(top=1).probabilities == (0.9,)
    assert PREDICTION.only(threshold=0.95).to_line() == "no object"
    assert PREDICTION.only() == PREDICTION


def test_html_has_the_image_with_its_boxes_and_nothing_of_a_hostile_name() -> None:
    page = PREDICTION.beside(Image.new("L", (100, 50), 7))._repr_html_()
    assert page.startswith('<svg viewBox="0 0 100 50"')
    content = re.search(r"data:image/png;base64,([^\"]+)", page)
    assert content is not None
    with Image.open(io.BytesIO(base64.b64decode(content[1]))) as image:
        assert (image.size, image.getpixel((0, 0))) == ((100, 50), 7)
    assert page.count("<rect") == 2 * 2
    assert 'x="10.00" y="5.00" width="30.00" height="20.00"' in page
    assert "cat 90%" in page
    assert "<script" not in page
    assert "&lt;script" in page
    assert "<svg" not in PREDICTION._repr_html_()
    assert "&lt;script" in PREDICTION._repr_html_()


def test_a_large_image_is_kept_small_and_the_callers_own_stays() -> None:
    large = Image.new("RGB", (4000, 2000))
    kept = DetectionPrediction((2000, 4000), FOUND, 0.5).beside(large)
    assert kept.image is not None
    assert (kept.image.size, large.size) == ((800, 400), (4000, 2000))
    assert 'viewBox="0 0 4000 2000" width="800"' in kept._repr_html_()
    assert "data:image/jpeg" in kept._repr_html_()


def test_one_image_is_kept_and_many_are_not(detector_run: Path, scenes: Path) -> None:  # noqa: F811
    predictor = twofold.load(detector_run, device="cpu")
    path = scenes / "scene 0.png"
    alone, (among,) = predictor.predict(path), predictor.predict_many([path])
    assert isinstance(alone, DetectionPrediction)
    assert isinstance(among, DetectionPrediction)
    assert alone == among
    assert alone.image is not None
    assert alone.image.size == (128, 64)
    assert among.image is None

    figure = twofold.draw(alone.only(threshold=0.01, top=2))
    assert [len(axes.texts) for axes in figure.axes] == [2]
    assert twofold.draw(among, path).axes
    with pytest.raises(TwofoldError, match="give draw the image too"):
        twofold.draw(among)


def test_the_boxes_follow_an_image_of_another_size() -> None:
    figure = twofold.draw(PREDICTION.only(top=1), Image.new("L", (200, 100)))
    box = figure.axes[0].patches[-1].get_bbox()
    assert list(box.extents) == [20.0, 10.0, 80.0, 50.0]


def test_a_class_cannot_be_drawn() -> None:
    from twofold.tasks.predictions import ClassPrediction

    with pytest.raises(TwofoldError, match="draw takes what a detector says of an image"):
        twofold.draw(ClassPrediction((("cat", 0.9),)))
