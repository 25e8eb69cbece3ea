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


def book_lenet() -> Recipe:
    """LeNet as the book trains it: Adam at 0.001, five epochs of Fashion-MNIST, batches of 256, nothing else."""
    return _book("lenet")


def book_lenet_bn() -> Recipe:
    """LeNet with batch normalisation in the book's training."""
    return _book("lenet-bn")


def book_alexnet() -> Recipe:
    """AlexNet in the book's training, at 224 px."""
    return _book("alexnet", image_size=224)


def book_vgg11() -> Recipe:
    """VGG-11 at an eighth of its width in the book's training, at 224 px."""
    return _book("vgg11", image_size=224, width=0.125)


def book_nin() -> Recipe:
    """NiN in the book's training, at 224 px."""
    return _book("nin", image_size=224)


def book_googlenet() -> Recipe:
    """GoogLeNet in the book's training, at 96 px."""
    return _book("googlenet", image_size=96)


def book_resnet18() -> Recipe:
    """ResNet-18 in the book's training, at 96 px."""
    return _book("resnet18", image_size=96)


def book_densenet() -> Recipe:
    """D2L's DenseNet, four blocks of four plain layers, in the book's training, at 96 px."""
    return _book("densenet21", image_size=96)


def _book(model: str, *, image_size: int | None = None, width: float = 1.0) -> Recipe:
    """The networks of chapter 5, all trained alike. Larger images than the data's own go with the paper's stem."""
    options: dict[str, Option] = {} if image_size is None else {"stem": "paper"}
    if width != 1.0:
        options["width"] = width
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
    "book-alexnet": book_alexnet,
    "book-densenet": book_densenet,
    "book-googlenet": book_googlenet,
    "book-lenet": book_lenet,
    "book-lenet-bn": book_lenet_bn,
    "book-nin": book_nin,
    "book-resnet18": book_resnet18,
    "book-vgg11": book_vgg11,
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
