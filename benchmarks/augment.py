"""Augmentation speed, images per second: whole batches against one image at a time, and against other batches.

Claims:

1. small: 28 px grey images, flip, shifted crop by up to 2 px, normalised: 25 times as fast as torchvision's v2.
2. photo: 256 px photographs to 224 px: flip, random resized crop (scale 0.08..1, ratio 3/4..4/3), jitter of brightness,
   contrast, saturation and hue (0.4, 0.4, 0.4, 0.1), to float and normalised: 5 times as fast as torchvision's v2, 8
   times as fast as kornia's batches, faster than albumentations.

Peers: torchvision, kornia, albumentations; those that are not installed are named and left out. Those that take one
image at a time are measured in a plain loop and in as many threads as there are cores; the faster one counts.
Conditions: all get the same images and ranges, and draw their own parameters within the time measured. Each has its own
process, so that threads of one do not slow down another. They take turns of a tenth of a second, or one batch if that
takes longer; the first round is not counted. Ours runs photographs with and without `--compile`; the faster one counts.

Before that, our pixels are compared with torchvision's for the same parameters.

    python benchmarks/augment.py                      # three minutes on two cores
    python benchmarks/augment.py --only small --rounds 50
    python benchmarks/augment.py --device cuda        # ours, torchvision's and kornia's on the GPU
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection

import matplotlib.cbook
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from common import print_conditions
from twofold.augment import Augmentation, ColourJitter, Compose, Flip, FlipCrop, ResizedCrop
from twofold.augment.jitter import PROPERTIES
from twofold.data import normalise
from twofold.data.normalising import channels_last
from twofold.memory import freed_memory_is_kept

SMALL_MEAN, SMALL_STD = (0.2860,), (0.3530,)
PHOTO_MEAN, PHOTO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
TITLES = {
    "small": "28 px, flip, shifted crop, normalise",
    "photo": "256 to 224 px, flip, random resized crop, colour jitter, normalise",
}
GOALS = {
    "small": {"torchvision v2": 25.0},
    "photo": {"torchvision v2": 5.0, "torchvision v2 on Pillow": 5.0, "kornia": 8.0, "albumentations": 1.0},
}
# Seconds of a turn: several small batches in a row, as in training.
TURN = 0.1
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Contender:
    """A name, the function that does one batch, and the group of contenders of which the fastest counts."""

    name: str
    run: Callable[[], object]
    group: str


def small_images(batch: int) -> Tensor:
    """Return grey images of 28 px."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, 1, 28, 28), generator=generator, dtype=torch.uint8)


