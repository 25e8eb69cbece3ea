"""fashion-mini: 10,000 training and 2,000 test images of Fashion-MNIST inside the package, so all works offline.

The asset is one xz stream of bytes: training images, test images, training labels, test labels. It is written by
`scripts/make_fashion_mini.py` and read here; its SHA-256 stands in CHECKSUMS beside it.
"""

from __future__ import annotations

import hashlib
import lzma
from importlib import resources

import torch

from twofold.data.names import NAMED_DATA
from twofold.data.sources.store import Arrays
from twofold.errors import RunError

NUM_TRAIN = 10_000
NUM_TEST = 2_000
SIDE = 28
ASSET = "fashion-mini.xz"


def load_fashion_mini() -> tuple[Arrays, str]:
    """Return the data set and the SHA-256 of the asset.

    Raises:
        RunError: the asset is damaged.
    """
    folder = resources.files("twofold.data") / "assets"
    packed = (folder / ASSET).read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    lines = [line.split() for line in (folder / "CHECKSUMS").read_text().splitlines()]
    expected = {name: checksum for checksum, name in lines}[ASSET]
    if digest != expected:
        raise RunError(f"{folder / ASSET} is damaged (its SHA-256 is {digest[:12]}…); install twofold again")
    content = torch.frombuffer(bytearray(lzma.decompress(packed)), dtype=torch.uint8)
    pixels = SIDE * SIDE
    parts = content.split([NUM_TRAIN * pixels, NUM_TEST * pixels, NUM_TRAIN, NUM_TEST])
    shape = (-1, 1, SIDE, SIDE)
    class_names = NAMED_DATA["fashion-mini"].class_names
    assert class_names is not None
    train_images, test_images = parts[0].reshape(shape), parts[1].reshape(shape)
    return Arrays(class_names, train_images, parts[2].to(torch.int64), test_images, parts[3].to(torch.int64)), digest
