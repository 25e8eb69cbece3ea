import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from twofold.data.sources import embedded
from twofold.data.sources.archives import read_archives

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "src" / "twofold" / "data" / "assets"
ORIGINALS = Path("/usr/share/datasets/fashion-mnist")

needs_originals = pytest.mark.skipif(not ORIGINALS.is_dir(), reason=f"the original files are not in {ORIGINALS}")


def test_the_asset_is_small_and_loads_quickly():
    assert (ASSETS / "fashion-mini.xz").stat().st_size <= 5_000_000
    start = time.process_time()
    arrays, digest = embedded.load_fashion_mini()
    assert time.process_time() - start < 1.0
    assert (arrays.train_images.shape, arrays.test_images.shape) == ((10_000, 1, 28, 28), (2_000, 1, 28, 28))
    assert arrays.train_labels.bincount().tolist() == [1000] * 10
    assert arrays.test_labels.bincount().tolist() == [200] * 10
    assert digest == hashlib.sha256((ASSETS / "fashion-mini.xz").read_bytes()).hexdigest()
    assert f"{digest}  fashion-mini.xz\n" == (ASSETS / "CHECKSUMS").read_text()


@needs_originals
def test_the_script_makes_the_committed_asset(tmp_path: Path):
    script = ROOT / "scripts" / "make_fashion_mini.py"
    subprocess.run([sys.executable, str(script), "--output", str(tmp_path)], check=True, capture_output=True)
    for name in ("fashion-mini.xz", "CHECKSUMS"):
        assert (tmp_path / name).read_bytes() == (ASSETS / name).read_bytes()


@needs_originals
def test_the_images_are_those_of_the_original():
    mini, _ = embedded.load_fashion_mini()
    whole = read_archives("fashion-mnist", ORIGINALS)
    for images, labels, all_images, all_labels in (
        (mini.train_images, mini.train_labels, whole.train_images, whole.train_labels),
        (mini.test_images, mini.test_labels, whole.test_images, whole.test_labels),
    ):
        per_class = len(labels) // 10
        for label in range(10):
            first = torch.nonzero(all_labels == label).flatten()[:per_class]
            assert torch.equal(images[labels == label], all_images[first])


def test_originals_that_are_not_the_originals_are_refused(tmp_path: Path):
    import gzip

    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other"))
    script = ROOT / "scripts" / "make_fashion_mini.py"
    done = subprocess.run(
        [sys.executable, str(script), "--originals", str(tmp_path), "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not the original" in done.stderr
    assert not (tmp_path / "fashion-mini.xz").exists()


def test_the_licence_travels_with_the_images():
    text = (ASSETS / "LICENSE-fashion-mnist.txt").read_text()
    assert "Copyright © 2017 Zalando SE, https://tech.zalando.com" in text
    assert re.search(r"^The MIT License \(MIT\)", text)


def test_a_damaged_asset_is_refused(tmp_path: Path):
    """In a copy of the package with one byte of the asset changed."""
    import shutil

    copy = tmp_path / "site" / "twofold"
    shutil.copytree(ROOT / "src" / "twofold", copy, ignore=shutil.ignore_patterns("__pycache__"))
    asset = copy / "data" / "assets" / "fashion-mini.xz"
    content = bytearray(asset.read_bytes())
    content[1000] ^= 1
    asset.write_bytes(content)
    code = "from twofold.data import load_data; load_data('fashion-mini')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(copy.parent)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.search(r"RunError: .*fashion-mini\.xz is damaged .*install twofold again", done.stderr)
