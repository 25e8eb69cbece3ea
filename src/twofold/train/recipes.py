"""Named recipes: each a function that returns one frozen value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twofold.errors import TwofoldError, nearest
from twofold.train.recipe import Recipe


def demo() -> Recipe:
    """A small network on the embedded images: what `make demo` runs, under a minute on two cores."""
    return Recipe(
        model="sprint",
        data="fashion-mini",
        augment="flip-shift",
        label_smoothing=0.1,
        optimizer="sgd",
        lr=0.1,
        warmup=0.2,
        epochs=8,
        batch_size=64,
    )


def book_lenet() -> Recipe:
    """LeNet as the book trains it: Adam at 0.001, five epochs of Fashion-MNIST, batches of 256, nothing else."""
    return _book(model="lenet", batch_size=256)


def book_resnet18() -> Recipe:
    """ResNet-18 as the book trains it: Adam at 0.001, five epochs of Fashion-MNIST at 96 px, batches of 256."""
    return _book(model="resnet18", batch_size=256).override(image_size=96, model_options={"stem": "paper"})


def _book(*, model: str, batch_size: int) -> Recipe:
    return Recipe(
        model=model,
        data="fashion-mnist",
        augment="none",
        val_fraction=0.0,
        optimizer="adam",
        lr=0.001,
        schedule="constant",
        epochs=5,
        batch_size=batch_size,
    )


def speedrun() -> Recipe:
    """Fashion-MNIST in under two minutes on two cores: the recipe of `benchmarks/speedrun.py`."""
    return Recipe(
        model="sprint",
        data="fashion-mnist",
        augment="flip",
        flip_average=True,
        val_fraction=0.0,
        label_smoothing=0.05,
        optimizer="sgd",
        lr=0.12,
        weight_decay=0.0005,
        schedule="one-cycle",
        warmup=0.2,
        epochs=5,
        batch_size=128,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "book-lenet": book_lenet,
    "book-resnet18": book_resnet18,
    "demo": demo,
    "speedrun": speedrun,
}


def named_recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises:
        TwofoldError: there is none; the message has the nearest names.
    """
    if name not in RECIPES:
        raise TwofoldError(f"unknown recipe {name!r}: {nearest(name, RECIPES)}; or give a .json file")
    return RECIPES[name]()


def find_recipe(name_or_file: str) -> Recipe:
    """Return the recipe in a .json file, or the named one."""
    if name_or_file.endswith(".json"):
        return Recipe.load(Path(name_or_file))
    return named_recipe(name_or_file)
