"""Training speed at equal accuracy: Twofold's engine against a plain torch loop, the same network, data and epochs.

Claim: the engine trains ResNet-18 at 96 px 1.9 times and LeNet 1.5 times as fast.
Peer: the loop that D2L and most tutorials have: a data set of Pillow images, Resize and ToTensor for each image in
DataLoader workers, float32, Adam at 0.001.
Conditions: Twofold trains the same recipe (network, batch size, optimiser, epochs, no augmentation) with its defaults:
images in memory, batches on the device, precision "auto", channels-last. For each seed the peer trains, then Twofold.
Seconds are those of training, without evaluation; the time of loading, resizing, evaluation and report is printed
separately.

    python benchmarks/throughput.py                       # ResNet-18 at 96 px on fashion-mini, LeNet on Fashion-MNIST
    python benchmarks/throughput.py --seeds 1 --models lenet
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass

from torch import nn

import twofold
from common import ImageDataset, Trained, plain_torch, print_conditions, spread
from twofold.data import load_data
from twofold.engine.options import Options
from twofold.memory import freed_memory_is_kept
from twofold.models import create_model


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One comparison: a network on a data set, and the ratio of speeds that is the goal."""

    data: str
    image_size: int | None
    epochs: int
    goal: float


SETTINGS = {
    "resnet18": Settings(data="fashion-mini", image_size=96, epochs=1, goal=1.9),
    "lenet": Settings(data="fashion-mnist", image_size=None, epochs=3, goal=1.5),
}


def train_twofold(recipe: twofold.Recipe) -> tuple[Trained, float]:
    """Return the result of Twofold's engine, and the seconds of all but training (loading, evaluation, report)."""
    with tempfile.TemporaryDirectory() as folder, freed_memory_is_kept():  # as the command line does
        start = time.perf_counter()
        run = twofold.train(recipe, out=folder, options=Options(show=False))
        record = json.loads((run.folder / "run.json").read_text())
        whole = time.perf_counter() - start
        assert recipe.batch_size is not None
        assert recipe.epochs is not None
        steps = record["num_images"]["train"] // recipe.batch_size * recipe.epochs
        seconds = record["train_seconds"]
        assert run.accuracy is not None
        return Trained(seconds, steps * recipe.batch_size / seconds, run.accuracy), whole - seconds


def compare(model: str, seeds: int, num_workers: int) -> None:
    """Train `model` both ways for each seed and print the comparison."""
    settings = SETTINGS[model]
    recipe = twofold.Recipe(
        model=model,
        data=settings.data,
        image_size=settings.image_size,
        model_options={"stem": "paper"} if model == "resnet18" else {},
        epochs=settings.epochs,
        batch_size=128,
        augment="none",
        val_fraction=0.0,
        optimizer="adam",
        schedule="constant",
    )
    assert recipe.batch_size is not None
    data = load_data(recipe.data, val_fraction=0.0, show_progress=False)
    assert data.test is not None
    size = recipe.image_size or data.spec.image_size[0]
    train, test = (
        ImageDataset(images.images, images.targets.labels, recipe.image_size) for images in (data.train, data.test)
    )

    def build() -> nn.Module:
        return create_model(model, in_channels=1, num_classes=10, image_size=(size, size))

    print(
        f"## {model} at {size} px, {recipe.data} ({len(train):,} images), batch {recipe.batch_size}, "
        f"{settings.epochs} epochs, {seeds} seeds, DataLoader with {num_workers} workers",
        flush=True,
    )
    plain_torch(build(), train, None, epochs=1, batch_size=128, seed=0, num_workers=num_workers, max_steps=5)  # warm-up
    peers, ours, others = [], [], []
    for seed in range(seeds):
        peer = plain_torch(
            build(),
            train,
            test,
            epochs=settings.epochs,
            batch_size=recipe.batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        mine, other = train_twofold(recipe.override(seed=seed))
        peers.append(peer)
        ours.append(mine)
        others.append(other)
        print(
            f"seed {seed}: plain {peer.images_per_second:,.1f} images/s, accuracy {peer.accuracy:.4f}; "
            f"twofold {mine.images_per_second:,.1f}, {mine.accuracy:.4f}",
            flush=True,
        )
    ratios = [mine.images_per_second / peer.images_per_second for mine, peer in zip(ours, peers, strict=True)]
    verdict = "met" if statistics.median(ratios) >= settings.goal else "MISSED"
    print(f"plain torch   {spread([peer.images_per_second for peer in peers])} images/s")
    print(f"twofold       {spread([mine.images_per_second for mine in ours])} images/s")
    print(f"ratio         {spread(ratios, '.2f')}, goal {settings.goal}: {verdict}")
    for name, results in (("plain", peers), ("twofold", ours)):
        print(f"accuracy      {name} {spread([result.accuracy for result in results], '.4f')}")
    print(f"all the rest  {spread(others)} s for loading, resizing, evaluation and report\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=sorted(SETTINGS), default=["resnet18", "lenet"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of the peer's DataLoader")
    arguments = parser.parse_args()
    print_conditions("Training throughput against a plain torch loop")
    for model in arguments.models:
        compare(model, arguments.seeds, arguments.workers)


if __name__ == "__main__":
    main()
