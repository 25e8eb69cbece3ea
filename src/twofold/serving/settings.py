"""All that decides a server: where it listens, which networks it has, and its limits."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from twofold.errors import TwofoldError

Engine = Literal["onnx", "torch"]
MEGABYTE = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        models: name -> run folder, weights or exported file; the first is the one that is asked where none is named.
        host: the address to listen on; 127.0.0.1 is this machine alone.
        port: 0 for one that is free.
        token: who asks must send it; None for nobody, which only this machine may do.
        allowed_hosts: further names under which the server is reached, such as that of a proxy before it.
        engine: what computes: onnxruntime, or torch.
        device: where to compute: auto, cpu, cuda or mps.
        to_grey: turn colour images to grey, for networks that were trained on grey ones.
        batch: the most images that are computed at once.
        wait: seconds that an image waits for others to be computed with; 0 takes those that are there.
        waiting: the most images that are in the server at once, for each network; further ones are refused with 503.
        deadline: seconds from the whole request to its answer; what takes longer is answered with 504.
        upload: seconds that a request may take to arrive.
        megabytes: the most bytes of a request, in millions.
        megapixels: the most pixels of an image, in millions.
        images: the most images of a request.
        threads: those that compute one batch; 0 for one a core.
        decoders: those that decode images; 0 for one a core.
        reload: exchange a network when its file changes.
        drain: seconds from the signal to end until no request is taken any more, in which /readyz says so.
        access_log: a line for each request.
    """

    models: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    engine: Engine = "onnx"
    device: str = "auto"
    to_grey: bool = False
    batch: int = 32
    wait: float = 0.0
    waiting: int = 256
    deadline: float = 10.0
    upload: float = 30.0
    megabytes: float = 32.0
    megapixels: float = 50.0
    images: int = 64
    threads: int = 0
    decoders: int = 0
    reload: bool = True
    drain: float = 0.5
    access_log: bool = True
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)

    @property
    def most_images(self) -> int:
        """The most images of a request: more than may wait would never be taken."""
        return min(self.images, self.waiting)

    @property
    def is_local(self) -> bool:
        """Whether the server is reached from this machine alone."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether an address or a name means this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def named_models(words: list[str]) -> dict[str, Path]:
    """Return name -> path of the networks that a command line has, as PATH or NAME=PATH.

    Raises:
        TwofoldError: a name cannot stand in an address, or two networks have the same.
    """
    models: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or os.path.exists(word):
            path, stem = word, Path(word).stem if word.lower().endswith((".onnx", ".safetensors")) else Path(word).name
            parent = Path(os.path.abspath(word)).parent
            name = parent.name if stem in ("model", "best") else stem
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "model"
        if not _NAME.fullmatch(name):
            raise TwofoldError(f"{name!r} is no name for a network: letters, digits, . _ and -, at most 64")
        if name in models:
            raise TwofoldError(f"two networks are called {name}; name them, such as a={models[name]} b={path}")
        models[name] = Path(path)
    return models
