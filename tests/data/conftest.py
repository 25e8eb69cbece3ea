"""Real image files and folders, a real server, and a cache of their own, for every test of the data package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep tests out of the user's cache, and out of any proxy."""
    folder = tmp_path_factory.mktemp("cache") / "twofold"
    monkeypatch.setenv("TWOFOLD_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "*")
    return folder


def save_image(path: Path, *, size: tuple[int, int] = (20, 12), mode: str = "RGB", seed: int = 0) -> Path:
    """Write a noisy image of `size` (width, height) in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,)}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def save_folder(root: Path, counts: dict[str, int], *, suffix: str = ".png", **options) -> Path:
    """Write `counts[class]` images for each class (a path such as train/cat is fine)."""
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save_image(root / name / f"{number:03d}{suffix}", seed=seed, **options)
            seed += 1
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes, 10 and 6 colour images of 20 x 12 pixels."""
    return save_folder(tmp_path / "photos", {"cat": 10, "dog": 6})


@dataclass
class Server:
    """A server on this machine that answers each path with the next of its replies, the last one for ever.

    A reply is the content; or a status; or "stall", which sends nothing until the server ends; or ("cut", content),
    which declares the length of the content and sends half; or ("endless", content), which declares no length.
    """

    address: str
    replies: dict[str, list]
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            waiting = server.replies.get(self.path, [404])
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(reply, int):
                self.send_error(reply)
            elif reply == "stall":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
                self.wfile.flush()
                server.released.wait(30)
            else:
                kind, content = reply if isinstance(reply, tuple) else ("whole", reply)
                self.send_response(200)
                if kind != "endless":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose replies the test sets."""
    state = Server("", {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    http.daemon_threads = True
    state.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.released.set()
    http.shutdown()
    http.server_close()
    thread.join()
