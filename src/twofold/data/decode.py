"""Any image file to one upright 8-bit image: the same for training, evaluation, prediction and serving.

Image files differ in more than their pixels: cameras store a photograph sideways and note the rotation in EXIF,
PNG has palettes, alpha and 16 bits, JPEG has CMYK, TIFF has floats and pages, GIF moves. `open_image` settles all of
this in one place and returns mode "L" (grey) or "RGB". A file may also be broken or hostile (a few kilobytes that
declare a gigapixel), so the header is checked before anything is decoded, and every failure is a `BrokenImageError`
that names the file and the reason.

Where a person should know what was made of a file, `remarks_of` the image says it, by the keys of `REMARKS`.

16 bits a channel become 8. Cameras of microscopes, X-ray detectors and depth sensors measure 12 bits and store them in
16, where the upper byte alone would be nearly black. What a file holds is told by its metadata where TIFF has it
(BitsPerSample, or MaxSampleValue of 2ⁿ − 1) or PPM (a largest value below 65,535), else by its largest value: below 256
it holds 8 bits, below 4,096 it holds 12, else 16. There are no steps between, so that images of one 12-bit camera keep
their brightness beside each other, the dark ones too. The rule looks at one file alone, so training, evaluation,
prediction and a pack agree.
"""

from __future__ import annotations

import io
import math
import re
import sys
import warnings
from pathlib import Path
from typing import IO, Protocol, cast, runtime_checkable

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from twofold.data.formats import FORMATS, KNOWN_FORMATS, installed, is_heif, suffix_of, what_it_is
from twofold.errors import TwofoldError

RECORD_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""What a packed record may be; small images are stored as PPM, bare pixels behind a header of a line."""

REMARKS = {
    "frames": "several frames or pages, of which the first is taken",
    "own range": "16 bits a channel that hold fewer, such as 12: scaled by these",
    "16 bits": "16 bits a channel, the lower 8 dropped",
}
"""What a person should know of how a file was read."""

MAX_PIXELS = 89_478_485
"""The largest image that is decoded, in pixels: a quarter gigabyte as RGB, which is also Pillow's own limit."""

DECODING = 3
"""Grows when some file gives other pixels or remarks than before: what was kept of decoded images is then made anew."""

_INFO_KEY = "twofold_remarks"
_ORIENTATION_TAG, _BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _TILE_SIDES = 0x0112, 258, 281, (322, 323)
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
    """Return an image of a format that is read (see `formats`) fully decoded, upright, in mode "L" or "RGB".

    EXIF orientation is applied, transparency is composited on white, 16 bits become 8 by the range that the file
    uses (see the top of this file), floats in 0..1 are scaled to 0..255, of several frames or pages the first is
    taken. `formats` are the ones that are tried; a file called .tga is tried as TGA too.

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
        name = getattr(source, "name", None)
        return _open_stream(source, name if isinstance(name, str) else None, max_pixels, formats)
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


def remarks_of(image: Image.Image) -> tuple[str, ...]:
    """Return what a person should know of how `open_image` made this image: keys of `REMARKS`, none for most files."""
    return image.info.get(_INFO_KEY, ())


def remark_line(key: str, count: int, first: str) -> str:
    """Return a line that says what `count` images have in common, of which `first` names one ("" where it has no name).

    >>> remark_line("frames", 2, "cat/a.gif")
    '2 images have several frames or pages, of which the first is taken (cat/a.gif, …)'
    """
    named = f" ({first}{', …' if count > 1 else ''})" if first else ""
    return f"{count:,} image{'s have' if count > 1 else ' has'} {REMARKS[key]}{named}"


def _open_stream(stream: ByteStream, path: str | None, max_pixels: int, formats: tuple[str, ...]) -> Image.Image:
    if not getattr(stream, "seekable", lambda: True)():
        stream = io.BytesIO(stream.read())
    try:
        image = identify(stream, path, formats=formats)
    except Image.DecompressionBombError as error:
        reason = f"its header declares more than the limit of {max_pixels:,} px; it may be a decompression bomb"
        raise BrokenImageError(path, reason) from error
    except UnidentifiedImageError as error:
        stream.seek(0)
        start = stream.read(64)
        what = what_it_is(start)
        reason = f"not an image that can be read{f' ({KNOWN_FORMATS})' if what is None else f': it is {what}'}"
        raise BrokenImageError(path, reason if start else "is empty") from error
    except Exception as error:
        raise BrokenImageError(path, f"its header cannot be read ({_brief(error)})") from error
    with image:
        return _decode(image, path, max_pixels, stream)


def identify(stream: ByteStream, path: str | None, *, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Return the image in a stream with no more than its header read, as Pillow has it.

    Args:
        stream: an open file; it may be read and moved about.
        path: what it is called, for formats that only the name tells.
        formats: the ones that are tried.

    Raises:
        UnidentifiedImageError: it is of none of these; and what else Pillow raises on damage.
    """
    try:
        return Image.open(cast(IO[bytes], stream), formats=formats)
    except UnidentifiedImageError:
        more = None
        if formats == FORMATS:
            stream.seek(0)
            if suffix_of(path or "") == ".tga":
                more = "TGA"
            elif is_heif(stream.read(12)) and installed("HEIF"):
                import pillow_heif

                pillow_heif.register_heif_opener()
                more = "HEIF"
        if more is None:
            raise
        return Image.open(cast(IO[bytes], stream), formats=(more,))


