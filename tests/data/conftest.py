"""Real image files and folders, and a cache of their own, for every test of the data package."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep tests out of the user's cache, and out of any proxy."""
    folder = tmp_path_factory.mktemp("cache") / "twofold"
    monkeypatch.setenv("TWOFOLD_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "*")
    return folder


def save_image(path: Path, *, size: tuple[int, int] = (20, 12), mode: str = "RGB", seed: int = 0) -> Path:
    """Write a noisy image of `size` (width, height) in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,)}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def save_folder(root: Path, counts: dict[str, int], *, suffix: str = ".png", **options) -> Path:
    """Write `counts[class]` images for each class (a path such as train/cat is fine)."""
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save_image(root / name / f"{number:03d}{suffix}", seed=seed, **options)
            seed += 1
    return root


def deep_png(values: np.ndarray) -> bytes:
    """Return a PNG of 16 bits a channel, colour or with transparency (2 to 4 channels), which Pillow cannot write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes, 10 and 6 colour images of 20 x 12 pixels."""
    return save_folder(tmp_path / "photos", {"cat": 10, "dog": 6})


@pytest.fixture
def clothes(image_folder: Path, tmp_path: Path) -> Path:
    """Three classes of 12 images, some of which are there several times."""
    for name in ("bag", "boot", "shirt"):
        (tmp_path / "clothes" / name).mkdir(parents=True)
        for path in sorted((image_folder / name).iterdir())[:12]:
            shutil.copy(path, tmp_path / "clothes" / name)
    first = sorted((tmp_path / "clothes" / "bag").iterdir())[0]
    shutil.copy(first, first.with_name("copy.png"))
    image = Image.open(first)
    image.resize((56, 56)).save(first.with_name("large.png"))
    image.point(lambda value: int(value * 0.9)).save(tmp_path / "clothes" / "boot" / "darker.png")
    return tmp_path / "clothes"
