import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from twofold.data import (
    ClassTargets,
    FilePart,
    Images,
    MemoryImages,
    PixelSpec,
    StreamedImages,
    open_image,
    prefetch,
    to_pixels,
)
from twofold.errors import RunError, TwofoldError

SPEC = PixelSpec(channels=3, image_size=(8, 10))


def streamed(photos: Path, repeat: int = 1) -> StreamedImages:
    paths = sorted(str(path) for path in photos.rglob("*.png")) * repeat
    return StreamedImages(files(paths, torch.arange(len(paths)) % 2), SPEC)


def files(paths: list[str], labels: torch.Tensor) -> FilePart:
    return FilePart(paths, ClassTargets(labels))


def in_memory(images: Images) -> MemoryImages:
    return MemoryImages(images.load(torch.arange(len(images))), images.targets, "photos test")


def test_every_kind_keeps_the_contract(photos: Path):
    stream = streamed(photos)
    held = in_memory(stream)
    kinds = [stream, held, StreamedImages(held, SPEC)]
    order = torch.tensor([3, 0, 15, 3])
    expected = held.images[order]
    for images in kinds:
        assert isinstance(images, Images)
        assert len(images) == 16
        assert images.targets.labels.tolist() == [0, 1] * 8
        batch = images.load(order)
        assert batch.dtype == torch.uint8
        assert torch.equal(batch, expected)
        assert images.load(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 8, 10)
        assert images.describe(3)
    assert [images.in_memory for images in kinds] == [False, True, False]


def test_streamed_pixels_are_those_of_the_files(photos: Path):
    images = streamed(photos)
    for index in (0, 7):
        expected = to_pixels(open_image(images.describe(index)), SPEC)
        assert np.array_equal(images.load(torch.tensor([index]))[0], expected)


def test_descriptions(photos: Path):
    stream = streamed(photos)
    assert stream.describe(2) == str(photos / "cat" / "002.png")
    held = in_memory(stream)
    assert held.describe(2) == "photos test #2"
    assert held.select(torch.tensor([5, 9])).describe(1) == "photos test #9"
    assert StreamedImages(held, SPEC).describe(4) == "photos test #4"
    paths = [stream.describe(index) for index in range(16)]
    by_path = MemoryImages(held.images, held.targets, paths)
    assert by_path.select(torch.tensor([5, 9])).describe(1) == paths[9]


def test_memory_images_move(photos: Path):
    held = in_memory(streamed(photos))
    moved = held.to("cpu")
    assert torch.equal(moved.images, held.images)
    on_meta = held.to("meta")
    assert on_meta.images.device.type == "meta"
    assert on_meta.describe(1) == "photos test #1"


def test_a_file_that_became_unreadable_is_named(photos: Path):
    images = streamed(photos)
    (photos / "cat" / "003.png").write_bytes(b"x")
    assert images.load(torch.tensor([0, 1])).shape == (2, 3, 8, 10)
    with pytest.raises(RunError, match=r"cat/003\.png.*it was readable when the data were checked"):
        images.load(torch.arange(16))
    (photos / "cat" / "003.png").unlink()
    with pytest.raises(RunError, match=r"cat/003\.png: cannot be read: No such file"):
        images.load(torch.arange(16))


def test_colour_for_a_grey_network_names_the_file(photos: Path):
    part = files([str(photos / "cat" / "000.png")], torch.zeros(1, dtype=torch.int64))
    images = StreamedImages(part, PixelSpec(channels=1, image_size=(4, 4)))
    with pytest.raises(TwofoldError, match=r"cat/000\.png: the image is in colour"):
        images.load(torch.tensor([0]))


def test_prefetch_keeps_order(photos: Path):
    stream = streamed(photos)
    held = in_memory(stream)
    batches = list(torch.arange(16).flip(0).split(3))
    for images in (stream, held):
        loaded = list(prefetch(batches, images))
        assert len(loaded) == len(batches)
        assert all(torch.equal(pixels, held.load(batch)) for pixels, batch in zip(loaded, batches, strict=True))


def test_prefetch_raises_in_its_place_and_ends_its_thread(photos: Path):
    images = streamed(photos)
    (photos / "dog" / "005.png").write_bytes(b"x")
    running = prefetch(torch.arange(16).split(5), images)
    for _ in range(3):
        assert len(next(running)) == 5
    with pytest.raises(RunError, match=r"dog/005\.png"):
        next(running)
    assert not _prefetch_threads()


def test_prefetch_ends_when_the_consumer_stops(photos: Path):
    consumed = []

    def batches():
        for batch in torch.arange(16).repeat(1000).split(4):
            consumed.append(batch)
            yield batch

    running = prefetch(batches(), streamed(photos), depth=2)
    next(running)
    assert _prefetch_threads()
    running.close()
    assert not _prefetch_threads()
    assert len(consumed) <= 4


def _prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("twofold-data")]


def test_prefetch_works_ahead(photos: Path):
    """While the consumer computes, the next batch is decoded: the loads begin before they are asked for."""
    stream = streamed(photos)
    loaded = []

    class Recording:
        targets = stream.targets
        in_memory = False

        def __len__(self) -> int:
            return len(stream)

        def describe(self, index: int) -> str:
            return stream.describe(index)

        def load(self, indices):
            loaded.append(indices)
            return stream.load(indices)

    running = prefetch(torch.arange(16).split(4), Recording(), depth=2)
    next(running)
    deadline = time.monotonic() + 10
    while len(loaded) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(loaded) == 3
    running.close()


def growth(images: Images) -> int:
    """Return by how many bytes the process grows at most while it goes over all images."""
    process = psutil.Process()
    before = process.memory_info().rss
    peak = max(process.memory_info().rss for _ in prefetch(torch.arange(len(images)).split(16), images))
    return peak - before


def test_memory_stays_flat_as_the_number_of_images_grows(photos: Path):
    spec = PixelSpec(channels=3, image_size=(160, 160))
    part = streamed(photos).part

    def repeated(times: int) -> StreamedImages:
        return StreamedImages(part.select(torch.arange(len(part)).repeat(times)), spec)

    growth(repeated(12))  # what is allocated on first use is not counted
    all_pixels = len(repeated(120)) * 3 * 160 * 160
    assert all_pixels > 140_000_000
    # A few batches are alive at a time, about 10 MB; the allocator's noise is as much again.
    assert growth(repeated(120)) < 60_000_000
