"""Make the asset fashion-mini: the first images of each class of Fashion-MNIST, 1,000 to train and 200 to test.

    python scripts/make_fashion_mini.py                                  # into src/twofold/data/assets
    python scripts/make_fashion_mini.py --originals FOLDER --output FOLDER

The original files are checked by SHA-256 of their inflated content (gzip wrappers differ between mirrors), and a
run writes the same bytes as the one before it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import lzma
import struct
import sys
from pathlib import Path

ORIGINALS = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path(__file__).resolve().parent.parent / "src" / "twofold" / "data" / "assets"

# SHA-256 of the inflated idx files.
CONTENT_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
NUM_CLASSES = 10
PIXELS = 28 * 28
# Measured on these bytes: other literal contexts, a predictor for the pixels before xz, and lossless WebP mosaics
# differ by 5 % at most, so the plainest way is taken.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def read_original(folder: Path, name: str) -> bytes:
    """Return the inflated content of an original file, checked."""
    content = gzip.decompress((folder / name).read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    if digest != CONTENT_SHA256[name]:
        sys.exit(f"{folder / name} is not the original: its content has SHA-256 {digest}")
    return content


def choose(images: bytes, labels: bytes, per_class: int) -> tuple[bytes, bytes]:
    """Return the first `per_class` images of each class with their labels, in the original order."""
    _, num_images = struct.unpack_from(">II", images)
    left = [per_class] * NUM_CLASSES
    chosen_images, chosen_labels = bytearray(), bytearray()
    for index in range(num_images):
        label = labels[8 + index]
        if left[label]:
            left[label] -= 1
            start = 16 + index * PIXELS
            chosen_images += images[start : start + PIXELS]
            chosen_labels.append(label)
    return bytes(chosen_images), bytes(chosen_labels)


def main() -> None:
    """Write fashion-mini.xz and CHECKSUMS."""
    parser = argparse.ArgumentParser(description="Make the asset fashion-mini from the files of Fashion-MNIST.")
    parser.add_argument("--originals", type=Path, default=ORIGINALS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    parts = []
    for prefix, per_class in (("train", 1_000), ("t10k", 200)):
        images = read_original(arguments.originals, f"{prefix}-images-idx3-ubyte.gz")
        labels = read_original(arguments.originals, f"{prefix}-labels-idx1-ubyte.gz")
        parts.append(choose(images, labels, per_class))
    (train_images, train_labels), (test_images, test_labels) = parts
    content = train_images + test_images + train_labels + test_labels
    packed = lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=FILTERS)
    (arguments.output / "fashion-mini.xz").write_bytes(packed)
    (arguments.output / "CHECKSUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  fashion-mini.xz\n")
    print(f"fashion-mini.xz: {len(packed):,} bytes")


if __name__ == "__main__":
    main()
