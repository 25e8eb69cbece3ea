"""The ONNX file of a run, made once: it lies beside the weights and says of which it was made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from twofold.errors import TwofoldError
from twofold.files import cache_folder, file_digest
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.places import weights_path

_TRIES = 3


def kept_onnx(path: Path | str, *, tell: Callable[[str], None]) -> Path:
    """Return an ONNX file of the weights that `path` means: the one that is kept, or a new one, which is kept.

    It lies beside the weights; in Twofold's cache where their folder cannot be written, or the name there is taken by
    what is not ours to replace. Where it is there already, torch is not imported.

    Args:
        path: a run folder, or a file of weights.
        tell: takes a line about what is done.

    Raises:
        TwofoldError: there are no weights, or their network cannot be exported.
    """
    weights = weights_path(path)
    for _ in range(_TRIES):
        digest = file_digest(weights)
        beside = weights.with_suffix(".onnx")
        in_cache = cache_folder() / "exported" / f"{digest}.onnx"
        for file in (beside, in_cache):
            if _kept_digest(file) == digest:
                return file
        may_replace = not beside.exists() or _kept_digest(beside) is not None
        target = beside if may_replace and os.access(weights.parent, os.W_OK) else in_cache
        target.parent.mkdir(parents=True, exist_ok=True)
        tell(f"exporting {weights} to {target}")
        if _exported(weights, target, digest):
            return target
    raise TwofoldError(f"{weights} changes all the time; wait until training has ended")


def _exported(weights: Path, target: Path, digest: str) -> bool:
    """Export weights to a file, unless they are exchanged meanwhile, and return whether they were not."""
    from twofold.engine.options import Options
    from twofold.exporting.write import export

    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
        made = Path(temporary) / target.name
        # What it says of the weights' digest was read after the weights, and ours before: where both agree, so do all.
        export(weights, made, options=Options(show=False))
        if _kept_digest(made) != digest:
            return False
        made.replace(target)
        return True


def _kept_digest(file: Path) -> str | None:
    """Return the digest of the weights that a file was made of; None where it is not a whole export in float32."""
    try:
        predictor = OnnxPredictor.load(file)
    except TwofoldError:
        return None
    digest = predictor.record.get("weights_sha256")
    return str(digest) if digest and predictor.precision == "float32" else None
