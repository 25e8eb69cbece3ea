"""Does the data path keep the network fed? ResNet-18 at 96 px with everything on, against images that lie in memory.

The engine's steps (batches of 128) over photographs: crops of real pictures, JPEG files of 500 x 375 px as in data.py.

    bare       in memory as bytes, no augmentation: the speed of the network
    augmented  in memory; policy "d2l" (mirror, random resized crop, full colour jitter) and cutmix
    packed     the same, each image read from shards that `twofold data pack --size 96` wrote, checked and decoded
    folder     the same, each image decoded from its JPEG file and scaled

In each round every way does eight steps, in turns; the first two, while images are read ahead and memory is fetched, do
not count, nor does the first round. Goal: with everything on, from shards, no less than 95 % of the bare speed.

    python benchmarks/fed.py
    python benchmarks/fed.py --compile             # everything through torch.compile, the network too
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import twofold
from common import print_conditions, spread
from data import make_folder
from twofold.cli.memory import freed_memory_is_kept
from twofold.data import load_data
from twofold.data.sources.pack import PackOptions, pack_folder
from twofold.engine.batches import BatchPlan
from twofold.engine.loop import create_optimizer, feed, forward_backward, in_form, preprocessing_spec
from twofold.engine.prepare import BatchPreparation
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware

GOAL = 0.95
SIDE, BATCH = 96, 128
STEPS, NOT_COUNTED = 8, 2


class Way:
    """A recipe that trains, some steps at a time."""

    def __init__(self, recipe: twofold.Recipe, *, in_memory: bool) -> None:
        limit = None if in_memory else 0
        data = load_data(
            recipe.data, image_size=SIDE, val_fraction=0.0, memory_limit=limit, splits=("train",), show_progress=False
        )
        assert data.train.in_memory == in_memory
        self.images = data.train
        self.hardware = pick_hardware()
        spec = preprocessing_spec(recipe, data)
        torch.manual_seed(0)
        self.model = in_form(recipe, build_model(spec, self.hardware))
        self.optimizer = create_optimizer(recipe, self.model)
        self.prepare = BatchPreparation(recipe, spec, data.train, self.hardware)
        self.plan = BatchPlan(len(data.train), BATCH, 1, seed=0)
        self.loss = nn.CrossEntropyLoss()
        if recipe.compile:
            self.model.compile()

    def images_a_second(self, epoch: int) -> float:
        """Return the speed of the steps that count."""
        self.model.train()
        for number, step in enumerate(feed(self.plan, self.images, epoch=epoch, first_step=0)):
            if number == NOT_COUNTED:
                start = time.perf_counter()
            batches = [self.prepare(batch, epoch=epoch) for batch in step]
            forward_backward(self.model, self.loss, batches, self.hardware)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return (self.plan.steps_per_epoch - NOT_COUNTED) * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="as twofold train --compile")
    arguments = parser.parse_args()
    print_conditions("ResNet-18 at 96 px: everything on, against images in memory")
    with tempfile.TemporaryDirectory() as folder, freed_memory_is_kept():
        photos, packed = Path(folder) / "photos", Path(folder) / "packed"
        make_folder(photos, (500, 375), STEPS * BATCH)
        result = pack_folder(photos, packed, PackOptions(size=SIDE), show_progress=False)
        print(f"{result.num_images} photographs, packed to {result.num_bytes / result.num_images / 1000:.1f} kB each")
        bare = twofold.Recipe(
            model="resnet18", data=str(packed), image_size=SIDE, augment="none", compile=arguments.compile, epochs=1
        )
        everything = bare.override(augment="d2l", mix="cutmix")
        ways = {
            "bare": Way(bare, in_memory=True),
            "augmented": Way(everything, in_memory=True),
            "packed": Way(everything, in_memory=False),
            "folder": Way(everything.override(data=str(photos)), in_memory=False),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):
            for name, way in ways.items():
                speed = way.images_a_second(number)
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
