"""Does reading and augmenting images slow down training? ResNet-18 at 96 px, against images that are in memory.

Claim: with augmentation, mixing and images read from shards, training reaches 95 % of the speed of `bare`. Each
recipe is trained by the engine's own step, in batches of 128, on photographs: JPEG files of 500 x 375 px as in data.py.

    bare       in memory as uint8, no augmentation: the speed of the network
    augmented  in memory; policy "d2l" (mirror, random resized crop, full colour jitter) and cutmix
    packed     the same, each image read from shards that `twofold data pack --size 96` wrote, checked and decoded
    folder     the same, each image decoded from its JPEG file and scaled

The four take turns of eight steps. The first two of a turn are not counted, while images are read ahead and memory is
allocated, nor is the first round.

    python benchmarks/fed.py
    python benchmarks/fed.py --compile             # everything through torch.compile, the network too
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import twofold
from common import print_conditions, spread
from data import make_folder
from twofold.data.sources.pack import PackOptions, pack_folder
from twofold.engine.build import build_training, load_training_data
from twofold.engine.step import train_step
from twofold.memory import freed_memory_is_kept

GOAL = 0.95
SIDE, BATCH = 96, 128
STEPS, NOT_COUNTED = 8, 2


class Trainer:
    """A recipe that is trained, an epoch at a time."""

    def __init__(self, recipe: twofold.Recipe, *, in_memory: bool) -> None:
        options = twofold.Options(show=False, memory_limit=None if in_memory else 0)
        shared = load_training_data(recipe, options, splits=("train",))
        assert shared.images.in_memory == in_memory
        self.training = build_training(recipe, shared)

    def images_per_second(self, epoch: int) -> float:
        """Return the speed of the steps that count."""
        steps_per_epoch = self.training.plan.steps_per_epoch
        for step, batches in enumerate(self.training.steps(epoch=epoch)):
            if step == NOT_COUNTED:
                start = time.perf_counter()
            result = train_step(self.training, batches, epoch=epoch, step=epoch * steps_per_epoch + step, lr=0.001)
        # Reading a value waits for a GPU.
        result.losses["loss"].item()
        return (steps_per_epoch - NOT_COUNTED) * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photographs", type=int, default=STEPS * BATCH)
    parser.add_argument("--compile", action="store_true", help="as twofold train --compile")
    arguments = parser.parse_args()
    print_conditions("ResNet-18 at 96 px: images read and augmented, against images in memory")
    with tempfile.TemporaryDirectory() as folder, freed_memory_is_kept():
        photos, packed = Path(folder) / "photos", Path(folder) / "packed"
        make_folder(photos, (500, 375), arguments.photographs)
        result = pack_folder(photos, packed, PackOptions(size=SIDE), show_progress=False)
        print(f"{result.num_images} photographs, packed to {result.num_bytes / result.num_images / 1000:.1f} kB each")
        bare = twofold.Recipe(
            model="resnet18",
            model_options={"stem": "paper"},
            data=str(packed),
            image_size=SIDE,
            batch_size=BATCH,
            val_fraction=0.0,
            augment="none",
            compile=arguments.compile,
            epochs=1,
        )
        everything = bare.override(augment="d2l", mix="cutmix")
        trainers = {
            "bare": Trainer(bare, in_memory=True),
            "augmented": Trainer(everything, in_memory=True),
            "packed": Trainer(everything, in_memory=False),
            "folder": Trainer(everything.override(data=str(photos)), in_memory=False),
        }
        speeds: dict[str, list[float]] = {name: [] for name in trainers}
        for number in range(arguments.rounds + 1):
            for name, trainer in trainers.items():
                speed = trainer.images_per_second(number)
                if number:
                    speeds[name].append(speed)
    for name, values in speeds.items():
        ratios = [mine / base for mine, base in zip(values, speeds["bare"], strict=True)]
        verdict = (
            f", goal {GOAL:g}: {'met' if statistics.median(ratios) >= GOAL else 'MISSED'}" if name == "packed" else ""
        )
        print(f"{name:<10} {spread(values)} images/s, of bare {spread(ratios, '.3f')}{verdict}")


if __name__ == "__main__":
    main()
