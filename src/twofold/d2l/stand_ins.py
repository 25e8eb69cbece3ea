"""Data sets made here that have the shape of the book's: for a place without a network.

They are the same each time, and written where the book's would lie, under a name that says what they are.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.sources.scenes import open_scenes
from twofold.data.targets import BoxTargets
from twofold.errors import RunError


class StandIn(NamedTuple):
    """What is made: the end of its name, what it is, and how it is written to a path."""

    name: str
    what: str
    write: Callable[[Path], None]


def _write_airfoil(target: Path) -> None:
    """Write 1,503 rows of five features and a label, of which a straight line explains half, as of the airfoil set."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1503, 5, generator=generator, dtype=torch.float64)
    weight = torch.tensor([-0.6, -0.4, -0.35, 0.25, -0.15], dtype=torch.float64)
    labels = features @ weight + 0.8 * torch.randn(1503, generator=generator, dtype=torch.float64)
    scale = torch.tensor([3152.0, 5.9, 0.09, 15.6, 0.013, 6.9], dtype=torch.float64)
    middle = torch.tensor([2886.0, 6.8, 0.14, 50.9, 0.011, 124.8], dtype=torch.float64)
    rows = torch.cat([features, labels[:, None]], dim=1) * scale + middle
    np.savetxt(target, rows.numpy(), fmt="%.6g", delimiter="\t")


def _bag_scenes() -> Iterator[tuple[bool, list[tuple[Tensor, list[int]]]]]:
    """Yield scenes of 256 px with one bag each, and its corners: those to train on (True), then those to test on."""
    found = open_scenes("fashion-scenes?train=1000&test=100&side=256&classes=Bag&most=1", show_progress=False)
    for split, images in found.splits.items():
        assert isinstance(images.targets, BoxTargets)
        yield split == "train", list(zip(images.images, images.targets.boxes.int().tolist(), strict=True))


def _write_bananas(target: Path) -> None:
    """Write bags in the banana set's layout."""
    for is_train, scenes in _bag_scenes():
        folder = target / ("bananas_train" if is_train else "bananas_val")
        (folder / "images").mkdir(parents=True)
        with (folder / "label.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["img_name", "label", "xmin", "ymin", "xmax", "ymax"])
            for index, (pixels, corners) in enumerate(scenes):
                _write_image(folder / "images" / f"{index}.png", pixels)
                table.writerow([f"{index}.png", 0, *corners])


def _write_pikachus(target: Path) -> None:
    """Write bags in the layout of the Pikachu set."""
    for is_train, scenes in _bag_scenes():
        folder = target / ("train" if is_train else "val")
        (folder / "images").mkdir(parents=True)
        labels = {}
        for number, (pixels, corners) in enumerate(scenes, 1):
            _write_image(folder / "images" / f"{number}.png", pixels)
            labels[f"{number}.png"] = {"class": 0, "loc": [corner / 256 for corner in corners]}
        (folder / "label.json").write_text(json.dumps(labels))


def _write_hotdogs(target: Path) -> None:
    """Write bags and other garments, in colour and of 64 px, in the hotdog set's layout: a folder a class."""
    arrays, _ = load_fashion_mini()
    train = ("train", arrays.train_images, arrays.train_labels, 1000)
    for split, images, labels, count in (train, ("test", arrays.test_images, arrays.test_labels, 400)):
        is_bag = labels == arrays.class_names.index("Bag")
        for name, chosen in (("bag", images[is_bag]), ("not-bag", images[~is_bag])):
            folder = target / split / name
            folder.mkdir(parents=True)
            for index, pixels in enumerate(chosen[:count]):
                _write_image(folder / f"{index}.png", pixels, side=64)


def write_stand_in(name: str, target: Path) -> None:
    """Write the stand-in for the book's data set `name` to `target`, whole or not at all.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            STAND_INS[name].write(Path(folder) / target.name)
            os.replace(Path(folder) / target.name, target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error


def _write_image(path: Path, pixels: Tensor, side: int | None = None) -> None:
    image = Image.fromarray(pixels[0].numpy()).convert("RGB")
    (image.resize((side, side), Image.Resampling.BILINEAR) if side else image).save(path)


STAND_INS = {
    "airfoil": StandIn("airfoil.dat", "1,503 drawn rows of five features and a label", _write_airfoil),
    "banana-detection": StandIn("bananas", "1,100 scenes with one bag each", _write_bananas),
    "pikachu": StandIn("pikachu", "1,100 scenes with one bag each", _write_pikachus),
    "hotdog": StandIn("hotdog", "bags and other garments", _write_hotdogs),
}
"""For the names of the book's data hub."""
