"""What a lab may use: ten images that come with it, what was given when it was opened, and what its page was dropped.

A page asks for all of it by name alone: nothing that it says is taken for a path. An image that it sends is decoded as
every hostile image is, and made smaller before it is kept.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from twofold.data.decode import open_image
from twofold.data.load import load_data
from twofold.data.targets import ClassTargets
from twofold.labs.given import NOTHING, Given, by_name

_MOST_PIXELS = 50_000_000
_LONGEST_SIDE = 512
_MOST_KEPT = 32
BLANK = "28x28:" + "00" * 784
"""A drawing with nothing on it, as `drawn` reads it."""
SAMPLES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
"""The images that come with every lab: one of each class of Fashion-MNIST, 28 px."""


class Opened:
    """What one page or widget may use.

    Args:
        given: what it was opened with; images are called by their file names.

    Attributes:
        runs: trained networks: name -> path.
        data: data sets: name -> path.

    Raises:
        TwofoldError: an image cannot be read.
    """

    def __init__(self, given: Given = NOTHING) -> None:
        self.runs, self.data = by_name(given.runs), by_name(given.data)
        self._images: dict[str, Image.Image] = {}
        self._paths: dict[str, str] = {}
        # Of these alone a path is read again: that of an image from a page is what the page called it.
        self._given: dict[str, str] = {}
        self._last: tuple[tuple[Image.Image, tuple[int, int] | None, bool], Tensor] | None = None
        for path in given.images:
            name = self._keep(Path(path).name, open_image(path, max_pixels=_MOST_PIXELS))
            self._paths[name] = self._given[name] = str(path)

    @property
    def names(self) -> list[str]:
        """The images that can be asked for, the latest first."""
        return [*reversed(self._images), *SAMPLES]

    @property
    def first(self) -> str | None:
        """The image that was given first; None if there was none."""
        return next(iter(self._given), None)

    def add(self, name: str, content: bytes) -> str:
        """Decode an image from a page and keep it; return what it is called from now on.

        Raises:
            TwofoldError: it cannot be read, or is larger than 50 million pixels.
        """
        shown = Path(name.replace("\\", "/")).name[:60] or "image"
        kept = self._keep(shown, open_image(content, max_pixels=_MOST_PIXELS))
        self._paths.setdefault(kept, shown)
        return kept

    def path_of(self, name: str) -> str | None:
        """Return the file to give a command for the image called `name`; None for one that comes with the labs."""
        return self._paths.get(name)

    def image(self, name: str) -> Image.Image:
        """Return an image, in mode "L" or "RGB", its longer side at most 512 px.

        Raises:
            ValueError: there is none of that name.
        """
        # One look alone: a run that trains asks for it from a thread of its own.
        if (kept := self._images.get(name)) is not None:
            return kept
        if name in SAMPLES:
            return _sample(name)
        raise ValueError(f"there is no image {name[:60]!r} here; drop it into the lab, or give it with --image")

    def original(self, name: str) -> Image.Image:
        """Return an image as its file has it where it was given with the lab, and otherwise as `image` does.

        Raises:
            ValueError: there is none of that name.
        """
        image = self.image(name)
        return open_image(self._given[name], max_pixels=_MOST_PIXELS) if name in self._given else image

    def pixels(self, name: str, size: tuple[int, int] | None = None, *, colour: bool = False) -> Tensor:
        """Return the image called `name` as the function `pixels` does. The last one is kept: a drag asks for it often.

        Raises:
            ValueError: there is none of that name.
        """
        image = self.image(name)
        asked = (image, size, colour)
        last = self._last
        if last is None or last[0][0] is not image or last[0][1:] != asked[1:]:
            self._last = last = (asked, pixels(image, size, colour=colour))
        return last[1]

    def _keep(self, name: str, image: Image.Image) -> str:
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
        digest = hashlib.sha256(image.tobytes()).hexdigest()[:6]
        if name in SAMPLES or (name in self._images and self._images[name].tobytes() != image.tobytes()):
            name = f"{digest}-{name}"
        self._images.pop(name, None)
        self._images[name] = image
        # Those that were given stay; of those from a page the oldest makes room.
        dropped = [each for each in self._images if each not in self._given and each != name]
        for oldest in dropped[: max(0, len(dropped) + 1 - _MOST_KEPT)]:
            del self._images[oldest]
            self._paths.pop(oldest, None)
        return name


@functools.cache
def _samples() -> dict[str, Image.Image]:
    # Validation images are not touched: the labs show the first test image of each class.
    test = load_data("fashion-mini", val_fraction=0.0, show_progress=False).test
    assert test is not None
    assert isinstance(test.targets, ClassTargets)
    labels = test.targets.labels
    firsts = [int((labels == label).nonzero()[0]) for label in range(len(SAMPLES))]
    pixels = test.load(torch.tensor(firsts))
    return {name: Image.fromarray(one[0].numpy()) for name, one in zip(SAMPLES, pixels, strict=True)}


def _sample(name: str) -> Image.Image:
    return _samples()[name]


def pixels(image: str | Path | Image.Image, size: tuple[int, int] | None = None, *, colour: bool = False) -> Tensor:
    """Return an image as the labs compute with it: float32 (1, 3 or 1, height, width), values from 0 to 1.

    Args:
        image: one of `SAMPLES`, a file, or an image.
        size: height and width to crop and resize it to; as it is if left out.
        colour: whether it has three channels.

    Raises:
        TwofoldError: the file cannot be read.
    """
    if isinstance(image, str) and image in SAMPLES:
        image = _sample(image)
    elif not isinstance(image, Image.Image):
        image = open_image(image, max_pixels=_MOST_PIXELS)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
    image = image.convert("RGB" if colour else "L")
    if size is not None and (image.height, image.width) != size:
        scale = min(image.height / size[0], image.width / size[1])
        height, width = size[0] * scale, size[1] * scale
        top, left = (image.height - height) / 2, (image.width - width) / 2
        is_smaller = height < size[0]
        way = Image.Resampling.BICUBIC if is_smaller else Image.Resampling.BOX
        image = image.resize((size[1], size[0]), way, box=(left, top, left + width, top + height))
    array = np.asarray(image).reshape(image.height, image.width, -1)
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].contiguous() / 255


def drawn(text: str) -> Tensor:
    """Return a drawing as the labs keep it in an address: float32 (1, 1, height, width), values from 0 to 1.

    `text` is "ROWSxCOLUMNS:" and two hexadecimal digits a pixel.

    Raises:
        ValueError: it is no such text, or larger than 96 px.
    """
    shape, _, digits = text.partition(":")
    sides = shape.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 1 <= int(side) <= 96 for side in sides):
        raise ValueError(f"a drawing is ROWSxCOLUMNS:DIGITS of at most 96 px, got {text[:20]!r}")
    rows, cols = map(int, sides)
    try:
        values = bytes.fromhex(digits)
    except ValueError:
        values = b""
    if len(values) != rows * cols:
        raise ValueError(f"a drawing of {rows}x{cols} px has {2 * rows * cols} hexadecimal digits")
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).view(1, 1, rows, cols) / 255
