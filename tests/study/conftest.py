"""A small data set with test images, and a race on it that takes a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from twofold.study.race import RaceSettings


@pytest.fixture(scope="session")
def split_folder(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of clothes: 30 images each to train on, 10 to test."""
    folder = tmp_path_factory.mktemp("split") / "wardrobe"
    for kind in image_folder.iterdir():
        for index, picture in enumerate(sorted(kind.iterdir())):
            target = folder / ("train" if index < 30 else "test") / kind.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, target)
    return folder


@pytest.fixture(scope="session")
def small_settings(split_folder: Path) -> RaceSettings:
    """A race of two rules over two seeds."""
    return RaceSettings(
        optimizers=("sgd", "adam"),
        model="lenet-bn",
        data=str(split_folder),
        image_size=28,
        seeds=2,
        epochs=3,
        trials=3,
        trial_epochs=2,
        batch_size=16,
        val_fraction=0.2,
        device="cpu",
        threads=1,
    )
