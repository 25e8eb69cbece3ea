"""Prepared data sets on disk: one safetensors file each, with a digest of its own content.

safetensors holds plain tensors and nothing that runs. The digest covers names, images and labels; it is checked
whenever the file is read, and is also the fingerprint by which a run records what it was trained on, the same
wherever the data came from.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from jaxtyping import Int64, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from twofold.files import write_bytes

_TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Arrays:
    """A data set as tensors: uint8 images (n, channels, height, width), int64 labels, and the class names."""

    class_names: tuple[str, ...]
    train_images: UInt8[Tensor, "n channels height width"]
    train_labels: Int64[Tensor, " n"]
    test_images: UInt8[Tensor, "m channels height width"]
    test_labels: Int64[Tensor, " m"]

    def fingerprint(self) -> str:
        """Return the SHA-256 of class names, shapes, images and labels."""
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for name in _TENSORS:
            tensor = getattr(self, name).contiguous()
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().data)
        return digest.hexdigest()


class DamagedStoreError(Exception):
    """The file is there but is not what was written; caught where the data are rebuilt."""


def write_store(path: Path, arrays: Arrays) -> None:
    """Write `arrays` to `path`, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(arrays, name).contiguous() for name in _TENSORS}
    metadata = {"sha256": arrays.fingerprint(), "class_names": json.dumps(arrays.class_names)}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_store(path: Path) -> tuple[Arrays, str]:
    """Return the arrays in `path` and their fingerprint.

    Raises:
        DamagedStoreError: the content is not what was written.
        OSError: the file cannot be opened (`FileNotFoundError` if it is not there).
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            class_names = tuple(json.loads(metadata["class_names"]))
            arrays = Arrays(class_names, *(file.get_tensor(name) for name in _TENSORS))
            expected = metadata["sha256"]
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:  # Runtime: replaced meanwhile
        raise DamagedStoreError(str(error)) from error
    fingerprint = arrays.fingerprint()
    if fingerprint != expected:
        raise DamagedStoreError(f"its SHA-256 is {fingerprint[:12]}…, written was {expected[:12]}…")
    return arrays, fingerprint
