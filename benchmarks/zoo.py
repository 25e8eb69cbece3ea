"""Every network of D2L on Fashion-MNIST: how long its small form takes to reach the accuracy that the book prints.

Claim: it reaches that accuracy sooner.
Peer: D2L's form in a plain torch loop: five epochs of Adam, on images enlarged to 224 or 96 px where the paper's stem
needs it. Its time is computed: five epochs of 60,000 images at the speed of a few steps, before and after ours.
Conditions: ours trains the same network on images of 28 px, with the small stem and, where it was made for a thousand
classes, a quarter or an eighth of its channels. Printed are the accuracy over the 10,000 test images (used once, at the
end; the curve is over 3,000 validation images), seconds of training, images per second, and peak memory. Every training
has its own process. Settings were chosen on the validation images.

    python benchmarks/zoo.py                                # all, half an hour on two cores
    python benchmarks/zoo.py lenet resnet18 --results zoo.json --figure docs/pictures/zoo.png

`--results` adds the measurements to a file, so that networks can be measured one at a time; the figure shows all of
them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import twofold
from common import ImageDataset, plain_torch, print_conditions
from twofold.data import load_data
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.recipes import named_recipe
from twofold.errors import check_known
from twofold.figures.drawing import new_figure, save_figure
from twofold.memory import freed_memory_is_kept
from twofold.models import create_model

BOOK_IMAGES = 5 * 60_000


@dataclass(frozen=True)
class Entry:
    """One network: D2L's recipe, the accuracy that the book prints for it, and our recipe."""

    d2l: str
    target: float
    ours: Recipe


def ours(model: str, *, epochs: int, lr: float = 0.1, width: float | None = None, **settings: Any) -> Recipe:
    return Recipe(
        model=model,
        model_options={} if width is None else {"stem": "small", "width": width},
        data="fashion-mnist",
        augment="flip",
        val_fraction=0.05,
        epochs=epochs,
        lr=lr,
        **{"optimizer": "sgd", "label_smoothing": 0.05, **settings},
    )


ENTRIES = {
    "lenet": Entry("book-lenet", 0.749, ours("lenet", epochs=2, optimizer="adam", lr=0.01, label_smoothing=0.0)),
    "lenet-bn": Entry("book-lenet-bn", 0.859, ours("lenet-bn", epochs=2)),
    "alexnet": Entry("book-alexnet", 0.902, ours("alexnet", epochs=5, width=0.25, optimizer="adamw", lr=0.001)),
    "vgg11": Entry("book-vgg11", 0.918, ours("vgg11", epochs=4, width=0.25, optimizer="adamw", lr=0.002)),
    "nin": Entry("book-nin", 0.831, ours("nin", epochs=2, width=0.125, optimizer="adamw", lr=0.003)),
    "googlenet": Entry("book-googlenet", 0.896, ours("googlenet", epochs=2, width=0.25)),
    "resnet18": Entry("book-resnet18", 0.926, ours("resnet18", epochs=4, width=0.25)),
    "densenet": Entry("book-densenet", 0.884, ours("densenet21", epochs=2, width=0.25)),
}


@dataclass(frozen=True)
class Result:
    """The measurements of one training of ours."""

    accuracy: float
    seconds: float
    images_per_second: float
    parameters: int
    megabytes: float
    curve: list[tuple[float, float]]


def train_ours(recipe: Recipe) -> Result:
    with tempfile.TemporaryDirectory() as folder, freed_memory_is_kept():  # as the command line does
        run = twofold.train(recipe, out=folder, options=Options(show=False))
        record = json.loads((run.folder / "run.json").read_text())
        lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert run.accuracy is not None
    return Result(
        accuracy=run.accuracy,
        seconds=record["train_seconds"],
        images_per_second=record["num_images"]["train"] * len(epochs) / record["train_seconds"],
        parameters=record["num_parameters"],
        megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        curve=[(line["seconds"], line["val_accuracy"]) for line in epochs],
    )


