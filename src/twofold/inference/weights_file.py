"""Files of weights: tensors, and the record that says what they are, in one safetensors file.

The header carries a JSON record and a SHA-256 over record and tensors, so a truncated file or a single flipped bit is
found on loading. For weights that are there to be used, the record holds the spec of their network, so that the file
alone is enough to use them: on another machine, from any folder, without the run that made it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from twofold.data.spec import Compute, ModelSpec
from twofold.errors import RunError, TwofoldError
from twofold.files import atomic_path, parse_json
from twofold.inference.other_files import AGAIN, kind_of
from twofold.inference.places import weights_path
from twofold.records import load_object
from twofold.terminal import command


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
            safetensors.torch.save_file(plain, temporary, metadata={"record": text, "sha256": _digest(plain, text)})
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
        # Read once and whole: a run may put a new file under this name while it is read, and `safe_open` opens by name
        # more than once.
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, OSError, ValueError, KeyError) as error:  # Key: a type of number that torch lacks
        raise BrokenCheckpointError(f"{path} is broken: {error}") from error
    metadata = header.get("__metadata__", {})
    if "record" not in metadata or "sha256" not in metadata:
        raise BrokenCheckpointError(f"{path} was not written by Twofold: it has no record{_go_on(path)}")
    if _digest(tensors, metadata["record"]) != metadata["sha256"]:
        raise BrokenCheckpointError(f"{path} is broken: its content does not match its checksum")
    try:
        record = parse_json(metadata["record"], source="its record")
    except TwofoldError as error:
        raise BrokenCheckpointError(f"{path} is broken: {error}") from error
    if not isinstance(record, dict):
        raise BrokenCheckpointError(f"{path} is broken: its record is no JSON object")
    return tensors, record


def _go_on(path: Path) -> str:
    again = command("finetune", path, "MODEL", "--data", "PATH")
    return f", such as classes and image size; to train on from its weights: {again}"


def has_record(path: Path) -> bool:
    """Return whether `path` is a file that `save_checkpoint` wrote, whatever its name; it may be damaged since."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return "record" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


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


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], ModelSpec, Path]:
    """Return trained weights, the spec of their network, and the file that they are from.

    Raises:
        TwofoldError: there are none, or `path` is the state of a run and no weights to use.
        BrokenCheckpointError: the file is truncated or altered.
    """
    file = weights_path(path)
    kind = kind_of(file)
    if kind == "torch":
        raise TwofoldError(f"{file} was not written by Twofold, but by torch.save: it has no record{_go_on(file)}")
    if kind not in (None, "safetensors") and not kind.endswith(AGAIN):
        raise TwofoldError(f"{file} is {kind}")
    tensors, record = load_checkpoint(file)
    if record.get("kind") != "weights":
        raise TwofoldError(f"{file} is the state of a run, not its weights; give the run folder")
    spec = ModelSpec.from_json(json.dumps(record.get("spec")), origin=str(file))
    if spec.format == 1:
        # Until then the run folder alone said how its network computes.
        folder = file.parent.parent
        environment, recipe = (load_object(folder / name, []) or {} for name in ("environment.json", "recipe.json"))
        with contextlib.suppress(ValidationError):  # somebody changed them: as if they were not there
            compute = Compute(precision=environment.get("precision", "auto"), winograd=recipe.get("winograd", True))
            spec = spec.model_copy(update={"compute": compute})
    return tensors, spec, file
