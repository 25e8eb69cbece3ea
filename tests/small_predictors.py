"""Small networks with random weights, and a run whose class names may trouble a figure: for tests of any room."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import twofold
import twofold.figures.explain
from twofold.data import normalise
from twofold.data.spec import ModelSpec
from twofold.engine.options import Options
from twofold.inference.hardware import Hardware
from twofold.inference.torch_predictor import TorchPredictor
from twofold.models import create_model
from twofold.models.network import Network

FAMILIES = ("lenet", "lenet-bn", "alexnet", "vgg11-bn", "nin", "googlenet", "resnet18", "resnet50", "densenet121",
            "sprint")  # fmt: skip
HOSTILE = ("$x_1$", "$\\frac{", "a_b^{c}", "衣服", "two\nlines", "<b>&amp;", "\ud800", "w" * 300)
_CPU = Hardware(torch.device("cpu"), "cpu", "float32", "as asked for")


def make(
    name: str = "resnet18",
    *,
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    classes: tuple[str, ...] = ("bag", "boot", "shirt"),
    flip_average: bool = False,
    **options: Any,
) -> TorchPredictor:
    """A network with random weights, made small, ready to predict."""
    if name not in {"lenet", "lenet-bn"}:
        options = {"width": 0.125, **options}
    if name not in {"lenet", "lenet-bn", "sprint"}:
        options = {"stem": "small", **options}
    torch.manual_seed(0)
    model = create_model(name, in_channels=channels, num_classes=len(classes), image_size=size, options=options)
    spec = ModelSpec.model_construct(
        architecture=name,
        architecture_options=options,
        class_names=classes,
        channels=channels,
        image_size=size,
        resize="crop",
        convert_colour=False,
        mean=(0.4,) * channels,
        std=(0.3,) * channels,
        flip_average=flip_average,
    )
    return TorchPredictor(model, spec, _CPU)


def image_of(predictor: TorchPredictor, seed: int = 0) -> Tensor:
    spec = predictor.spec
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (spec.channels, *spec.image_size), dtype=torch.uint8, generator=generator)


def network_of(predictor: TorchPredictor) -> Network:
    assert isinstance(predictor.model, Network)
    return predictor.model


def inputs_of(predictor: TorchPredictor, pixels: Tensor) -> Tensor:
    return normalise(pixels[None], predictor.spec.mean, predictor.spec.std)


@pytest.fixture(scope="session")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the folder of real images, its classes renamed to what may trouble a figure."""
    folder = tmp_path_factory.mktemp("hostile") / "clothes"
    for old, new in zip(sorted(image_folder.iterdir()), ("$bag_1", "boot$^{", "shirt"), strict=True):
        shutil.copytree(old, folder / new)
    recipe = twofold.Recipe(
        model="lenet-bn", data=str(folder), epochs=1, image_size=28, batch_size=32, precision="float32"
    )
    out = tmp_path_factory.mktemp("runs")
    return twofold.train(recipe, out=out, name="run", options=Options(show=False)).folder


@pytest.fixture(scope="session")
def images(run: Path) -> Path:
    """The folder that `run` was trained on."""
    return Path(twofold.Recipe.load(run / "recipe.json").data)


@pytest.fixture(scope="session")
def boot(images: Path) -> Path:
    """One of its images."""
    return sorted((images / "boot$^{").iterdir())[0]
