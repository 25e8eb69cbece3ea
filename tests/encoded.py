"""A photograph in every format and mode that a folder may hold, for tests of any room."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded_images() -> list[bytes]:
    """A photograph, small, in every format and mode that a folder may hold."""
    dice = np.random.default_rng(0)
    colour = Image.fromarray(dice.integers(0, 256, (24, 31, 3), dtype=np.uint8))
    modes = {
        "grey": colour.convert("L"),
        "palette": colour.convert("P"),
        "opacity": colour.convert("RGBA"),
        "16 bits": Image.fromarray(dice.integers(0, 4096, (24, 31), dtype=np.uint16)),
        "one bit": colour.convert("1"),
        "ink": colour.convert("CMYK"),
    }
    kept = {
        "PNG": ("grey", "palette", "opacity", "16 bits", "one bit"),
        "JPEG": ("grey", "ink"),
        "TIFF": ("grey", "16 bits", "ink"),
        "GIF": ("palette",),
        "BMP": ("one bit",),
        "WEBP": ("opacity",),
    }
    found = []
    for format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "TGA"):
        for image in (colour, *(modes[mode] for mode in kept.get(format, ()))):
            file = io.BytesIO()
            frames = {"save_all": True, "append_images": [modes["palette"]]} if format == "GIF" else {}
            exif = Image.Exif()
            exif[0x0112] = 6
            if format in {"JPEG", "PNG", "WEBP"}:
                frames["exif"] = exif
            image.save(file, format, **frames)
            found.append(file.getvalue())
    return found


def tiled_tiff(side: int, tile: int) -> bytes:
    """Return a grey TIFF of `side` px whose one tile has `tile` px, all zeros and deflated."""
    data = zlib.compress(bytes(tile * tile), 9)
    entries = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile)]
    entries += [(324, 8), (325, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + struct.pack("<I", 0)
