"""The idx format of MNIST and its relatives: a magic number, the dimensions, then the bytes.

The files may come from anywhere, so nothing in them is believed: the magic number, the dimensions and the exact
length are checked, and a gzip member is only inflated as far as a valid file could reach.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from twofold.errors import TwofoldError

_UINT8_CODE = 0x08
_MAX_BYTES = 256 * 2**20


def read_images(path: Path, *, size: tuple[int, int]) -> UInt8[Tensor, "n 1 height width"]:
    """Return the images of a gzipped idx3 file, whose height and width must be `size`.

    Raises:
        TwofoldError: the file cannot be read or is not exactly such a file.
    """
    content, (n, height, width) = _read(path, num_dimensions=3)
    if (height, width) != size:
        raise TwofoldError(f"{path} holds images of {height} x {width} px, expected {size[0]} x {size[1]}")
    return torch.frombuffer(content, dtype=torch.uint8).reshape(n, 1, height, width)


def read_labels(path: Path, *, num_classes: int) -> Int64[Tensor, " n"]:
    """Return the labels of a gzipped idx1 file, each below `num_classes`.

    Raises:
        TwofoldError: the file cannot be read, is not exactly such a file, or has a label out of range.
    """
    content, _ = _read(path, num_dimensions=1)
    labels = torch.frombuffer(content, dtype=torch.uint8).to(torch.int64)
    if int(labels.max()) >= num_classes:
        raise TwofoldError(f"{path} has the label {int(labels.max())}, but there are {num_classes} classes")
    return labels


def _read(path: Path, *, num_dimensions: int) -> tuple[bytearray, tuple[int, ...]]:
    header_size = 4 + 4 * num_dimensions
    try:
        with gzip.open(path, "rb") as file:
            header = file.read(header_size)
            if len(header) < header_size or header[:4] != bytes((0, 0, _UINT8_CODE, num_dimensions)):
                raise TwofoldError(f"{path} is not an idx file of bytes with {num_dimensions} dimensions")
            shape = struct.unpack(f">{num_dimensions}I", header[4:])
            expected = math.prod(shape)
            if not 0 < expected <= _MAX_BYTES:
                raise TwofoldError(f"{path} declares the dimensions {shape}, which no data set here has")
            # One byte more than expected is enough to see that there is too much.
            content = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TwofoldError(f"cannot read {path}: {error}; it may be damaged or cut short") from error
    if len(content) != expected:
        more = "more" if len(content) > expected else "fewer"
        raise TwofoldError(f"{path} has {more} than the {expected} bytes that its dimensions {shape} declare")
    return bytearray(content), shape
