"""Small networks to serve, and the settings of a server for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.exporting.onnx_file import build_onnx, save_onnx
from twofold.inference.torch_predictor import TorchPredictor
from twofold.serving.settings import ServeSettings

CLASSES = ("bag", "boot", "衬衫 $x$")


def save(predictor: TorchPredictor, path: Path) -> Path:
    """Export a small network to a file."""
    save_onnx(build_onnx(predictor.model, predictor.spec), path)  # type: ignore[arg-type]
    return path


def settings_for(models: dict[str, Path], **changes: Any) -> ServeSettings:
    """Settings of a server for tests: at a free port, with one thread to compute."""
    return ServeSettings(**{"models": models, "port": 0, "threads": 1, "drain": 0.1} | changes)
