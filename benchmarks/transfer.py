"""Does fine-tuning help? The same network on few images: from scratch, fine-tuned, and with frozen features.

Claim: with 10 and with 50 images for each class, fine-tuning is better than training from scratch, for every seed.
Peers: the same network, with the same epochs and the settings of `twofold finetune`, three times:

- scratch: random weights, a learning rate ten times that of fine-tuning for the whole network;
- fine-tuned: the pretrained weights, a new head;
- frozen: the pretrained features unchanged, a new linear head.

Conditions: five classes of Fashion-MNIST (tops, trousers, pullovers, dresses, coats) to pretrain on; the other five
(sandals, shirts, trainers, bags, boots) to learn from 10, 50 and 250 images each. Every seed draws other images;
accuracy is over all 5,000 test images of the five classes.

    python benchmarks/transfer.py                        # five seeds
    python benchmarks/transfer.py --figure docs/pictures/transfer.png
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import twofold
from common import print_conditions
from twofold.data import Data, load_data
from twofold.engine.finetune import finetune_recipe
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.figures.drawing import new_figure, save_figure

FIRST, SECOND = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
WAYS = ("scratch", "frozen", "fine-tuned")
QUIET = Options(show=False)


def save(folder: Path, data: Data, classes: tuple[int, ...], *, train: int, test: int, seed: int) -> Path:
    """Write `train` and `test` images of each class as a folder to train on."""
    assert data.test is not None
    generator = torch.Generator().manual_seed(seed)
    for split, images, count in (("train", data.train, train), ("test", data.test, test)):
        for label in classes:
            inside = folder / split / data.class_names[label].replace("/", "-")
            inside.mkdir(parents=True)
            of_class = (images.targets.labels == label).nonzero().flatten()
            drawn: Tensor = of_class[torch.randperm(len(of_class), generator=generator)[:count]]
            for index in drawn:
                Image.fromarray(images.load(index[None])[0, 0].numpy()).save(inside / f"{int(index)}.png")
    return folder


def recipes(pretrained: Path, folder: Path, seed: int) -> dict[str, Recipe]:
    tuned = finetune_recipe(str(pretrained), data=str(folder)).override(
        data=str(folder), seed=seed, val_fraction=0.0, augment="flip-shift"
    )
    assert tuned.lr is not None
    return {
        "scratch": tuned.override(weights=None, weights_partial=(), lr_scale={}, lr=10 * tuned.lr),
        "frozen": tuned.override(freeze=3),
        "fine-tuned": tuned,
    }


def draw(found: dict[tuple[str, int], tuple[float, float, float]], sizes: list[int], path: Path) -> None:
    """Draw the mean, smallest and largest accuracy of each way and size, the ways next to each other."""
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for position, (way, colour, marker) in enumerate(
        zip(WAYS, ("#777777", "#2f6690", "#c8553d"), ("o", "s", "D"), strict=True)
    ):
        means, lows, highs = zip(*(found[way, size] for size in sizes), strict=True)
        below = [mean - low for mean, low in zip(means, lows, strict=True)]
        above = [high - mean for mean, high in zip(means, highs, strict=True)]
        at = [size * 1.05 ** (position - 1) for size in sizes]
        axes.errorbar(at, means, (below, above), color=colour, marker=marker, capsize=3, linewidth=1.2, label=way)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training images a class")
    axes.set_ylabel("test accuracy: mean, least and largest")
    axes.set_title("Five new classes of Fashion-MNIST", loc="left")
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 250])
    parser.add_argument("--model", default="sprint")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    print_conditions(f"fine-tuning {arguments.model} on five new classes, {arguments.seeds} seeds")
    data = load_data("fashion-mnist", val_fraction=0.0, show_progress=False)
    results: dict[tuple[str, int], list[float]] = {(way, size): [] for way in WAYS for size in arguments.sizes}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        first = save(root / "first", data, FIRST, train=6000, test=1000, seed=0)
        base = Recipe(model=arguments.model, data=str(first), augment="flip-shift", optimizer="sgd", lr=0.12, epochs=4)
        start = time.perf_counter()
        pretrained = twofold.train(base, out=root / "runs", name="pretrained", options=QUIET)
        print(
            f"pretrained on {len(FIRST)} classes in {time.perf_counter() - start:.0f} s, test accuracy "
            f"{pretrained.accuracy:.4f}\n",
            flush=True,
        )
        for size in arguments.sizes:
            for seed in range(arguments.seeds):
                folder = save(root / f"{size}-{seed}", data, SECOND, train=size, test=1000, seed=seed)
                for way, recipe in recipes(pretrained.folder, folder, seed).items():
                    run = twofold.train(recipe, out=root / "runs", options=QUIET)
                    assert run.accuracy is not None
                    results[way, size].append(run.accuracy)
            for way in WAYS:
                values = results[way, size]
                print(
                    f"{size:>4} images a class, {way:<11} mean {statistics.mean(values):.4f} "
                    f"({min(values):.4f} to {max(values):.4f})",
                    flush=True,
                )
            apart = min(results["fine-tuned", size]) > max(results["scratch", size])
            print(f"     fine-tuned and scratch {'do not overlap' if apart else 'OVERLAP'}\n", flush=True)
    if arguments.figure is not None:
        found = {key: (statistics.mean(values), min(values), max(values)) for key, values in results.items()}
        draw(found, arguments.sizes, arguments.figure)
        print(f"wrote {arguments.figure}")


if __name__ == "__main__":
    main()
