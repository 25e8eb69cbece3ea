"""Few images: does what the recipe chooses by their number keep up with the best batch size?

Claim: with 50 to 2,000 training images, the batch size, the epochs and the statistics of batch normalisation that a
recipe chooses when nothing is said are as accurate, within one spread over the seeds, as the best of batches of 8, 16
and 32 images with the same number of epochs. The row "fixed" is what would happen otherwise: batches of 128, 10 epochs.

Sets, all of which are drawn anew for each seed, with test images that are in no training set:

- fashion-50, fashion-200, fashion-2000: 5, 20 and 200 images a class of fashion-mini, for lenet-bn;
- photographs: 57 crops of each of five photographs, resized to 64 px, for ResNet-18; the training crops come from the
  left of a photograph and the test crops from the right. Needs a folder with at least five large photographs
  (`--photographs`; of Debian's mate-backgrounds, /usr/share/backgrounds/mate/nature), and is left out without it.

    python benchmarks/small_data.py                            # the sets of fashion-mini, a quarter of an hour
    python benchmarks/small_data.py --photographs /usr/share/backgrounds/mate/nature --seeds 3
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import twofold
from common import print_conditions
from twofold.data import class_labels, load_data
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe

BATCH_SIZES = (8, 16, 32)
QUIET = Options(show=False)
_LEFT, _RIGHT = (0.0, 0.6), (0.64, 1.0)  # what the crops of training and of testing may see of a photograph's width


def write_fashion(folder: Path, *, per_class: int, seed: int) -> None:
    """Write `per_class` training images and 100 test images of each class of fashion-mini."""
    data = load_data("fashion-mini", val_fraction=0.0, show_progress=False)
    assert data.test is not None
    generator = torch.Generator().manual_seed(seed)
    for split, images, count in (("train", data.train, per_class), ("test", data.test, 100)):
        for label in range(data.num_classes):
            inside = folder / split / f"class {label}"
            inside.mkdir(parents=True)
            of_class = (class_labels(images.targets) == label).nonzero().flatten()
            for index in of_class[torch.randperm(len(of_class), generator=generator)[:count]]:
                Image.fromarray(images.load(index[None])[0, 0].numpy()).save(inside / f"{int(index)}.png")


def write_crops(folder: Path, *, photographs: list[Path], seed: int) -> None:
    """Write 57 crops for training and 40 for testing of each photograph, 64 px a side."""
    dice = random.Random(seed)
    for path in photographs:
        photograph = Image.open(path).convert("RGB")
        width, height = photograph.size
        for split, count, (low, high) in (("train", 57, _LEFT), ("test", 40, _RIGHT)):
            inside = folder / split / path.stem
            inside.mkdir(parents=True)
            for index in range(count):
                side = dice.randint(100, min(400, int(0.3 * width), height))
                x, y = dice.randint(int(low * width), int(high * width) - side), dice.randint(0, height - side)
                crop = photograph.crop((x, y, x + side, y + side)).resize((64, 64))
                crop.save(inside / f"{index}.png")


def accuracy(folder: Path, out: Path, **settings: Any) -> tuple[float, Recipe]:
    """Train on the images in `folder`; return the accuracy on its test images, and the recipe with all it chose."""
    run = twofold.train(Recipe(data=str(folder), **settings), out=out, options=QUIET)
    assert run.accuracy is not None
    return run.accuracy, Recipe.load(run.folder / "recipe.json")


def compare(name: str, write: Callable[..., None], *, seeds: int, settings: dict[str, Any]) -> bool:
    """Print the rows of a set; tell whether what the recipe chooses is within one spread of the best batch size."""
    found: dict[str, list[float]] = {}
    chosen = Recipe()
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "images")
            write(folder, seed=seed)
            value, chosen = accuracy(folder, Path(temporary), seed=seed, **settings)
            found.setdefault("chosen", []).append(value)
            ways: dict[str, dict[str, Any]] = {f"{size}": {"batch_size": size} for size in BATCH_SIZES}
            for way, batch in ways.items():
                epochs = {"epochs": chosen.epochs}
                found.setdefault(way, []).append(
                    accuracy(folder, Path(temporary), seed=seed, **settings, **batch, **epochs)[0]
                )
            fixed = {"batch_size": 128, "epochs": 10, "measure_norm": False}
            found.setdefault("fixed", []).append(accuracy(folder, Path(temporary), seed=seed, **settings, **fixed)[0])
    best = max((str(size) for size in BATCH_SIZES), key=lambda way: statistics.median(found[way]))
    spread = max(found[best]) - min(found[best])
    holds = statistics.median(found["chosen"]) >= statistics.median(found[best]) - spread
    for way, values in found.items():
        batch = {"chosen": f"chosen: {chosen.batch_size}", "fixed": "fixed: 128, 10 epochs"}.get(way, way)
        print(
            f"| {name} | {batch} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |",
            flush=True,
        )
    print(f"| | | {chosen.epochs} epochs | {'within' if holds else 'NOT WITHIN'} one spread of the best |", flush=True)
    return holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--photographs", type=Path, help="a folder with five large photographs or more")
    parser.add_argument("--sets", nargs="+", help="only these")
    arguments = parser.parse_args()
    sets: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {}
    for per_class in (5, 20, 200):

        def write(folder: Path, *, seed: int, per_class: int = per_class) -> None:
            write_fashion(folder, per_class=per_class, seed=seed)

        sets[f"fashion-{10 * per_class}"] = write, {"model": "lenet-bn"}
    if arguments.photographs is not None:
        large = [path for path in sorted(arguments.photographs.glob("*.jpg")) if Image.open(path).width >= 1200][:5]

        def crops(folder: Path, *, seed: int) -> None:
            write_crops(folder, photographs=large, seed=seed)

        sets["photographs"] = crops, {"model": "resnet18", "image_size": 64}
    print_conditions("Few images: what the recipe chooses against fixed batch sizes")
    print("| set | batch size | test accuracy, median | least to largest |\n|---|---|---|---|")
    failed = [
        name
        for name, (write, settings) in sets.items()
        if (arguments.sets is None or name in arguments.sets)
        and not compare(name, write, seeds=arguments.seeds, settings=settings)
    ]
    print(f"\n{'holds on all' if not failed else 'does not hold on ' + ', '.join(failed)}")


if __name__ == "__main__":
    main()
