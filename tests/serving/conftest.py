"""A server with three small networks, in this process, and a real browser."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import Asking
from served import Served
from served_networks import CLASSES, save, settings_for

from detectors import detector_spec
from processes import CommandLine
from small_predictors import boot, images, make, run
from twofold.data.spec import ModelSpec
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.inference.torch_predictor import TorchPredictor
from twofold.serving.server import RunningServer


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier, one of several labels, and a detector, exported; they take colour images."""
    folder = tmp_path_factory.mktemp("served")
    classifier = make("lenet-bn", channels=3, classes=CLASSES)
    spec = ModelSpec(**classifier.spec.model_dump() | {"task": "multilabel", "label_thresholds": (0.2, 0.3, 0.4)})
    labels = TorchPredictor(classifier.model, spec, classifier.hardware)
    torch.manual_seed(1)
    hardware = pick_hardware("cpu", "float32")
    spec = detector_spec(channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, score_threshold=0.4)
    detector = TorchPredictor(build_model(spec, hardware), spec, hardware)
    return {
        "classes": save(classifier, folder / "classes.onnx"),
        "labels": save(labels, folder / "labels.onnx"),
        "boxes": save(detector, folder / "boxes.onnx"),
    }


@pytest.fixture(scope="session")
def log() -> list[str]:
    """What the shared server has told whoever runs it."""
    return []


@pytest.fixture(scope="session")
def running(networks: dict[str, Path], log: list[str]) -> Iterator[RunningServer]:
    """The shared server."""
    with RunningServer(settings_for(networks, megabytes=1.0, megapixels=1.0, images=8), tell=log.append) as server:
        yield server


@pytest.fixture
def serving(twofold_command: CommandLine) -> Iterator[Callable[..., Served]]:
    """Return a function that starts `twofold serve` with these words at a free port."""
    begun: list[Served] = []

    def start_one(*words: str | Path, **environment: str) -> Served:
        process = twofold_command.start("serve", *words, "--port", "0", env={**os.environ, **environment})
        begun.append(Served(process))
        return begun[-1]

    yield start_one
    for served in begun:
        served.end(signal.SIGKILL)


@pytest.fixture
def ask(running: RunningServer) -> Iterator[Asking]:
    """A connection to the shared server."""
    with Asking(running.url) as asking:
        yield asking


@pytest.fixture
def start(networks: dict[str, Path]) -> Iterator[Callable[..., RunningServer]]:
    """Return a function that starts a server of its own with these settings, ended after the test."""
    servers: list[RunningServer] = []

    def start_one(models: dict[str, Path] | None = None, *, tell: Any = lambda line: None, **changes: Any) -> Any:
        server = RunningServer(settings_for(models or {"classes": networks["classes"]}, **changes), tell=tell)
        servers.append(server)
        return server.__enter__()

    yield start_one
    for server in servers:
        server.stop()


__all__ = ["boot", "images", "run"]
