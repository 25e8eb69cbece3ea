"""Any image file to one upright 8-bit image: the same for training, evaluation, prediction and serving.

Image files differ in more than their pixels: cameras store a photograph sideways and note the rotation in EXIF,
PNG has palettes, alpha and 16 bits, JPEG has CMYK, TIFF has floats and pages. `open_image` settles all of this in
one place and returns mode "L" (grey) or "RGB". A file may also be broken or hostile (a few kilobytes that declare
a gigapixel), so the header is checked before anything is decoded, and every failure is a `BrokenImageError` that
names the file and the reason.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import IO, Protocol, cast, runtime_checkable

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from twofold.errors import TwofoldError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
RECORD_FORMATS = (*FORMATS, "PPM")
"""What a packed record may be besides: bare pixels behind a header of a line, which small images are stored as."""

MAX_PIXELS = 89_478_485
"""The largest image that is decoded, in pixels: a quarter gigabyte as RGB, which is also Pillow's own limit."""

_ORIENTATION_TAG = 0x0112
_BARE_HEADER = re.compile(rb"P([56])\n([1-9]\d{0,4}) ([1-9]\d{0,4})\n255\n")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PIL_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@runtime_checkable
class ByteStream(Protocol):
    """What an image is read from: an open binary file, `io.BytesIO`, an upload."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes, or all."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset`."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


class BrokenImageError(TwofoldError):
    """An image that cannot be read: `path` names it (None for an unnamed stream) and `reason` says why."""

    def __init__(self, path: str | None, reason: str) -> None:
        super().__init__(f"{path or 'the image'}: {reason}")
        self.path = path
        self.reason = reason


def open_image(
    source: str | Path | bytes | ByteStream | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
) -> Image.Image:
    """Return a PNG, JPEG, WebP, BMP or TIFF image fully decoded, upright, in mode "L" or "RGB".

    EXIF orientation is applied, transparency is composited on white, 16 bits become 8 by dropping the lower byte,
    floats in 0..1 are scaled to 0..255, of several pages the first is taken. `formats` are the ones that are tried.

    Raises:
        BrokenImageError: the source cannot be read, is not an image, is truncated, has no pixels, or declares more
            than `max_pixels` of them (seen in the header, before decoding).
    """
    quiet_pillow()
    if isinstance(source, Image.Image):
        return _decode(source, None, max_pixels)
    if isinstance(source, bytes):
        return _open_stream(io.BytesIO(source), None, max_pixels, formats)
    if not isinstance(source, str | Path):
        return _open_stream(source, None, max_pixels, formats)
    try:
        with open(source, "rb") as file:
            return _open_stream(file, str(source), max_pixels, formats)
    except OSError as error:
        raise BrokenImageError(str(source), f"cannot be read: {error.strerror or error}") from error


def bare_pixels(content: bytes) -> np.ndarray | None:
    """Return the pixels of a PPM or PGM record, (height, width, 3 or 1), without copying them; None for other bytes.

    Only records as Pillow writes them, with every byte that their header announces and no more.
    """
    header = _BARE_HEADER.match(content)
    if header is None:
        return None
    width, height = int(header[2]), int(header[3])
    bands = 3 if header[1] == b"6" else 1
    if len(content) - header.end() != height * width * bands:
        return None
    return np.frombuffer(content, dtype=np.uint8, offset=header.end()).reshape(height, width, bands)


def quiet_pillow() -> None:
    """Silence Pillow's own warnings (odd EXIF, palette transparency): what matters becomes an error here.

    `warnings.catch_warnings` would be the usual way, but it swaps a global list and so is not safe in the threads
    that decode. One filter, for Pillow's modules alone, is put in front if it is not there yet.
    """
    if _PIL_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _open_stream(stream: ByteStream, path: str | None, max_pixels: int, formats: tuple[str, ...]) -> Image.Image:
    try:
        image = Image.open(cast(IO[bytes], stream), formats=formats)
    except Image.DecompressionBombError as error:
        reason = f"its header declares more than the limit of {max_pixels:,} px; it may be a decompression bomb"
        raise BrokenImageError(path, reason) from error
    except UnidentifiedImageError as error:
        raise BrokenImageError(path, "not an image that can be read (PNG, JPEG, WebP, BMP or TIFF)") from error
    except Exception as error:
        raise BrokenImageError(path, f"its header cannot be read ({_brief(error)})") from error
    with image:
        return _decode(image, path, max_pixels)


def _decode(image: Image.Image, path: str | None, max_pixels: int) -> Image.Image:
    """Check the declared size, decode all pixels, rotate upright and convert to "L" or "RGB"."""
    width, height = image.size
    if width == 0 or height == 0:
        raise BrokenImageError(path, f"has no pixels ({width} x {height} px)")
    if width * height > max_pixels:
        raise BrokenImageError(path, f"{width} x {height} px is over the limit of {max_pixels:,} px")
    try:
        image.load()
    except Exception as error:
        reason = _brief(error)
        cause = f"is truncated ({reason})" if "truncat" in reason else f"cannot be decoded ({reason})"
        raise BrokenImageError(path, cause) from error
    converted = _to_grey_or_rgb(image, path)
    try:
        operation = _TRANSPOSE.get(int(image.getexif().get(_ORIENTATION_TAG, 1)))
    except Exception:  # noqa: BLE001 - Pillow raises many kinds of error on damaged EXIF, which must not cost the image
        operation = None
    return converted if operation is None else converted.transpose(operation)


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _to_grey_or_rgb(image: Image.Image, path: str | None) -> Image.Image:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        # Grey of 16 bits, of which the upper byte is kept. Pillow calls it "I;16" or, by format and version, "I".
        values = np.asarray(image.convert("I"))
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BrokenImageError(path, f"has grey values from {values.min()} to {values.max()}, outside 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if mode == "F":
        values = np.asarray(image)
        # Written so that NaN, which fails every comparison, is refused as well.
        if not (values.min() >= 0 and values.max() <= 1):
            raise BrokenImageError(path, f"has float values from {values.min()} to {values.max()}; only 0..1 is known")
        return Image.fromarray(np.round(values * 255).astype(np.uint8))
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None is returned for in-place conversion alone
        return converted
    if "transparency" in image.info or mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        # Composited on white; grey with transparency stays grey.
        rgba = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("L" if mode in ("L", "LA", "La", "1") else "RGB")
    return image.copy() if mode == "L" else image.convert("L" if mode == "1" else "RGB")
