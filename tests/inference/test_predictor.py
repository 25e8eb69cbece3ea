"""A trained network takes images of every kind, and one bad image spoils no other."""

from __future__ import annotations

import io
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import twofold
from twofold import Recipe, TwofoldError
from twofold.engine.options import Options
from twofold.models.winograd import WinogradConv2d

BOOT = Path(__file__).parents[1] / "pictures" / "boot.png"


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


@pytest.fixture(scope="module")
def predictor(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> twofold.Predictor:
    """A network for grey images of 28 px."""
    recipe = Recipe(model="lenet-bn", data=str(image_folder), epochs=1, image_size=28, batch_size=16)
    return twofold.train(recipe, out=tmp_path_factory.mktemp("runs"), name="run", options=Options(show=False)).load()


def test_whatever_holds_the_same_image_gives_the_same_prediction(
    predictor: twofold.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor.predict(BOOT)
    shutil.copy(BOOT, tmp_path / "boot.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Image.open(BOOT) as image:
        grey = np.asarray(image.convert("L"))
        image.load()
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    forms = [
        "~/boot.png",
        Path("~/boot.png"),
        BOOT.read_bytes(),
        bytearray(BOOT.read_bytes()),
        memoryview(BOOT.read_bytes()),
        io.BytesIO(BOOT.read_bytes()),
        image,
        grey,
        opaque,
        torch.from_numpy(opaque.copy()).permute(2, 0, 1),
    ]
    assert predictor.predict_many(forms) == [expected] * len(forms)
    with BOOT.open("rb") as file:
        assert predictor.predict(file) == expected


@pytest.mark.parametrize("kind", ["array", "array with channels", "tensor"])
def test_an_array_of_a_batch_is_a_batch(kind: str, predictor: twofold.Predictor) -> None:
    generator = np.random.default_rng(0)
    batch = generator.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    images: Any = {
        "array": batch,
        "array with channels": batch[..., None],
        "tensor": torch.from_numpy(batch)[:, None],
    }[kind]
    assert predictor.predict_many(images) == [predictor.predict(image) for image in batch]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_one_bad_image_costs_the_others_of_its_batch_nothing(
    batch_size: int, predictor: twofold.Predictor, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    sources = [BOOT, tmp_path / "none.png", BOOT, b"", tmp_path / "text.png", BOOT]
    outcomes = list(predictor.predict_stream(sources, batch_size=batch_size))
    assert [source for source, _ in outcomes] == sources
    expected = predictor.predict(BOOT)
    bad = [outcome for _, outcome in outcomes if isinstance(outcome, TwofoldError)]
    assert [outcome for _, outcome in outcomes if outcome not in bad] == [expected] * 3
    assert [str(error).split(":")[0] for error in bad] == [
        str(tmp_path / "none.png"),
        "the image",
        str(tmp_path / "text.png"),
    ]
    with pytest.raises(TwofoldError, match=r"none\.png"):
        predictor.predict_many(sources)


def test_images_are_taken_as_they_are_needed(predictor: twofold.Predictor) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield BOOT

    stream = predictor.predict_stream(endless(), batch_size=4)
    assert len(list(itertools.islice(stream, 6))) == 6
    assert taken == 8


def test_a_folder_in_place_of_images_is_answered_with_the_call(predictor: twofold.Predictor, tmp_path: Path) -> None:
    shutil.copy(BOOT, tmp_path / "boot.png")
    with pytest.raises(TwofoldError, match="is a folder, not an image; give a list of images, such as s") as raised:
        predictor.predict(tmp_path)
    with pytest.raises(TwofoldError, match="several images are needed here, got .*; give a list of images"):
        predictor.predict_many(str(tmp_path))
    with pytest.raises(TwofoldError, match="several images are needed here"):
        next(predictor.predict_stream(str(tmp_path)))
    code = str(raised.value).partition("such as ")[2].partition(", to predict_many")[0]
    assert len(predictor.predict_many(eval(code, {"pathlib": __import__("pathlib")}))) == 1


def test_the_names_of_the_classes_are_at_hand(predictor: twofold.Predictor) -> None:
    assert predictor.class_names == predictor.spec.class_names
    assert predictor.thresholds == {}
    with pytest.raises(AttributeError, match="has no attribute 'labels'; it has answers, .*class_name, .*probability"):
        _ = predictor.predict(BOOT).labels
    assert not hasattr(predictor.predict(BOOT), "_repr_svg_")
