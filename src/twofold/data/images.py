"""Images that can be had by index, whether they lie in memory or are decoded from files as needed.

Everything that trains or evaluates asks an `Images` for a batch of uint8 pixels and does the rest on the device.
Data that fit are a `MemoryImages`: one tensor, a batch is an index. Data that do not are decoded in threads, batch
by batch (`StreamedImages`), and `prefetch` does so while the device computes. Which of the two it is shows in speed
alone: both go through `to_pixels`, so the pixels are the same.

Before their size is decided, images are a `Part`: the images of one split as their source stores them, to be selected
from, given other targets, and opened at a size.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from twofold.data.decode import BrokenImageError
from twofold.data.parallel import num_workers, ordered_map
from twofold.data.pixels import ChannelMismatchError, image_to_pil, to_pixels
from twofold.data.spec import PixelSpec
from twofold.data.targets import Targets
from twofold.errors import RunError
from twofold.terminal import track

_TASK_SIZE = 8
_MEMORY_BATCH = 256


@runtime_checkable
class Images(Protocol):
    """Images by index and what is known of them; `in_memory` says whether a batch costs no decoding."""

    targets: Targets
    in_memory: bool

    def __len__(self) -> int: ...

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels of the images at `indices`, in their order."""
        ...

    def describe(self, index: int) -> str:
        """Return a path, or words such as "fashion-mini test #17", by which a person finds the image."""
        ...


class Part(abc.ABC):
    """The images of one split as their source stores them; `open` gives them the size and channels of a spec.

    `remedy` is what an error about an image that cannot be decoded says at its end.
    """

    targets: Targets
    remedy: str = "it was readable when the data were checked, or was not checked"

    def __len__(self) -> int:
        return len(self.targets)

    @abc.abstractmethod
    def select(self, indices: Int64[Tensor, " m"]) -> Part:
        """Return the images at `indices`, in their order."""

    @abc.abstractmethod
    def with_targets(self, targets: Targets) -> Part:
        """Return the same images with other targets."""

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """Return words by which a person finds the image."""

    @abc.abstractmethod
    def pixels(self, index: int, spec: PixelSpec) -> UInt8[np.ndarray, "channels height width"]:
        """Return the pixels of one image, decoded and resized; called by many threads.

        Raises:
            BrokenImageError: it cannot be decoded.
            ChannelMismatchError: it is in colour, the spec is grey and does not convert.
        """

    @abc.abstractmethod
    def decoded(self, index: int) -> Image.Image:
        """Return one image as it is, upright, 8-bit grey or colour.

        Raises:
            BrokenImageError: it cannot be decoded.
        """

    def content_keys(self) -> Sequence[str] | None:
        """Return for each image a text that changes when its content does, without reading it; None if nothing tells.

        What is found out about an image can be kept by it.
        """
        return None

    @abc.abstractmethod
    def with_pixels(self, pixels: UInt8[Tensor, "n channels height width"]) -> MemoryImages:
        """Return the same images with `pixels` in memory, each described as here."""

    def open(self, spec: PixelSpec) -> Images:
        """Return the images at the size and channels of `spec`."""
        return StreamedImages(self, spec)

    def needs_no_decoding(self, index: int, spec: PixelSpec) -> bool:
        """Return, without reading it, whether an image seems to be stored as the pixels of `spec`."""
        return False


