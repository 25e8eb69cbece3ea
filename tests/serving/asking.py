"""A client of `twofold serve`, and raw bytes to it."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from PIL import Image


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line of an error; fails where it is anything else."""
        assert self.status >= 400, self.body
        assert self.headers["content-type"] == "application/json"
        (error,) = self.json.values()
        assert error
        assert error == error.strip()
        assert error.isprintable()
        return error


class Asking:
    """A connection to a server that is kept, as browsers keep it."""

    def __init__(self, url: str, **headers: str) -> None:
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=60)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def __call__(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and return the answer."""
        self._connection.request(method, path, body, {**self.headers, **(headers or {})})
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def predict(self, content: bytes, query: str = "", kind: str = "image/png", **headers: str) -> Answer:
        """Send an image as it is."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self("POST", f"/v1/predict{query}", content, {"Content-Type": kind, **given})


def raw(url: str, *pieces: bytes, until_closed: bool = True) -> bytes:
    """Send bytes and return all that comes until the server closes the connection, or a whole answer is there."""
    parts = urlsplit(url)
    received = b""
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        while chunk := connection.recv(65536):
            received += chunk
            if not until_closed and b"}" in received:
                break
    return received


def post(body: bytes, **headers: str) -> bytes:
    """Return a request to predict, as bytes."""
    given = {"Host": "127.0.0.1", "Content_Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join(["POST /v1/predict HTTP/1.1", *lines, "", ""]).encode() + body


def form(*files: tuple[str, bytes], boundary: str = "limit", **fields: str) -> tuple[bytes, dict[str, str]]:
    """Return a form with files, and its headers."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for name, content in files:
        head = f'Content-Disposition: form-data; name="images"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + content)
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def photo(seed: int = 0, *, size: tuple[int, int] = (40, 30), format: str = "PNG", mode: str = "RGB") -> bytes:
    """Return an encoded image, (width, height) large."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, format)
    return buffer.getvalue()
