from __future__ import annotations

from pathlib import Path

import pytest

import twofold
from twofold import Recipe
from twofold.engine.options import Options
from twofold.models.winograd import WinogradConv2d


@pytest.mark.parametrize("winograd", [True, False])
def test_a_run_is_used_with_the_convolutions_that_its_recipe_asks_for(
    winograd: bool, image_folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe(
        model="resnet18",
        data=str(image_folder),
        epochs=1,
        batch_size=8,
        image_size=32,
        augment="none",
        winograd=winograd,
    )
    run = twofold.train(recipe, out=tmp_path, name="run", options=Options(show=False))
    used = any(isinstance(module, WinogradConv2d) for module in twofold.load(run.folder).model.modules())
    assert used == winograd
    # The spec inside the file of weights says so: no recipe is needed.
    best = twofold.load(run.folder / "checkpoints" / "best.safetensors").model
    assert any(isinstance(module, WinogradConv2d) for module in best.modules()) == winograd
