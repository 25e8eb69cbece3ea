"""The ONNX file of a run, made once: it lies beside the weights and says of which it was made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twofold.errors import TwofoldError
from twofold.files import cache_folder, file_digest
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.places import weights_path


def kept_onnx(path: Path | str, *, tell: Callable[[str], None]) -> Path:
    """Return an ONNX file of the weights that `path` means: the one that is kept, or a new one, which is kept.

    It lies beside the weights, or in Twofold's cache where their folder cannot be written. Where it is there already,
    torch is not imported.

    Args:
        path: a run folder, or a file of weights.
        tell: takes a line about what is done.

    Raises:
        TwofoldError: there are no weights, or their network cannot be exported.
    """
    weights = weights_path(path)
    digest = file_digest(weights)
    beside = weights.with_suffix(".onnx")
    in_cache = cache_folder() / "exported" / f"{digest}.onnx"
    for file in (beside, in_cache):
        if file.is_file() and _is_of(file, digest):
            return file
    target = beside if os.access(weights.parent, os.W_OK) else in_cache
    target.parent.mkdir(parents=True, exist_ok=True)
    tell(f"exporting {weights} to {target}")
    from twofold.engine.options import Options
    from twofold.exporting.write import export

    export(weights, target, options=Options(show=False))
    return target


def _is_of(file: Path, digest: str) -> bool:
    try:
        return OnnxPredictor.load(file).record.get("weights_sha256") == digest
    except TwofoldError:  # broken, or of another version: made anew
        return False
