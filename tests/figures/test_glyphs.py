"""Class names in any script, with a font that has their characters on the system and without."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from small_predictors import image_of, make
from twofold.figures import glyphs
from twofold.figures.drawing import new_figure, save_figure
from twofold.figures.explain import draw_explanation
from twofold.figures.glyphs import OWN_FONT, Legible, families
from twofold.interpret import explain_image

NAMES = ("猫", "café", "قطة", "🐈", "猫 dog 犬")
FAMILY = "Test of Cats"


def write_font(path: Path, characters: str) -> None:
    """Write a font in which each of the characters is a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(sign): "square" for sign in characters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": square})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": FAMILY, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture(params=["with such a font", "without"])
def has_font(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """A system with a font for 猫 and 犬, or without any but matplotlib's own."""
    installed = [font_manager.findfont(OWN_FONT)]
    if request.param == "with such a font":
        write_font(tmp_path / "cats.ttf", "猫犬")
        installed.append(str(tmp_path / "cats.ttf"))
        # A broken one among them does no harm.
        (tmp_path / "broken.ttf").write_bytes(b"no font")
        installed.append(str(tmp_path / "broken.ttf"))
    monkeypatch.setattr(glyphs, "find_fonts", lambda: installed)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    for cached in (glyphs._font_of, glyphs._system_fonts):
        cached.cache_clear()
    yield len(installed) > 1
    for cached in (glyphs._font_of, glyphs._system_fonts):
        cached.cache_clear()


def test_a_name_is_written_or_has_an_index(has_font: bool, capsys: pytest.CaptureFixture[str]) -> None:
    legible = Legible()
    written = [legible(name) for name in NAMES]
    if has_font:
        assert written == ["猫", "café", "قطة", "[1]", "猫 dog 犬"]
        assert families("猫") == [OWN_FONT, FAMILY]
    else:
        assert written == ["[1]", "café", "قطة", "[2]", "[1] dog [3]"]
        assert families(written[0]) == [OWN_FONT]
    legible.say()
    said = capsys.readouterr().err
    assert ("[1] 🐈;" if has_font else "[1] 猫, [2] 🐈, [3] 犬;") in said


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_saved_figure_has_every_name(
    has_font: bool, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.bar(range(len(NAMES)), 1)
    axes.set_xticks(range(len(NAMES)), NAMES)
    axes.set_title("猫 on two\nlines", weight="bold")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / f"figure.{kind}")
    labels = [label.get_text() for label in axes.get_xticklabels()]
    expected = ["猫", "café", "قطة", "[1]", "猫 dog 犬"] if has_font else ["[1]", "café", "قطة", "[2]", "[1] dog [3]"]
    assert labels == expected
    assert axes.get_title() == ("猫 on two\nlines" if has_font else "[1] on two\nlines")
    assert capsys.readouterr().err.count("\n") == 1


def test_the_figure_of_an_explanation_says_which_is_which(has_font: bool, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = make("lenet-bn", classes=("猫", "犬", "🐈"))
    explanation = explain_image(predictor, image_of(predictor))
    assert Legible()("🐈\u200d⬛ cat") == "[1] cat"  # one sign, joined of two
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_explanation(explanation, title="猫.png")
        canvas: Any = figure.canvas
        canvas.draw()
    words = " ".join(text.get_text() for text in figure.texts)
    assert ("猫.png" in words) == has_font
    said = capsys.readouterr().err
    assert ("猫" in said) != has_font
    assert "🐈" in said
    assert np.asarray(canvas.buffer_rgba()).min() < 255
