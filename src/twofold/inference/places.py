"""Which file the path of a trained network means. It imports no torch."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from twofold.errors import TwofoldError
from twofold.files import expanded
from twofold.records import can_resume, missing_run
from twofold.terminal import command


def weights_path(path: Path | str) -> Path:
    """Return the file of trained weights that `path` means: itself, or in a run folder the weights of the best epoch.

    Raises:
        TwofoldError: there is no such file or folder, or no weights in it.
    """
    path = expanded(path)
    if path.is_file():
        if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
            raise TwofoldError(f"{path} is an image; a run folder, or one of its .safetensors files, is needed here")
        return path
    if not path.exists():
        raise missing_run(path)
    for candidate in (path / "checkpoints" / "best.safetensors", path / "best.safetensors"):
        if candidate.is_file():
            return candidate
    if (path / "recipe.json").is_file():
        go_on = ("--resume", path) if can_resume(path) else ("--recipe", path / "recipe.json")
        raise TwofoldError(f"{path} has no weights yet: no epoch was finished; go on with: {command('train', *go_on)}")
    raise TwofoldError(f"{path} is not a run folder: it has no recipe.json, and no best.safetensors either")


def exported_file(path: Path | str) -> Path | None:
    """Return the exported file that `path` is, or that is in the folder `path`; None for runs and weights."""
    path = expanded(path)
    if path.suffix.lower() == ".onnx":
        return path
    inside = path / "model.onnx"
    return inside if inside.is_file() and not (path / "recipe.json").exists() else None