@final
class MemoryImages(Part):
    """Images held as one uint8 tensor, on any device: opened already, and a part that can be opened at another size.

    `origin` is one description per image (paths), or one name for all; then `numbers` are the images' indices in the
    data set of that name, by default 0, 1, 2 …
    """

    in_memory = True

    def __init__(
        self,
        images: UInt8[Tensor, "n channels height width"],
        targets: Targets,
        origin: str | list[str],
        numbers: Int64[Tensor, " n"] | None = None,
    ) -> None:
        self.images = images
        self.targets = targets
        self.origin = origin
        self.numbers = torch.arange(len(targets)) if numbers is None else numbers

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels at `indices`, on the device of the images."""
        return self.images[indices.to(self.images.device)]

    def describe(self, index: int) -> str:
        """Return the path of an image, or the name of its data set and its index in that."""
        return f"{self.origin} #{int(self.numbers[index])}" if isinstance(self.origin, str) else self.origin[index]

    def to(self, device: torch.device | str) -> MemoryImages:
        """Return the same images and targets on `device`."""
        return MemoryImages(self.images.to(device), self.targets.to(device), self.origin, self.numbers)

    def select(self, indices: Int64[Tensor, " m"]) -> MemoryImages:
        """Return a copy of the images at `indices`, which does not keep the rest alive."""
        origin = self.origin if isinstance(self.origin, str) else [self.origin[index] for index in indices.tolist()]
        return MemoryImages(self.images[indices], self.targets.take(indices), origin, self.numbers[indices.cpu()])

    def with_targets(self, targets: Targets) -> MemoryImages:
        """Return the same images with other targets."""
        return MemoryImages(self.images, targets, self.origin, self.numbers)

    def with_pixels(self, pixels: UInt8[Tensor, "n channels height width"]) -> MemoryImages:
        """Return the same images with other pixels."""
        return MemoryImages(pixels, self.targets, self.origin, self.numbers)

    def decoded(self, index: int) -> Image.Image:
        """Return one image at its own size."""
        return image_to_pil(self.images[index])

    def pixels(self, index: int, spec: PixelSpec) -> UInt8[np.ndarray, "channels height width"]:
        """Return one image at the size and channels of `spec`."""
        return to_pixels(image_to_pil(self.images[index]), spec)

    def open(self, spec: PixelSpec) -> Images:
        """Return these images where they are as `spec` says, else resized whenever they are asked for."""
        return self if self.images.shape[1:] == (spec.channels, *spec.image_size) else StreamedImages(self, spec)


@final
class StreamedImages:
    """Images of a part that are made when asked for, by a pool of threads; memory does not grow with their number."""

    in_memory = False

    def __init__(self, part: Part, spec: PixelSpec) -> None:
        self.part = part
        self.spec = spec
        self.targets = part.targets
        self._pool = ThreadPoolExecutor(num_workers(), thread_name_prefix="twofold-decode")

    def __len__(self) -> int:
        return len(self.part)

    def describe(self, index: int) -> str:
        """Return words by which a person finds the image."""
        return self.part.describe(index)

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels at `indices`, decoded in parallel.

        Raises:
            RunError: a file that was readable when the data were checked no longer is; the message names it.
        """
        wanted = indices.tolist()
        n = len(wanted)
        batch = np.empty((n, self.spec.channels, *self.spec.image_size), dtype=np.uint8)

        def fill(positions: list[int]) -> None:
            for position in positions:
                # By numpy: torch would copy in threads of its own, in each of these.
                batch[position] = self._pixels(wanted[position])

        # Several images a task: for small ones, handing out the task costs as much as the work.
        hard = [index for index in range(n) if not self.part.needs_no_decoding(wanted[index], self.spec)]
        decoded = self._pool.map(fill, [hard[start : start + _TASK_SIZE] for start in range(0, len(hard), _TASK_SIZE)])
        # Without decoding there is only Python to run, which threads do in turns: here, one is faster than several.
        fill(sorted(set(range(n)) - set(hard)))
        # list() waits for all and re-raises the first failure.
        list(decoded)
        return torch.from_numpy(batch)

    def to_memory(self, *, label: str, show_progress: bool) -> MemoryImages:
        """Return all of the images in memory; `label` is that of the progress."""
        pixels = torch.empty(len(self), self.spec.channels, *self.spec.image_size, dtype=torch.uint8)
        chunks = torch.arange(len(self)).split(_MEMORY_BATCH)
        for chunk in track(chunks, total=len(chunks), label=label, enabled=show_progress):
            pixels[chunk] = self.load(chunk)
        return self.part.with_pixels(pixels)

    def _pixels(self, index: int) -> UInt8[np.ndarray, "channels height width"]:
        try:
            return self.part.pixels(index, self.spec)
        except BrokenImageError as error:
            raise RunError(f"{self.describe(index)}: {error.reason}; {self.part.remedy}") from error
        except ChannelMismatchError as error:
            raise ChannelMismatchError(self.describe(index)) from error


def prefetch(
    batches: Iterable[Int64[Tensor, " _"]], images: Images, *, depth: int = 2
) -> Generator[UInt8[Tensor, "_ channels height width"], None, None]:
    """Yield the pixels of each batch of indices in order, loading up to `depth` batches ahead in a thread.

    Images in memory are indexed without a thread. What loading raises is raised here, at the batch it belongs to;
    a consumer that stops early ends the thread.
    """
    if images.in_memory:
        yield from map(images.load, batches)
    else:
        yield from ordered_map(images.load, batches, workers=1, ahead=depth)
