"""An upright image to the uint8 pixels of a `PixelSpec`: one function, so that every verb sees the same pixels.

Without torch, since what was exported runs without it; and because in each of the threads that decode, torch would
start threads of its own to copy an image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from twofold.data.decode import open_image
from twofold.data.spec import PixelSpec
from twofold.errors import Setting, SettingError, TwofoldError
from twofold.files import expanded


class ChannelMismatchError(SettingError):
    """An image in colour for a network that takes grey ones; `image` names it or, with `several`, where they are."""

    def __init__(self, image: str = "", *, several: bool = False) -> None:
        self.image, self.several = image, several
        super().__init__("{}", {"to_grey": True})

    def written(self, write: Callable[[Setting], str]) -> str:
        """Return the message with the remedy as `write` writes it."""
        what, them = ("images are", "them") if self.several else ("the image is", "it")
        named, grey = (f"{self.image}: " if self.image else ""), write({"to_grey": True})
        return f"{named}{what} in colour, and the network takes grey ones; {grey} turns {them} to grey"


def is_grey(image: Image.Image) -> bool:
    """Return whether an "L" or "RGB" image has no colour: red, green and blue equal everywhere."""
    if image.mode == "L":
        return True
    values = np.asarray(image)
    red = values[..., 0]
    return np.array_equal(red, values[..., 1]) and np.array_equal(red, values[..., 2])


def to_pixels(image: Image.Image, spec: PixelSpec) -> UInt8[np.ndarray, "channels height width"]:
    """Return the pixels of an "L" or "RGB" image (as from `open_image`) in the size and channels of `spec`.

    Resizing is Pillow's bilinear filter, which averages over the area that a pixel covers, so a small version has
    no aliasing. Grey becomes colour by repetition; colour becomes grey by luma if `spec.convert_colour` is set or
    if it was grey in truth.

    Raises:
        ChannelMismatchError: a colour image, where the spec has one channel and does not convert.
    """
    if spec.channels == 1 and image.mode != "L" and not spec.convert_colour and not is_grey(image):
        raise ChannelMismatchError
    resized = _resized(image.convert("L") if spec.channels == 1 else image, spec)
    planes = np.empty((len(resized.mode), resized.height, resized.width), dtype=np.uint8)
    # Band by band out of Pillow's memory: a third of the time of an array of pixels whose axes are then exchanged.
    for plane, band in zip(planes, resized.mode, strict=True):
        plane[:] = np.frombuffer(resized.tobytes("raw", band), dtype=np.uint8).reshape(plane.shape)
    return planes if len(planes) == spec.channels else np.repeat(planes, spec.channels, axis=0)


def whole_pixels(pixels: np.ndarray, spec: PixelSpec) -> np.ndarray | None:
    """Return what `to_pixels` makes of an image where it only cuts, as a view; None where it computes.

    The bytes are (height, width, 1 or 3), and (channels, height, width) in the result.

    """
    height, width, bands = pixels.shape
    wanted_height, wanted_width = spec.image_size
    fits = (height, width) == spec.image_size
    only_cut = spec.resize == "crop" and min(width / wanted_width, height / wanted_height) == 1
    if bands > spec.channels or not (fits or only_cut):
        return None
    top, left = (height - wanted_height) // 2, (width - wanted_width) // 2
    cut = pixels[top : top + wanted_height, left : left + wanted_width].transpose(2, 0, 1)
    return np.broadcast_to(cut, (spec.channels, wanted_height, wanted_width))


def _resized(image: Image.Image, spec: PixelSpec) -> Image.Image:
    height, width = spec.image_size
    if image.size == (width, height):
        return image
    if spec.resize == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if spec.resize == "crop":
        # Cutting from the source and scaling in one step keeps the centre exact to a fraction of a pixel.
        scale = min(image.width / width, image.height / height)
        if scale == 1:
            # Nothing to scale, as in what was packed at this size: whole pixels are kept, where half of one to the
            # side would blur and take as long as scaling.
            left, top = (image.width - width) // 2, (image.height - height) // 2
            return image.crop((left, top, left + width, top + height))
        # min() because width * (image.width / width) may round to a hair above image.width.
        cut_width, cut_height = min(width * scale, image.width), min(height * scale, image.height)
        left, top = (image.width - cut_width) / 2, (image.height - cut_height) / 2
        box = (left, top, left + cut_width, top + cut_height)
        return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def image_to_pil(value: Any) -> Image.Image:
    """Return an upright "L" or "RGB" image from a PIL image, a path, bytes, an open file, an array or a tensor.

    Arrays are (height, width) or (height, width, channels), tensors (height, width) or (channels, height, width), with
    1, 3 or 4 channels, the fourth being opacity; both are uint8, or floats from 0 to 1. Bytes and open files hold an
    encoded image. Transparency is composited on white, as in files.

    Raises:
        TwofoldError: another type, shape, dtype or range; BrokenImageError for a file that cannot be read.
    """
    if isinstance(value, str | Path):
        return open_image(expanded(value))
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, Image.Image | bytes) or hasattr(value, "read"):
        return open_image(value)
    if callable(getattr(value, "detach", None)):  # a tensor, told without importing torch
        if value.ndim not in (2, 3) or (value.ndim == 3 and value.shape[0] not in (1, 3, 4)):
            raise TwofoldError(
                f"an image tensor is (height, width) or (1, 3 or 4, height, width), got shape {tuple(value.shape)}"
            )
        planes = value.detach().cpu()
        if planes.is_floating_point():
            planes = planes.float()  # numpy has no bfloat16
        return _from_array((planes if planes.ndim == 2 else planes.permute(1, 2, 0)).numpy())
    if isinstance(value, np.ndarray):
        if value.ndim not in (2, 3) or (value.ndim == 3 and value.shape[2] not in (1, 3, 4)):
            raise TwofoldError(
                f"an image array is (height, width) or (height, width, 1, 3 or 4), got shape {value.shape}"
            )
        return _from_array(value)
    several = "; several images are for predict_many" if isinstance(value, list | tuple) else ""
    kinds = "a path, bytes, an open file, a PIL image, an array or a tensor"
    raise TwofoldError(f"an image is {kinds}, got {type(value).__name__}{several}")


def _from_array(values: np.ndarray) -> Image.Image:
    if values.size == 0:
        raise TwofoldError(f"the image has no pixels: shape {values.shape}")
    if np.issubdtype(values.dtype, np.floating):
        # Written so that NaN, which fails every comparison, is refused as well.
        if not (values.min() >= 0 and values.max() <= 1):
            raise TwofoldError(
                f"a float image has values from 0 to 1, got {values.min():g} to {values.max():g}; "
                "divide by 255, or pass uint8"
            )
        values = np.round(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise TwofoldError(f"an image is uint8, or float from 0 to 1, got {values.dtype}")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    image = Image.fromarray(np.ascontiguousarray(values))
    return open_image(image) if image.mode == "RGBA" else image
