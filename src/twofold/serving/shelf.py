"""The networks of a server: loaded, warmed up, and exchanged when their file changes without a lost request."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import TwofoldError
from twofold.files import file_digest
from twofold.inference.places import exported_file, weights_path
from twofold.inference.predictor import Predictor
from twofold.serving.batcher import Batcher
from twofold.serving.metrics import Metrics
from twofold.serving.settings import ServeSettings
from twofold.tasks.predictions import threshold_of

_WARM_UP_BATCHES = 3


@dataclass(frozen=True)
class Served:
    """A network that answers.

    Attributes:
        name: by which it is asked for.
        predictor: the network.
        batcher: computes what it is asked.
        version: of its file, in hexadecimal digits; another file has another.
    """

    name: str
    predictor: Predictor
    batcher: Batcher
    version: str

    def to_record(self) -> dict[str, Any]:
        """Return what a client may know of it, as JSON has it: nothing of where it lies."""
        spec, predictor = self.predictor.spec, self.predictor
        return {
            "name": self.name,
            "task": spec.task,
            "architecture": spec.architecture,
            "classes": list(spec.class_names),
            "image": {
                "height": spec.image_size[0],
                "width": spec.image_size[1],
                "channels": spec.channels,
                "resize": spec.resize,
            },
            "engine": predictor.where,
            "precision": predictor.precision,
            "version": self.version,
            **({"thresholds": predictor.thresholds} if spec.task == "multilabel" else {}),
            **({"threshold": threshold_of(spec)} if spec.task == "detect" else {}),
        }


class Shelf:
    """The networks of a server by name.

    Args:
        settings: of the server.
        metrics: told of each batch and each exchange.
        tell: takes a line for the person who runs the server.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics, tell: Callable[[str], None]) -> None:
        self._settings, self._metrics, self._tell = settings, metrics, tell
        self._served: dict[str, Served] = {}
        self._stamps: dict[str, Any] = {}
        self._exchange = asyncio.Lock()

    @property
    def served(self) -> Mapping[str, Served]:
        """The networks that answer now, by name; the first is the one that is asked where none is named."""
        return self._served

    @property
    def is_ready(self) -> bool:
        """Whether all networks answer."""
        return len(self._served) == len(self._settings.models)

    async def load(self) -> None:
        """Load all networks, one after the other.

        Raises:
            TwofoldError: one of them cannot be used.
        """
        for name, path in self._settings.models.items():
            self._stamps[name] = stamp(path)
            self._served[name] = await self._open(name, path)

    async def reload(self, *, only_changed: bool) -> None:
        """Load networks anew and exchange them; what the old ones were asked they still answer.

        A network that cannot be loaded leaves the old one where it is, and a line says so.
        """
        async with self._exchange:
            for name, path in self._settings.models.items():
                now = stamp(path)
                if only_changed and now in (None, self._stamps[name]):
                    continue
                self._stamps[name] = now
                old = self._served[name]
                try:
                    new = await self._open(name, path)
                except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one answers
                    self._metrics.reloads.labels(name, "failed").inc()
                    self._tell(f"{name} stays as it was: {error}".partition("\n")[0])
                    continue
                self._served[name] = new
                self._metrics.reloads.labels(name, "exchanged").inc()
                self._tell(f"{name} is exchanged: version {new.version}, before {old.version}")
                await asyncio.to_thread(old.batcher.close)

    async def watch(self, *, seconds: float = 1.0) -> None:
        """Exchange networks whose file changes, until cancelled."""
        before = self._stamps
        while True:
            await asyncio.sleep(seconds)
            now = {name: stamp(path) for name, path in self._settings.models.items()}
            # Twice the same: whoever writes it has done.
            if now == before and any(one not in (None, self._stamps[name]) for name, one in now.items()):
                await self.reload(only_changed=True)
            before = now

    def close(self) -> None:
        """Compute what waits, and end."""
        for served in self._served.values():
            served.batcher.close()

    async def _open(self, name: str, path: Path) -> Served:
        predictor, version = await asyncio.to_thread(self._load, path)
        observe = self._metrics.batch_observer(name)
        settings = self._settings
        batcher = Batcher(
            predictor.answer, batch=settings.batch, wait=settings.wait, most=settings.waiting, observe=observe
        )
        self._metrics.waiting.labels(name).set_function(lambda: len(batcher))
        return Served(name, predictor, batcher, version)

    def _load(self, path: Path) -> tuple[Predictor, str]:
        """Return a network that has computed batches of the least and the greatest size, and its version."""
        settings = self._settings
        predictor = load_for(path, settings, self._tell)
        spec = predictor.spec
        for number in (1, settings.batch):
            pixels = np.zeros((number, spec.channels, *spec.image_size), dtype=np.uint8)
            for _ in range(_WARM_UP_BATCHES if number == 1 else 1):
                predictor.answer(pixels, [spec.image_size] * number)
        return predictor, version_of(path)


_LOADING = threading.Lock()


def load_for(path: Path, settings: ServeSettings, tell: Callable[[str], None]) -> Predictor:
    """Return a network as a server uses it: with onnxruntime, exported on the fly, or with torch.

    Raises:
        TwofoldError: it cannot be used.
    """
    file = exported_file(path)
    if file is None and settings.engine == "torch":
        from twofold.inference.torch_predictor import TorchPredictor

        return TorchPredictor.load(path, device=settings.device, to_grey=settings.to_grey)
    if settings.engine == "torch":
        raise TwofoldError(f"{path} is an exported file, which onnxruntime computes; leave --engine torch out")
    from twofold.inference.onnx_predictor import OnnxPredictor

    if file is None:
        from twofold.exporting.kept import kept_onnx

        with _LOADING:
            file = kept_onnx(path, tell=tell)
    return OnnxPredictor.load(
        file,
        device=settings.device,
        to_grey=settings.to_grey,
        threads=settings.threads or settings.cores,
        spin=False,
    )


def file_of(path: Path) -> Path:
    """Return the file whose content is what is served."""
    return exported_file(path) or weights_path(path)


def version_of(path: Path) -> str:
    """Return the first digits of the digest of the file that is served."""
    return file_digest(file_of(path))[:12]


def stamp(path: Path) -> Any:
    """Return what changes when the file that is served does; None while it is not there."""
    try:
        status = os.stat(file_of(path))
    except (OSError, TwofoldError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
