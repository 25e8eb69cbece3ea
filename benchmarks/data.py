"""JPEG photographs to normalised 224 px batches: files and packed shards against torchvision's ImageFolder.

Claim: packed images are read 3 times (500 × 375 px) and 8 times (3000 × 2000 px) as fast.
Peers: ImageFolder, and WebDataset where it is installed.
Conditions: the photographs are crops of those that matplotlib (and scikit-image and scikit-learn, where installed)
contain, saved as JPEG. All readers do the same: shorter side to 224, centre crop, float32, normalised, batches of 64 in
a random order. In each round each reader runs once, so that other load on the machine affects all of them; the first
round is not counted. Before each reader, "cold" drops the files from the system's cache; "warm" does not.

    ImageFolder   torchvision's ImageFolder, Resize, CenterCrop, ToTensor, Normalize in DataLoader processes
    webdataset    WebDataset reading the same packed shards
    files         twofold, from the folder
    packed        twofold, from the folder packed once by `twofold data pack` (its time is printed)
    packed 224    the same, packed with `--size 224`, the size of these batches
    raw 224       the same, packed with `--size 224 --store raw`: without compression

The limits are printed as well: only decoding the files and the packed records in threads, and only copying batches of
uint8 in memory.

    python benchmarks/data.py
    python benchmarks/data.py --sizes 500x375 --images 128 --rounds 3
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from common import print_conditions, spread
from twofold.data import Images, PixelSpec, normalise, open_image, prefetch
from twofold.data.parallel import num_workers
from twofold.data.sources.folder import open_folder
from twofold.data.sources.pack import PackOptions, pack_folder
from twofold.data.sources.packed import PackedPart, open_packed
from twofold.keyed import derive_key, permutation
from twofold.memory import freed_memory_is_kept

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPEC = PixelSpec(channels=3, image_size=(224, 224))
BATCH = 64
GOALS = {"500x375": 3.0, "3000x2000": 8.0}


def photographs() -> list[Image.Image]:
    """Return the photographs that installed packages contain."""
    folders = [Path(get_data_path()) / "sample_data"]
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folders.append(Path(spec.origin).parent / folder)
    paths = [path for folder in folders for path in sorted(folder.glob("*")) if path.suffix in (".jpg", ".png")]
    images = [open_image(path).convert("RGB") for path in paths]
    return [image for image in images if min(image.size) >= 300]


def make_folder(root: Path, size: tuple[int, int], num_images: int) -> None:
    """Write crops of photographs as JPEG files of `size` (width, height) in two classes."""
    originals = photographs()
    rng = np.random.default_rng(0)
    for number in range(num_images):
        folder = root / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        share = rng.uniform(0.6, 1.0)
        scale = share * min(original.width / size[0], original.height / size[1])
        width, height = size[0] * scale, size[1] * scale
        left, top = rng.uniform(0, original.width - width), rng.uniform(0, original.height - height)
        crop = original.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        crop.save(folder / f"{number:05d}.jpg", quality=90)


def forget(root: Path) -> None:
    """Drop the files of a folder from the system's cache."""
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def image_folder(root: Path, workers: int) -> Iterator[torch.Tensor]:
    steps = [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    loader = DataLoader(ImageFolder(str(root), transforms.Compose(steps)), BATCH, shuffle=True, num_workers=workers)
    for images, _ in loader:
        yield images


def web_dataset(packed: Path, workers: int) -> Iterator[torch.Tensor]:
    import webdataset  # pyright: ignore[reportMissingImports] - a peer, only where it is installed

    steps = [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    shards = sorted(map(str, packed.glob("all-*.tar")))
    dataset = webdataset.WebDataset(shards, shardshuffle=100).shuffle(1000).decode("pil").to_tuple("jpg;png;webp")
    composed = transforms.Compose(steps)
    dataset = dataset.map(lambda sample: composed(sample[0].convert("RGB")))
    yield from DataLoader(dataset, BATCH, num_workers=min(workers, len(shards)))


def twofold_batches(images: Images) -> Iterator[torch.Tensor]:
    order = permutation(derive_key(0, "order"), len(images)).split(BATCH)
    with freed_memory_is_kept():  # as in training
        for pixels in prefetch(order, images):
            yield normalise(pixels, MEAN, STD)


def rate(batches: Callable[[], Iterator[torch.Tensor]], num_images: int) -> float:
    """Return images per second of one pass, from the call to the last batch."""
    start = time.perf_counter()
    seen = sum(len(batch) for batch in batches())
    seconds = time.perf_counter() - start
    assert seen == num_images, (seen, num_images)
    return num_images / seconds


def decode_rate(contents: list[bytes], workers: int) -> float:
    """Return images per second of decoding alone."""
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(open_image, contents))
    return len(contents) / (time.perf_counter() - start)


def copy_rate(rounds: int = 20) -> float:
    """Return uint8 images of 224 px per second that are copied in memory."""
    batch = torch.zeros(BATCH, 3, 224, 224, dtype=torch.uint8)
    target = torch.empty_like(batch)
    start = time.perf_counter()
    for _ in range(rounds):
        target.copy_(batch)
    return rounds * BATCH / (time.perf_counter() - start)


def make_packs(root: Path, folder: Path) -> dict[str, PackedPart]:
    """Pack the photographs at their own size, at the size that is needed, and at that size without compression."""
    packs = {}
    options: dict[str, dict[str, Any]] = {
        "packed": {},
        "packed 224": {"size": 224},
        "raw 224": {"size": 224, "store": "raw"},
    }
    for name, settings in options.items():
        start = time.perf_counter()
        result = pack_folder(root, folder / name, PackOptions(**settings, shard_bytes=16_000_000), show_progress=False)
        seconds = time.perf_counter() - start
        speed = f"{seconds:.1f} s ({result.num_images / seconds:,.1f} images/s)"
        print(f"{name:<10} in {speed} to {result.num_bytes / 1e6:.1f} MB")
        packs[name] = open_packed(folder / name).splits["all"]
    return packs


def compare(label: str, num_images: int, rounds: int, workers: int, folder: Path) -> None:
    width, height = map(int, label.split("x"))
    root = folder / "photos"
    make_folder(root, (width, height), num_images)
    num_bytes = sum(path.stat().st_size for path in root.rglob("*.jpg"))
    print(f"## {num_images} JPEG files of {label} px, {num_bytes / 1e6:.1f} MB, {workers} workers, {rounds} rounds")
    packs = make_packs(root, folder)

    part = open_folder(root, check=False, show_progress=False).splits["all"]
    ways: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
        "ImageFolder": lambda: image_folder(root, workers),
        "files": lambda: twofold_batches(part.open(SPEC)),
    }
    for name, split in packs.items():
        ways[name] = functools.partial(lambda split: twofold_batches(split.open(SPEC)), split)
    if importlib.util.find_spec("webdataset") is not None:
        ways["webdataset"] = lambda: web_dataset(folder / "packed", workers)
    else:
        print("webdataset is not installed: left out")
    for state in ("warm", "cold"):
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, batches in ways.items():
                if state == "cold":
                    forget(folder)
                measured = rate(batches, num_images)
                if number > 0:
                    rates[name].append(measured)
        for name, values in rates.items():
            ratios = [mine / peer for mine, peer in zip(values, rates["ImageFolder"], strict=True)]
            verdict = ""
            if name in packs:
                verdict = f", goal {GOALS[label]:g}: {'met' if statistics.median(ratios) >= GOALS[label] else 'MISSED'}"
            print(f"{state}  {name:<12} {spread(values)} images/s, × ImageFolder {spread(ratios, '.2f')}{verdict}")
    contents = [Path(path).read_bytes() for path in part.paths]
    encodings = {name: [packs[name].record(index) for index in range(num_images)] for name in ("packed", "packed 224")}
    for name, encoded in {"files": contents, **encodings}.items():
        print(f"limit {f'decode {name}':<19} {spread([decode_rate(encoded, workers) for _ in range(rounds)])} images/s")
    print(f"limit {'copy in memory':<19} {spread([copy_rate() for _ in range(rounds)])} images/s\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=sorted(GOALS), default=["500x375", "3000x2000"])
    parser.add_argument("--images", type=int, default=512, help="of 500x375; an eighth as many of 3000x2000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=num_workers(), help="of the peers' DataLoader")
    arguments = parser.parse_args()
    print_conditions("Photographs to normalised batches")
    for label in arguments.sizes:
        folder = Path(tempfile.mkdtemp())
        try:
            num_images = arguments.images if label == "500x375" else max(BATCH, arguments.images // 8)
            compare(label, num_images, arguments.rounds, arguments.workers, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
