"""What is said before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold import Recipe
from twofold.engine.build import build_training, load_training_data
from twofold.engine.options import Options


@pytest.mark.parametrize(("model", "expected"), [("lenet", True), ("lenet-bn", False)])
def test_a_network_of_sigmoids_is_said_to_begin_slowly(image_folder: Path, model: str, expected: bool) -> None:
    recipe = Recipe(model=model, data=str(image_folder), image_size=28, precision="float32")
    lines: list[str] = []
    build_training(recipe, load_training_data(recipe, Options(show=False)), log=lines.append)
    assert any("may hardly fall in its first epochs" in line for line in lines) == expected