def d2l_speed(recipe: Recipe, steps: int) -> tuple[float, float]:
    """Return images per second of D2L's form in plain torch, and the process's peak memory in MB."""
    data = load_data("fashion-mnist", val_fraction=0.0, show_progress=False)
    images = ImageDataset(data.train.images, data.train.targets.labels, recipe.image_size)
    size = recipe.image_size or 28
    model = create_model(
        recipe.model, in_channels=1, num_classes=10, image_size=(size, size), options=recipe.model_options
    )
    trained = plain_torch(
        model,
        images,
        None,
        epochs=1,
        batch_size=recipe.batch_size,
        seed=0,
        num_workers=2,
        warmup_steps=2,
        max_steps=steps if size > 28 else 20 * steps,
    )
    return trained.images_per_second, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def draw(results: dict[str, Result], d2l_seconds: dict[str, float], path: Path) -> None:
    figure = new_figure(8.5, 2.1 * ((len(results) + 1) // 2))
    panels = figure.subplots((len(results) + 1) // 2, 2, squeeze=False).flat
    in_order = sorted(results.items(), key=lambda item: list(ENTRIES).index(item[0]))
    for axes, (name, result) in zip(panels, in_order, strict=False):
        target = ENTRIES[name].target
        seconds, accuracies = zip(*result.curve, strict=True)
        axes.axhline(target, color="0.55", linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(seconds, accuracies, color="#2f6690", marker=".", markersize=5)
        axes.plot([result.seconds], [result.accuracy], "D", color="#c8553d", markersize=5)
        axes.plot([d2l_seconds[name]], [target], "o", color="0.45", markersize=5)
        axes.set_xscale("log")
        axes.set_xlim(3, 30_000)
        axes.set_xticks([10, 100, 1000, 10_000], ["10", "100", "1,000", "10,000"])
        axes.minorticks_off()
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylim(min(0.7, *accuracies) - 0.02, 0.96)
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    panels = list(figure.axes)
    for axes in panels[len(results) :]:
        axes.remove()
    figure.supxlabel("seconds of training", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    figure.suptitle(
        "blue: ours on validation images · red: ours on the test images · grey: the book's, time computed",
        fontsize=9,
        x=0.02,
        ha="left",
    )
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(ENTRIES))
    parser.add_argument("--d2l-steps", type=int, default=5, help="steps of D2L's form to measure, each time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    for name in arguments.networks:
        check_known("network", name, ENTRIES)
    print_conditions(f"the networks of D2L on Fashion-MNIST, seed {arguments.seed}")
    print(
        f"{'network':<10} {'accuracy':>8} {'book':>6} {'seconds':>8} {'images/s':>8} {'parameters':>11} {'MB':>6}   "
        f"D2L's form: {'images/s':>15} {'seconds':>8} {'MB':>6}   {'times':>6}"
    )
    results: dict[str, Result] = {}
    d2l_seconds: dict[str, float] = {}
    if arguments.results is not None and arguments.results.exists():
        for name, kept in json.loads(arguments.results.read_text()).items():
            d2l_seconds[name] = kept.pop("d2l_seconds")
            results[name] = Result(**kept)
    for name in arguments.networks:
        entry = ENTRIES[name]
        d2l = named_recipe(entry.d2l)
        first = in_a_process(d2l_speed, d2l, arguments.d2l_steps)
        result: Result = in_a_process(train_ours, entry.ours.override(seed=arguments.seed))
        second = in_a_process(d2l_speed, d2l, arguments.d2l_steps)
        speed = statistics.mean([first[0], second[0]])
        results[name], d2l_seconds[name] = result, BOOK_IMAGES / speed
        verdict = "met" if result.accuracy >= entry.target and result.seconds < d2l_seconds[name] else "MISSED"
        print(
            f"{name:<10} {result.accuracy:>8.4f} {entry.target:>6.3f} {result.seconds:>8.1f} "
            f"{result.images_per_second:>8,.0f} {result.parameters:>11,} {result.megabytes:>6,.0f}   "
            f"{'':<11} {f'{first[0]:,.0f}, {second[0]:,.0f}':>15} {d2l_seconds[name]:>8,.0f} {first[1]:>6,.0f}   "
            f"{d2l_seconds[name] / result.seconds:>6.1f} {verdict}",
            flush=True,
        )
        if arguments.results is not None:
            kept = {name: asdict(each) | {"d2l_seconds": d2l_seconds[name]} for name, each in results.items()}
            arguments.results.write_text(json.dumps(kept, indent=1))
    if arguments.figure is not None:
        draw(results, d2l_seconds, arguments.figure)
        print(f"wrote {arguments.figure}")


if __name__ == "__main__":
    main()