def photographs(batch: int) -> Tensor:
    """Return squares of 256 px cut out of a photograph that matplotlib contains."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photograph = v2.functional.pil_to_tensor(Image.open(file).convert("RGB"))
    generator = torch.Generator().manual_seed(0)
    tops = torch.randint(0, photograph.shape[1] - 256, (batch,), generator=generator).tolist()
    lefts = torch.randint(0, photograph.shape[2] - 256, (batch,), generator=generator).tolist()
    squares = [photograph[:, y : y + 256, x : x + 256] for y, x in zip(tops, lefts, strict=True)]
    return torch.stack(squares)


def ours(
    augmentation: Augmentation,
    images: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    compiled: bool = False,
) -> Callable[[], Tensor]:
    """Return what the engine does with a batch."""
    augmentation = augmentation.compiled() if compiled else augmentation
    epochs = count()
    indices = torch.arange(len(images), device=images.device)

    def run() -> Tensor:
        drawn = augmentation.draw(seed=0, epoch=next(epochs), indices=indices)
        return normalise(channels_last(augmentation.apply(images, drawn)), mean, std, compiled=compiled)

    return run


def one_by_one(
    name: str, transform: Callable[[object], object], images: list[object], pool: ThreadPoolExecutor | None
) -> list[Contender]:
    """Return a transform of single images in a loop, and in threads where there is a pool."""

    def loop() -> Tensor:
        return torch.stack([torch.as_tensor(transform(image)) for image in images])

    def threads() -> Tensor:
        assert pool is not None
        return torch.stack([torch.as_tensor(result) for result in pool.map(transform, images)])

    contenders = [Contender(f"{name}, loop", loop, name)]
    return contenders if pool is None else [*contenders, Contender(f"{name}, threads", threads, name)]


def small_contenders(images: Tensor, pool: ThreadPoolExecutor | None) -> list[Contender]:
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomCrop(28, padding=2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(SMALL_MEAN, SMALL_STD),
        ]
    )
    batch = ours(FlipCrop(padding=2), images, SMALL_MEAN, SMALL_STD)
    return [Contender("twofold", batch, "twofold"), *one_by_one("torchvision v2", transform, list(images), pool)]


def photo_augmentation() -> Compose:
    return Compose([Flip(), ResizedCrop((256, 256), size=(224, 224), scale=SCALE, ratio=RATIO), ColourJitter(**JITTER)])


def photo_contenders(images: Tensor, pool: ThreadPoolExecutor | None) -> list[Contender]:
    steps = [v2.RandomHorizontalFlip(), v2.RandomResizedCrop(224, SCALE, RATIO), v2.ColorJitter(**JITTER)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(PHOTO_MEAN, PHOTO_STD)]
    contenders = [
        Contender(name, ours(photo_augmentation(), images, PHOTO_MEAN, PHOTO_STD, compiled=compiled), "twofold")
        for name, compiled in (("twofold", False), ("twofold, compiled", True))
    ]
    contenders += one_by_one("torchvision v2", v2.Compose([*steps, *last]), list(images), pool)
    if images.device.type == "cpu":
        arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]
        pillow_images: list[object] = [Image.fromarray(array) for array in arrays]
        pillow = v2.Compose([*steps, v2.ToImage(), *last])
        contenders += one_by_one("torchvision v2 on Pillow", pillow, pillow_images, pool)
        contenders += albumentations_contenders(arrays, pool)
    return contenders + kornia_contenders(images)


def albumentations_contenders(arrays: list[np.ndarray], pool: ThreadPoolExecutor | None) -> list[Contender]:
    if importlib.util.find_spec("albumentations") is None:
        return []
    import albumentations
    import cv2

    # The pool's threads would compete with OpenCV's own.
    cv2.setNumThreads(0 if pool else -1)
    transform = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.RandomResizedCrop(size=(224, 224), scale=SCALE, ratio=RATIO),
            albumentations.ColorJitter(
                brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4), hue=(-0.1, 0.1), p=1.0
            ),
            albumentations.Normalize(PHOTO_MEAN, PHOTO_STD),
        ]
    )

    def one(array: object) -> Tensor:
        return torch.from_numpy(transform(image=array)["image"]).permute(2, 0, 1)

    return one_by_one("albumentations", one, list(arrays), pool)


def kornia_contenders(images: Tensor) -> list[Contender]:
    if importlib.util.find_spec("kornia") is None:
        return []
    import kornia.augmentation as kornia

    transform = torch.nn.Sequential(
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.RandomResizedCrop((224, 224), scale=SCALE, ratio=RATIO),
        kornia.ColorJitter(**JITTER, p=1.0),
        kornia.Normalize(torch.tensor(PHOTO_MEAN), torch.tensor(PHOTO_STD)),
    ).to(images.device)
    return [Contender("kornia", lambda: transform(images.float() / 255), "kornia")]


def check_pixels(images: Tensor) -> str:
    """Compare our pixels of photographs with torchvision's for the same parameters; return the differences as text."""
    augmentation = photo_augmentation()
    drawn = augmentation.draw(seed=0, epoch=0, indices=torch.arange(len(images), device=images.device))
    result = augmentation.apply(images, drawn)
    same = "the same" if torch.equal(augmentation.compiled().apply(images, drawn), result) else "NOT the same"
    flip, crop, jitter = drawn.parts
    largest, several, pixels = 0, 0, 0
    for i, image in enumerate(images):
        part = [int(getattr(crop, name)[i]) for name in ("top", "left", "height", "width")]
        expected = v2.functional.horizontal_flip(image) if flip.horizontal[i] else image
        expected = v2.functional.resized_crop(expected, *part, [224, 224])
        for which in jitter.order[i].tolist():
            change = getattr(v2.functional, f"adjust_{PROPERTIES[which]}")
            expected = change(expected, float(getattr(jitter, PROPERTIES[which])[i]))
        difference = (result[i].int() - expected.int()).abs()
        largest = max(largest, int(difference.max()))
        several += int((difference > 1).sum())
        pixels += difference.numel()
    differ = f"largest difference {largest} of 255, {several / pixels:.5%} of the values by more than 1"
    return f"{differ}; compiled {same} pixels as not"