def declared_pixels(image: Image.Image) -> int:
    """Return how many pixels decoding an image takes, as its header has it.

    That of a TIFF may declare tiles larger than the image: whole tiles are decoded.
    """
    sides = (getattr(image, "tag_v2", {}).get(tag) for tag in _TILE_SIDES)
    tile = math.prod(side if isinstance(side, int) else 0 for side in sides)
    return max(image.width * image.height, tile)


def _decode(image: Image.Image, path: str | None, max_pixels: int, stream: ByteStream | None = None) -> Image.Image:
    """Check the declared size, decode all pixels, rotate upright and convert to "L" or "RGB"."""
    width, height = image.size
    if width == 0 or height == 0:
        raise BrokenImageError(path, f"has no pixels ({width} x {height} px)")
    if width * height > max_pixels:
        raise BrokenImageError(path, f"{width} x {height} px is over the limit of {max_pixels:,} px")
    if declared_pixels(image) > max_pixels:
        raise BrokenImageError(path, f"its tiles are over the limit of {max_pixels:,} px")
    # Read while the header says it: what Pillow has loaded no longer has tiles.
    declared, deep_mode, says_bits = _declared_bits(image), _deep_raw_mode(image), _largest_of_ppm(image) is not None
    try:
        image.load()
        deep, own_range = image, says_bits
        if deep_mode is not None and stream is not None:
            deep, own_range = _with_own_range(image, stream, deep_mode)
    except Exception as error:
        reason = _brief(error)
        cause = f"is truncated ({reason})" if "truncat" in reason else f"cannot be decoded ({reason})"
        raise BrokenImageError(path, cause) from error
    is_deep_grey = image.mode == "I" or image.mode.startswith("I;16")
    if is_deep_grey:
        converted, has_fewer = _deep_to_grey(image, path, declared)
        own_range = own_range or has_fewer
    else:
        converted = _to_grey_or_rgb(deep, path)
    try:
        operation = _TRANSPOSE.get(int(image.getexif().get(_ORIENTATION_TAG, 1)))
    except Exception:  # noqa: BLE001 - Pillow raises many kinds of error on damaged EXIF, which must not cost the image
        operation = None
    upright = converted if operation is None else converted.transpose(operation)
    remarks = []
    if is_deep_grey or deep_mode is not None:
        remarks.append("own range" if own_range else "16 bits")
    if _has_frames(image):
        remarks.append("frames")
    upright.info[_INFO_KEY] = tuple(remarks)
    return upright


def _has_frames(image: Image.Image) -> bool:
    # MPO is a JPEG with a preview or a second view behind it, which people do not think of as a film.
    if getattr(image, "format", None) == "MPO":
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - GIF looks for a second frame, and a damaged one must not cost the first
        return False


def _declared_bits(image: Image.Image) -> int | None:
    """Return how many of 16 bits the header of an image says that it uses; None where it does not say."""
    # These say it, and Pillow scales to 16 bits by what they say; 65,535 in a PPM says no more than that it has 16.
    if image.format == "JPEG2000" or _largest_of_ppm(image) is not None:
        return 16
    tags = getattr(image, "tag_v2", {})
    try:
        bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
        largest = tags.get(_MAX_SAMPLE_VALUE)
        largest = int(largest[0] if isinstance(largest, tuple) else largest or 0)
    except (TypeError, ValueError, IndexError):
        return None
    if 8 < bits < 16:
        return bits
    return next((bits for bits in range(8, 17) if largest == 2**bits - 1), None)


def _largest_of_ppm(image: Image.Image) -> int | None:
    """Return the largest value that the header of a PPM or PGM of two bytes a value gives, if that says how many bits.

    Until its pixels are loaded.
    """
    tiles = getattr(image, "tile", None)
    if image.format != "PPM" or not tiles or tiles[0][0] == "raw":
        return None
    largest = tiles[0][3][-1]
    return largest if isinstance(largest, int) and 0xFF < largest < 0xFFFF else None


