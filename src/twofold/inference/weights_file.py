"""Checkpoints that survive: verified, atomic, and one behind in reserve (DESIGN rule 6).

A checkpoint is one safetensors file. Its header carries a JSON record and a SHA-256 over record and tensors, so a
truncated file or a single flipped bit is found on loading and never trained on. A new one is written beside the old,
flushed and renamed; the one before stays as `previous`. Whatever happens in between (SIGKILL, a full disk, a bad
sector), one good file is left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from twofold.errors import RunError, TwofoldError
from twofold.files import atomic_path


class BrokenCheckpointError(RunError):
    """A checkpoint that is missing, truncated or altered."""


def save_checkpoint(
    target: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any], *, keep: Path | None = None
) -> None:
    """Write `tensors` and the JSON-able `record` to `target`, durably; the file replaced stays under the name `keep`.

    Raises:
        RunError: it cannot be written, e.g. the disk is full; `target` is then what it was.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(record, sort_keys=True)
    with atomic_path(target, keep=keep) as temporary:
        try:
            save_file(plain, temporary, metadata={"record": text, "sha256": _digest(plain, text)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the record in `path`, after checking that they are what was written.

    Raises:
        BrokenCheckpointError: the file is missing, truncated or altered, or is no checkpoint of ours.
    """
    if not path.is_file():
        raise BrokenCheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenCheckpointError(f"{path} is broken: {error}") from error
    if "record" not in metadata or "sha256" not in metadata:
        raise BrokenCheckpointError(f"{path} was not written by Twofold: it has no record")
    if _digest(tensors, metadata["record"]) != metadata["sha256"]:
        raise BrokenCheckpointError(f"{path} is broken: its content does not match its checksum")
    return tensors, json.loads(metadata["record"])


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 over the record and, in order of names, every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(model: torch.nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy `weights` into `model`.

    Raises:
        TwofoldError: names or shapes differ; the message names the first of each kind.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    misshapen = [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    faults = [
        f"{len(names)} {kind} (first: {names[0]})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if faults:
        raise TwofoldError(f"{source} holds the weights of another architecture: {'; '.join(faults)}")
    model.load_state_dict(dict(weights))