def images_per_second(contender: Contender, batch: int) -> float:
    """Return the speed over as many batches as take `TURN` seconds, at least one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start, images = time.perf_counter(), 0
    while True:
        contender.run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        images += batch
        taken = time.perf_counter() - start
        if taken >= TURN:
            return images / taken


def compete(connection: Connection, race: str, device: str, batch: int, name: str) -> None:
    """Run one contender in its own process: answer each message with the speed of a turn, until None comes."""
    images, contenders = entrants(race, torch.device(device), batch)
    contender = next(each for each in contenders if each.name == name)
    # Ours only, as in training.
    with freed_memory_is_kept() if contender.group == "twofold" else nullcontext():
        while connection.recv() is not None:
            connection.send(images_per_second(contender, len(images)))


def entrants(race: str, device: torch.device, batch: int) -> tuple[Tensor, list[Contender]]:
    """Return the images of a race and its contenders."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads) if device.type == "cpu" and threads > 1 else None
    if race == "small":
        images = small_images(batch).to(device)
        return images, small_contenders(images, pool)
    images = photographs(min(64, batch)).to(device)
    return images, photo_contenders(images, pool)


def run_race(race: str, device: torch.device, batch: int, rounds: int, goals: dict[str, float]) -> None:
    """Let the contenders take turns and print a table."""
    images, contenders = entrants(race, device, batch)
    if race == "photo":
        # Printed here, since every process makes the contenders.
        for peer in ("albumentations", "kornia"):
            if importlib.util.find_spec(peer) is None:
                print(f"left out: {peer} is not installed")
        print(f"pixels   against torchvision's for the same parameters: {check_pixels(images)}")
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    processes = []
    for contender in contenders:
        lines[contender.name], theirs = context.Pipe()
        task = (theirs, race, str(device), batch, contender.name)
        processes.append(context.Process(target=compete, args=task, daemon=True))
        processes[-1].start()
    speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        for name, line in lines.items():
            line.send("go")
            speed = line.recv()
            if number:
                speeds[name].append(speed)
    for line in lines.values():
        line.send(None)
    for process in processes:
        process.join()
    medians = {name: statistics.median(each) for name, each in speeds.items()}
    best = {
        group: max(medians[other.name] for other in contenders if other.group == group)
        for group in {contender.group for contender in contenders}
    }
    print(f"## {TITLES[race]}, batch {len(images)}, {rounds} alternating rounds")
    ours_by_name = [contender.name for contender in contenders if contender.group == "twofold"]
    print(f"{'':<34} {'median images/s':>16} {'spread':>22} {'ours is':>14}  goal")
    for contender in contenders:
        name, group = contender.name, contender.group
        spread = f"{min(speeds[name]):,.0f} to {max(speeds[name]):,.0f}"
        ratio = goal = ""
        if group != "twofold" and medians[name] == best[group]:
            times = [medians[own] / medians[name] for own in ours_by_name]
            ratio = ", ".join(f"{each:.1f} ×" for each in times)
            if group in goals:
                goal = f"{goals[group]:g} × {'met' if max(times) >= goals[group] else 'MISSED'}"
        print(f"{name:<34} {medians[name]:>16,.0f} {spread:>22} {ratio:>14}  {goal}")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(TITLES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    arguments = parser.parse_args()
    print_conditions(f"Augmentation on {arguments.device}")
    for race in (arguments.only,) if arguments.only else TITLES:
        run_race(race, torch.device(arguments.device), arguments.batch, arguments.rounds, GOALS[race])


if __name__ == "__main__":
    main()