def _bits_used(largest: int, declared: int | None) -> int:
    """Return how many of 16 bits a file uses whose largest value is `largest`."""
    if declared is not None and largest < 2**declared:
        return declared
    return next(bits for bits in (8, 12, 16) if largest < 2**bits)


def _deep_to_grey(image: Image.Image, path: str | None, declared: int | None) -> tuple[Image.Image, bool]:
    """Return a grey image of 16 bits in 8, and whether it uses fewer. Pillow's mode is "I;16", by some formats "I"."""
    values = np.asarray(image.convert("I"))
    smallest, largest = int(values.min()), int(values.max())
    if smallest < 0 or largest > 0xFFFF:
        raise BrokenImageError(path, f"has grey values from {smallest} to {largest}, outside 16 bits")
    bits = _bits_used(largest, declared)
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)), bits < 16


def _deep_raw_mode(image: Image.Image) -> str | None:
    """Return how a colour image of 16 bits a channel lies in its file, such as "RGB;16B"; None for all others.

    Of these Pillow keeps the upper bytes. A PPM may have two bytes a value and any number of bits: "PPM".
    """
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA") or not tiles:
        return None
    arguments = tiles[0][3]
    if image.format == "PPM":
        return "PPM" if tiles[0][0] != "raw" and arguments[-1] > 0xFF else None
    raw_mode = arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""
    bands, _, depth = raw_mode.partition(";")
    is_deep = bands in ("RGB", "RGBA", "RGBX", "LA") and depth in ("16B", "16L", "16N")
    return raw_mode if image.format in ("PNG", "TIFF") and is_deep else None


def _with_own_range(image: Image.Image, stream: ByteStream, raw_mode: str) -> tuple[Image.Image, bool]:
    """Return a colour image of 16 bits a channel scaled by the bits that it uses, and whether these are fewer."""
    if raw_mode == "PPM":
        values, says_fewer = _deep_ppm(image.size, stream)
        bits = 16 if says_fewer else _bits_used(int(values.max()), None)
        return Image.fromarray((values >> (bits - 8)).astype(np.uint8)), says_fewer or bits < 16
    upper = np.asarray(image)
    if upper[..., :3].max() >= 2**4:
        return image, False
    # Read once more, with the order of the bytes exchanged, Pillow gives the lower bytes; of grey with transparency,
    # read as four bytes a pixel, it gives all of them.
    is_big = raw_mode.endswith("B") or (raw_mode.endswith("N") and sys.byteorder == "big")
    exchanged = "RGBA" if raw_mode.startswith("LA") else f"{raw_mode[:-1]}{'L' if is_big else 'B'}"
    stream.seek(0)
    with Image.open(cast(IO[bytes], stream), formats=(str(image.format),)) as again:
        tiles = []
        for tile in again.tile:
            rest = () if tile.args is None or isinstance(tile.args, str) else tile.args[1:]
            tiles.append(tile._replace(args=(exchanged, *rest) if rest else exchanged))
        again.tile = tiles
        again.load()
        lower = np.asarray(again)
    if raw_mode.startswith("LA"):
        lower = lower[..., [1, 1, 1, 3]]
    colours = (upper.astype(np.uint16) << 8 | lower)[..., :3]
    result = upper.copy()
    result[..., :3] = colours >> (_bits_used(int(colours.max()), None) - 8)
    return Image.fromarray(result), True


def _deep_ppm(size: tuple[int, int], stream: ByteStream) -> tuple[np.ndarray, bool]:
    """Return the (height, width, 3) values of a colour PPM of two bytes a value, and whether its header says the bits.

    Where it does, they are scaled to 16. They are read as those of a grey image with three times the width.
    """
    width, height = size
    stream.seek(0)
    with Image.open(cast(IO[bytes], stream), formats=("PPM",)) as header:
        decoder, _, offset, (_, largest) = header.tile[0]  # type: ignore[misc]
        says_bits = _largest_of_ppm(header) is not None
    stream.seek(offset)
    if decoder == "ppm":
        values = np.frombuffer(stream.read(6 * width * height), dtype=">u2")
        scaled = np.rint(values.clip(0, largest) / largest * 0xFFFF) if says_bits else values
    else:
        start = f"P2\n{3 * width} {height}\n{largest}\n".encode()
        with Image.open(io.BytesIO(start + stream.read()), formats=("PPM",)) as grey:
            scaled = np.asarray(grey)
    return scaled.astype(np.uint16).reshape(height, width, 3), says_bits


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _to_grey_or_rgb(image: Image.Image, path: str | None) -> Image.Image:
    mode = image.mode
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
