"""The figures of curvature and claims: readable names, one point a measurement, the same bytes each time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from twofold.figures.curvature import draw_claims, draw_curvature
from twofold.landscape.averaging import measure_memory
from twofold.landscape.gradient_noise import Variance
from twofold.landscape.hessian import Extremes

STEPS = (0, 10, 20, 30)


def curvature(path: Path) -> None:
    extremes = [Extremes(-1.0, 10.0 + step, 0.1, 0.2, 9) for step in STEPS]
    draw_curvature(STEPS, [2.0, 1.5, 1.0, 0.5], extremes, 40.0, path, title="lenet, η = 0.05")


def claims(path: Path) -> None:
    sizes = (1, 2, 4)
    variances = [Variance(size, 1.1 / size, 0.1 / size, 1 / size) for size in sizes]
    # The whole set without replacement has no variance, which has no place on a logarithmic axis.
    without = [*variances[:2], Variance(4, 0.0, 0.0, 0.0)]
    memories = [(decay, measure_memory("momentum", "velocity", "momentum", decay)) for decay in (0.5, 0.9)]
    draw_claims(variances, without, 4, [("gradient descent", 2.0, 2.0)], memories, path)


@pytest.mark.parametrize("draw", [curvature, claims])
def test_svg_is_deterministic(draw, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(tmp_path / name)
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
    assert not re.search(r"<dc:date>", text)
    assert not re.search(r"\bnan\b", text)


@pytest.mark.parametrize("draw", [curvature, claims])
def test_png_and_pdf_are_drawn(draw, tmp_path: Path) -> None:
    draw(tmp_path / "drawn.png")
    draw(tmp_path / "drawn.pdf")
    with Image.open(tmp_path / "drawn.png") as drawn:
        colours = drawn.convert("RGB").getcolors(maxcolors=1 << 20)
        assert drawn.width > 900
    assert colours is not None
    assert {(200, 85, 61), (47, 102, 144)} <= {colour for _, colour in colours}
    assert (tmp_path / "drawn.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn.pdf", "drawn.png"]
