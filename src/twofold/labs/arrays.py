"""Values for a page: JSON, and beside it the bytes of its arrays, which JSON would make five times as large."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_KEPT = ("float32", "uint8", "int32")


def pack(content: Any) -> tuple[Any, list[bytes]]:
    """Return `content` as JSON values, with {"$array": n, "dtype": …, "shape": …} for its nth array, and the arrays."""
    buffers: list[bytes] = []

    def plain(value: Any) -> Any:
        value = _array(value)
        if isinstance(value, np.ndarray) and value.ndim:
            if value.dtype.name not in _KEPT:
                value = value.astype(np.int32 if value.dtype.kind in "iub" else np.float32)
            buffers.append(np.ascontiguousarray(value).tobytes())
            return {"$array": len(buffers) - 1, "dtype": value.dtype.name, "shape": list(value.shape)}
        if isinstance(value, Mapping):
            return {str(key): plain(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(inner) for inner in value]
        value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        # JSON has no word for these.
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return plain(content), buffers


def as_json(content: Any) -> Any:
    """Return `content` with its arrays and tensors as lists, for printing."""
    content = _array(content)
    if isinstance(content, np.ndarray):
        return content.tolist()
    if isinstance(content, Mapping):
        return {str(key): as_json(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [as_json(value) for value in content]
    return content.item() if isinstance(content, np.generic) else content


def _array(value: Any) -> Any:
    # A tensor, without importing torch: the gallery opens before it is there.
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def to_bytes(content: Any, buffers: list[bytes]) -> bytes:
    """Return one message of a socket: the lengths of its parts (4 bytes each, their number first), JSON, the arrays.

    Each part begins at a multiple of 4 bytes, as arrays of a page must.
    """
    parts = [json.dumps(content, allow_nan=False).encode(), *buffers]
    head = struct.pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts))
    return head + b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


def from_bytes(message: bytes) -> tuple[Any, list[bytes]]:
    """Return what `to_bytes` took.

    Raises:
        ValueError: it is no such message.
    """
    try:
        (count,) = struct.unpack_from("<I", message)
        if not 1 <= count <= 64:
            raise ValueError("too many parts")
        lengths = struct.unpack_from(f"<{count}I", message, 4)
    except struct.error as error:
        raise ValueError("a message without lengths") from error
    parts, start = [], 4 + 4 * count
    for length in lengths:
        if start + length > len(message):
            raise ValueError("a message that ends too early")
        parts.append(message[start : start + length])
        start += length + (-length % 4)
    try:
        return json.loads(parts[0]), parts[1:]
    except (ValueError, RecursionError) as error:
        raise ValueError("a message that is not JSON") from error
