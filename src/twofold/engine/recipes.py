"""Named recipes: each a function that returns one frozen value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError, nearest
from twofold.models.registry import Option


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


def _book(model: str, what: str, *, image_size: int | None = None, width: float = 1.0) -> Callable[[], Recipe]:
    """Return a recipe of chapter 5, whose networks are all trained alike: Adam at 0.001, five epochs, nothing else.

    Larger images than the data's own go with the paper's stem.
    """
    options: dict[str, Option] = {} if image_size is None else {"stem": "paper"}
    if width != 1.0:
        options["width"] = width

    def book() -> Recipe:
        return Recipe(
            model=model,
            model_options=options,
            data="fashion-mnist",
            image_size=image_size,
            augment="none",
            val_fraction=0.0,
            optimizer="adam",
            lr=0.001,
            schedule="constant",
            epochs=5,
            batch_size=256,
        )

    size = "" if image_size is None else f", at {image_size} px"
    book.__doc__ = f"{what} as D2L trains it{size}."
    return book


RECIPES: dict[str, Callable[[], Recipe]] = {
    "book-alexnet": _book("alexnet", "AlexNet", image_size=224),
    "book-densenet": _book("densenet21", "The DenseNet of four blocks of four plain layers", image_size=96),
    "book-googlenet": _book("googlenet", "GoogLeNet", image_size=96),
    "book-lenet": _book("lenet", "LeNet (Adam at 0.001, five epochs of Fashion-MNIST, batches of 256)"),
    "book-lenet-bn": _book("lenet-bn", "LeNet with batch normalisation"),
    "book-nin": _book("nin", "NiN", image_size=224),
    "book-resnet18": _book("resnet18", "ResNet-18", image_size=96),
    "book-vgg11": _book("vgg11", "VGG-11 at an eighth of its width", image_size=224, width=0.125),
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
