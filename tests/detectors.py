"""Small detectors and scenes, for tests of any room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import twofold
from twofold.data.spec import ModelSpec
from twofold.engine.options import Options

SCENES = "fashion-scenes?train=48&test=16&side=64"


def detector_spec(**changes: Any) -> ModelSpec:
    """The spec of a small ssd-mini for two classes and grey images of 64 px."""
    given: dict[str, Any] = {
        "task": "detect",
        "architecture": "ssd-mini",
        "architecture_options": {"width": 0.25},
        "channels": 1,
        "image_size": (64, 64),
        "class_names": ("cat", "dog"),
        "mean": (0.5,),
        "std": (0.5,),
        "resize": "stretch",
    }
    return ModelSpec(**given | changes)


@pytest.fixture(scope="session")
def detector_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a detector that has hardly begun to learn: below its threshold there is much to see."""
    recipe = twofold.Recipe(
        model="ssd-mini", model_options={"width": 0.25}, data=SCENES, epochs=1, batch_size=16, precision="float32"
    )
    out = tmp_path_factory.mktemp("detectors")
    return twofold.train(recipe, out=out, name="detector", options=Options(show=False)).folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three scenes as PNG files, of which one is wider than high."""
    from PIL import Image

    from twofold.data.sources.scenes import open_scenes

    folder = tmp_path_factory.mktemp("scenes")
    found = open_scenes(SCENES, show_progress=False)
    for index in range(3):
        pixels = found.splits["test"].load(torch.tensor([index]))[0, 0].numpy()
        image = Image.fromarray(pixels)
        (image if index else image.resize((128, 64))).save(folder / f"scene {index}.png")
    return folder
