import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import Server
from twofold.data.download import DownloadError, Patience, Resource, download
from twofold.errors import RunError
from twofold.files import file_digest

CONTENT = os.urandom(700_000)
QUICK = Patience(timeout=10.0, attempts=3, pause=0.01)
IMPATIENT = Patience(timeout=0.3, attempts=3, pause=0.01)


def resource(*urls: str, content: bytes = CONTENT, **options) -> Resource:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Resource(filename="data.bin", urls=urls, md5=md5, **options)


def fetch(wanted: Resource, target: Path, patience: Patience = QUICK) -> None:
    download(wanted, target, patience=patience, show_progress=False)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success(server: Server, tmp_path: Path):
    server.replies["/a"] = [CONTENT]
    fetch(resource(f"{server.address}/a"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert file_digest(tmp_path / "data.bin", "md5") == hashlib.md5(CONTENT).hexdigest()
    assert left_in(tmp_path) == ["data.bin"]


def test_without_a_declared_length(server: Server, tmp_path: Path):
    server.replies["/a"] = [("endless", CONTENT)]
    fetch(resource(f"{server.address}/a"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_trouble_that_passes(server: Server, tmp_path: Path):
    server.replies["/a"] = [500, ("cut", CONTENT), CONTENT]
    fetch(resource(f"{server.address}/a"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_the_next_mirror(server: Server, tmp_path: Path):
    server.replies = {"/a": [404], "/b": [b"other content"], "/c": [CONTENT]}
    fetch(resource(*(f"{server.address}/{mirror}" for mirror in "abc")), tmp_path / "data.bin")
    assert server.requests == ["/a", "/b", "/c"]  # neither is asked again: the answer would be the same
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("reply", "message", "num_requests"),
    [
        (b"something else", "wrong checksum: MD5 [0-9a-f]{32}, expected", 1),
        ("stall", "no answer in time", 3),
        (503, "the server answered 503 Service Unavailable", 3),
        (404, "the server answered 404 Not Found", 1),
        (("cut", CONTENT), "the connection ended after 350,000 of 700,000 bytes", 3),
        (CONTENT + b"x", "700,001 bytes, more than the 700,000 allowed", 1),
        (("endless", CONTENT + b"x"), "more than the 700,000 bytes allowed", 1),
    ],
)
def test_failure_leaves_nothing(server: Server, tmp_path: Path, reply, message, num_requests):
    server.replies["/a"] = [reply]
    with pytest.raises(DownloadError, match=message) as raised:
        patience = IMPATIENT if reply == "stall" else QUICK
        fetch(resource(f"{server.address}/a", max_bytes=len(CONTENT)), tmp_path / "data.bin", patience)
    assert f"{server.address}/a" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert left_in(tmp_path) == []
    assert len(server.requests) == num_requests


def test_a_failure_keeps_the_file_that_was_there(server: Server, tmp_path: Path):
    (tmp_path / "data.bin").write_bytes(b"old")
    server.replies["/a"] = [("cut", CONTENT)]
    with pytest.raises(DownloadError):
        fetch(resource(f"{server.address}/a"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == b"old"
    assert left_in(tmp_path) == ["data.bin"]


def test_no_network(tmp_path: Path):
    with socket.socket() as reserved:  # bound but not listening: every connection is refused
        reserved.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}/a"
        with pytest.raises(DownloadError, match="refused"):
            fetch(resource(address, "http://nowhere.invalid/a"), tmp_path / "data.bin")
    assert left_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_no_network_trouble(server: Server, tmp_path: Path):
    server.replies["/a"] = [CONTENT]
    with pytest.raises(RunError, match=r"cannot write .*nowhere"):
        fetch(resource(f"{server.address}/a"), tmp_path / "nowhere" / "data.bin")
    assert server.requests == []


def test_attempts_wait_longer_each_time(server: Server, tmp_path: Path):
    server.replies["/a"] = [500]
    start = time.monotonic()
    with pytest.raises(DownloadError):
        fetch(resource(f"{server.address}/a"), tmp_path / "data.bin", Patience(timeout=1.0, attempts=3, pause=0.1))
    assert time.monotonic() - start >= 0.3  # 0.1 + 0.2


SCRIPT = """
import sys
from pathlib import Path
from twofold.data.download import Patience, Resource, download
wanted = Resource(filename="data.bin", urls=(sys.argv[1],), md5="0" * 32)
download(wanted, Path(sys.argv[2]) / "data.bin", patience=Patience(timeout=30.0))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_kill_in_the_middle(server: Server, tmp_path: Path, number):
    server.replies["/a"] = ["stall"]
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{server.address}/a", str(tmp_path)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (server.requests and left_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    _, errors = running.communicate(timeout=30.0)
    assert running.returncode != 0
    assert server.requests == ["/a"]
    assert not (tmp_path / "data.bin").exists()
    if number == signal.SIGINT:
        assert b"KeyboardInterrupt" in errors
        assert left_in(tmp_path) == []
