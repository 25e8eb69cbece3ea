import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from twofold.data import ClassTargets, FilePart, MemoryImages, PixelSpec, channel_statistics

from .conftest import save_folder


def targets(count: int) -> ClassTargets:
    return ClassTargets(torch.zeros(count, dtype=torch.int64))


@given(values=arrays(np.uint8, st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.just(4), st.just(3))))
@settings(max_examples=50)
def test_equals_numpy(values):
    images = MemoryImages(torch.from_numpy(values), targets(len(values)), "x")
    mean, std = channel_statistics(images)
    scaled = values.astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean(axis=(0, 2, 3)), abs=1e-12)
    assert std == pytest.approx(np.maximum(scaled.std(axis=(0, 2, 3)), 1 / 255), abs=1e-12)


def test_a_constant_channel_has_the_smallest_std():
    images = MemoryImages(torch.full((3, 1, 4, 4), 9, dtype=torch.uint8), targets(3), "x")
    assert channel_statistics(images) == ((pytest.approx(9 / 255),), (1 / 255,))


def test_order_does_not_matter():
    pixels = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert channel_statistics(MemoryImages(pixels, targets(64), "x")) == channel_statistics(
        MemoryImages(pixels.flip(0), targets(64), "x")
    )


def test_streamed_images_are_sampled(tmp_path):
    root = save_folder(tmp_path, {"a": 3}, size=(4, 4))
    paths = sorted(str(path) for path in root.rglob("*.png"))
    spec = PixelSpec(channels=3, image_size=(4, 4))
    few = FilePart(paths, targets(3)).open(spec)
    held = MemoryImages(few.load(torch.arange(3)), few.targets, paths)
    assert channel_statistics(few) == channel_statistics(held)
    # 2,000 evenly spaced of 6,000 are every third: here always the first of the three files.
    many = FilePart(paths * 2000, targets(6000)).open(spec)
    assert channel_statistics(many) == channel_statistics(held.select(torch.tensor([0])))
