"""Labelled images that can be had by index, whether they lie in memory or are decoded from files as needed.

Everything that trains or evaluates asks an `Images` for a batch of uint8 pixels and does the rest on the device.
Data that fit are a `MemoryImages`: one tensor, a batch is an index. Data that do not are decoded in threads, batch
by batch (`StreamedImages`), and `prefetch` does so while the device computes. Which of the two it is shows in speed
alone: both go through `to_pixels`, so the pixels are the same.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from twofold.data.decode import FORMATS, BrokenImageError, open_image
from twofold.data.parallel import num_workers, ordered_map
from twofold.data.pixels import ChannelMismatchError, image_to_pil, to_pixels
from twofold.data.spec import PixelSpec
from twofold.data.targets import Targets
from twofold.errors import RunError

_TASK_SIZE = 8


@runtime_checkable
class Images(Protocol):
    """Labelled images by index; `in_memory` says whether a batch costs no decoding."""

    @property
    def targets(self) -> Targets:
        """What is known of each image."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are held in a tensor."""
        ...

    def __len__(self) -> int: ...

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels of the images at `indices`, in their order."""
        ...

    def describe(self, index: int) -> str:
        """Return a path, or words such as "fashion-mini test #17", by which a person finds the image."""
        ...


@final
class MemoryImages:
    """Images held as one uint8 tensor, on any device.

    `origin` is one description per image (paths), or one name for all; then `numbers` are the images' numbers in
    the set of that name, by default 0, 1, 2 …
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

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels at `indices`, on the device of the images."""
        return self.images[indices.to(self.images.device)]

    def describe(self, index: int) -> str:
        """Return the path of an image, or the name of the set and the number in it."""
        return f"{self.origin} #{int(self.numbers[index])}" if isinstance(self.origin, str) else self.origin[index]

    def to(self, device: torch.device | str) -> MemoryImages:
        """Return the same images and targets on `device`."""
        return MemoryImages(self.images.to(device), self.targets.to(device), self.origin, self.numbers)

    def select(self, indices: Int64[Tensor, " m"]) -> MemoryImages:
        """Return a copy of the images at `indices`, which does not keep the rest alive."""
        origin = self.origin if isinstance(self.origin, str) else [self.origin[index] for index in indices.tolist()]
        return MemoryImages(self.images[indices], self.targets.take(indices), origin, self.numbers[indices.cpu()])


class _DecodedImages(abc.ABC):
    """Images that are made when asked for, by a pool of threads."""

    in_memory = False

    def __init__(self, targets: Targets, spec: PixelSpec) -> None:
        self.targets = targets
        self.spec = spec
        self._pool = ThreadPoolExecutor(num_workers(), thread_name_prefix="twofold-decode")

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, indices: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch channels height width"]:
        """Return the pixels at `indices`, decoded in parallel.

        Raises:
            RunError: a file that was readable when the data were checked no longer is; the message names it.
        """
        numbers = indices.tolist()
        n = len(numbers)
        batch = np.empty((n, self.spec.channels, *self.spec.image_size), dtype=np.uint8)

        def fill(places: list[int]) -> None:
            for place in places:
                # By numpy: torch would copy in threads of its own, in each of these.
                batch[place] = self._pixels(numbers[place])

        # Several images a task: for small ones, handing out the task costs as much as the work.
        hard = [place for place in range(n) if not self._is_bare(numbers[place])]
        decoded = self._pool.map(fill, [hard[start : start + _TASK_SIZE] for start in range(0, len(hard), _TASK_SIZE)])
        # Threads take turns at Python, and where there is nothing to decode that is all there is: two would be slower.
        fill(sorted(set(range(n)) - set(hard)))
        # list() waits for all and re-raises the first failure.
        list(decoded)
        return torch.from_numpy(batch)

    def _is_bare(self, index: int) -> bool:
        """Tell, without reading it, whether an image seems to be stored as bare pixels."""
        return False

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """Return words by which a person finds the image."""

    @abc.abstractmethod
    def _pixels(self, index: int) -> UInt8[np.ndarray, "channels height width"]: ...


class EncodedImages(_DecodedImages):
    """Images decoded from files or records whenever they are asked for; memory does not grow with their number.

    Attributes:
        remedy: what an error about an image that cannot be decoded says at its end.
        formats: what the encoded bytes may be.
    """

    remedy: str
    formats: tuple[str, ...] = FORMATS

    @abc.abstractmethod
    def _encoded(self, index: int) -> str | bytes:
        """Return an image's path, or its encoded bytes."""

    def _pixels(self, index: int) -> UInt8[np.ndarray, "channels height width"]:
        try:
            return self._decoded(self._encoded(index))
        except BrokenImageError as error:
            raise RunError(f"{self.describe(index)}: {error.reason}; {self.remedy}") from error
        except ChannelMismatchError as error:
            raise ChannelMismatchError(f"{self.describe(index)}: {error}") from error

    def _decoded(self, encoded: str | bytes) -> UInt8[np.ndarray, "channels height width"]:
        return to_pixels(open_image(encoded, formats=self.formats), self.spec).numpy()


@final
class StreamedImages(EncodedImages):
    """Images decoded from their files."""

    remedy = "it was readable when the data were checked, or was not checked"

    def __init__(self, paths: list[str], targets: Targets, spec: PixelSpec) -> None:
        super().__init__(targets, spec)
        self.paths = paths

    def describe(self, index: int) -> str:
        """Return the path of an image."""
        return self.paths[index]

    def _encoded(self, index: int) -> str:
        return self.paths[index]


@final
class ResizedImages(_DecodedImages):
    """Images in memory at another size or number of channels, resized whenever they are asked for."""

    def __init__(self, base: MemoryImages, spec: PixelSpec) -> None:
        super().__init__(base.targets, spec)
        self.base = base

    def describe(self, index: int) -> str:
        """Return the description of the image that is resized."""
        return self.base.describe(index)

    def _pixels(self, index: int) -> UInt8[np.ndarray, "channels height width"]:
        return to_pixels(image_to_pil(self.base.images[index]), self.spec).numpy()


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
