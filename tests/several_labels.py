"""Images with several labels, made from those inside the package: for tests of any room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

LABELS = ("bag", "boot", "shirt")
_LABEL_OF_CLASS = {"bag": 8, "boot": 9, "shirt": 6}


def label_sets(count: int) -> list[tuple[str, ...]]:
    """One or two labels for each of `count` images, in turn: all pairs and all single labels come equally often."""
    pairs = [("bag",), ("boot",), ("shirt",), ("bag", "boot"), ("bag", "shirt"), ("boot", "shirt")]
    return [pairs[index % len(pairs)] for index in range(count)]


@pytest.fixture(scope="session")
def outfits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links: 120 images of one or two pieces of clothing, 28 px, in the folder of each of their labels.

    The left half of an image is one piece and the right half another, or black; a third are links to one file, a third
    hard links, a third copies with the same bytes.
    """
    import torch

    from twofold.data import load_data

    test = load_data("fashion-mini", val_fraction=0.0, show_progress=False).test
    assert test is not None
    pieces = {
        name: test.load((test.targets.labels == label).nonzero().flatten())[:, 0, :, ::2]
        for name, label in _LABEL_OF_CLASS.items()
    }
    folder = tmp_path_factory.mktemp("outfits")
    for name in LABELS:
        (folder / "outfits" / name).mkdir(parents=True)
    (folder / "originals").mkdir()
    for index, labels in enumerate(label_sets(120)):
        halves = [pieces[name][index] for name in labels] + [torch.zeros(28, 14, dtype=torch.uint8)] * (2 - len(labels))
        if index % 2:
            halves.reverse()
        original = folder / "originals" / f"{index:03d}.png"
        Image.fromarray(torch.cat(halves, dim=1).numpy()).save(original)
        for name in labels:
            link = folder / "outfits" / name / original.name
            if index % 3 == 0:
                link.symlink_to(os.path.relpath(original, link.parent))
            elif index % 3 == 1:
                link.hardlink_to(original)
            else:
                link.write_bytes(original.read_bytes())
    return folder / "outfits"
