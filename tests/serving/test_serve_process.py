"""The server as a process: its start, signals, and networks that are exchanged under load. No request is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from asking import Asking, photo
from served import Served
from served_networks import save

from small_predictors import make
from twofold.inference.places import weights_path


class Load:
    """Clients that ask without rest, each on a connection that it keeps; what was answered, and what was lost.

    A request counts as lost when it was sent and no answer came. A connection that is refused, or was closed before the
    request was sent on it, loses none: it is sent again on a new one, as every client of HTTP/1.1 does.
    """

    def __init__(self, url: str, clients: int = 4) -> None:
        self.statuses: list[int] = []
        self.versions: set[str] = set()
        self.lost: list[str] = []
        self._url, self._over = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        parts = urlsplit(self._url)
        body = photo()
        while not self._over.is_set():
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            try:
                connection.connect()
            except ConnectionError:
                return  # the server takes none any more
            with connection.sock:
                is_new = True
                while not self._over.is_set():
                    try:
                        connection.request("POST", "/v1/predict", body)
                        response = connection.getresponse()
                        answer = json.loads(response.read())
                    except (ConnectionError, http.client.RemoteDisconnected) as error:
                        if is_new:
                            self.lost.append(repr(error))
                        break
                    is_new = False
                    self.statuses.append(response.status)
                    self.versions.add(answer.get("version", ""))
                    if response.will_close:
                        break
            connection.close()


def test_a_run_is_exported_once_and_then_served_without_torch(
    run: Path, tmp_path: Path, boot: Path, serving: Callable[..., Served]
) -> None:
    own = tmp_path / "my run"
    # Another test may have had it exported.
    shutil.copytree(run, own, ignore=shutil.ignore_patterns("*.onnx*"))
    first = serving(own)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", first.url)
    assert first.lines[:2] == [
        f"serving  my-run: {own}",
        f"exporting {weights_path(own)} to {weights_path(own).with_suffix('.onnx')}",
    ]
    assert first.wait_for("try it") == f"try it   {first.url}/"
    assert first.wait_for("or   ") == f"or       curl --data-binary @IMAGE {first.url}/v1/predict"
    command = first.wait_for("or   ").removeprefix("or       ").replace("IMAGE", f"'{boot}'")
    shell = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(shell.stdout)["results"][0]["predictions"]
    assert first.end() == 0
    second = serving(own, "--quiet")
    second.wait_for("try it")
    assert not [line for line in second.lines if line.startswith("exporting")]
    maps = Path(f"/proc/{second.process.pid}/maps").read_text()
    assert "libonnxruntime" in maps or "onnxruntime" in maps
    assert "libtorch" not in maps
    assert second.end(signal.SIGINT) == 0
    assert not [line for line in second.lines if "Traceback" in line]


def test_ending_loses_no_request(networks: dict[str, Path], serving: Callable[..., Served]) -> None:
    """Clients behind a balancer, which sends none any more once /readyz says no; all before are answered."""
    server = serving(networks["classes"], "--quiet", "--drain", "1.5")
    with Load(server.url) as load:
        time.sleep(1.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with Asking(server.url) as ask:
            assert ask("GET", "/readyz").status == 503
            answer = ask.predict(photo())
            assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(30) == 0
    assert set(load.statuses) == {200}
    assert len(load.statuses) > 50
    assert load.lost == []
    server.wait_for("ending: requests that were begun are answered")


@pytest.mark.parametrize("by", ["file", "signal"])
def test_exchanging_a_network_loses_no_request(
    by: str, networks: dict[str, Path], tmp_path: Path, serving: Callable[..., Served]
) -> None:
    path = tmp_path / "net.onnx"
    shutil.copy(networks["classes"], path)
    server = serving(f"net={path}", "--quiet", *(["--no-reload"] if by == "signal" else []))
    other = save(make("lenet-bn", channels=3, classes=("other", "names"), flip_average=True), tmp_path / "other.onnx")
    with Load(server.url) as load:
        time.sleep(0.5)
        # Half a file leaves the old network where it is.
        path.write_bytes(other.read_bytes()[:1000])
        if by == "signal":
            server.process.send_signal(signal.SIGHUP)
        server.wait_for("net stays as it was")
        os.replace(other, path)
        if by == "signal":
            server.process.send_signal(signal.SIGHUP)
        server.wait_for("net is exchanged")
        time.sleep(0.5)
        path.unlink()
        time.sleep(1.2)
    assert set(load.statuses) == {200}
    assert load.lost == []
    assert len(load.versions) == 2
    with Asking(server.url) as ask:
        assert ask("GET", "/v1/model").json["classes"] == ["other", "names"]
    assert server.end() == 0


def test_beyond_this_machine_a_token_is_made_or_taken(
    networks: dict[str, Path], serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWOFOLD_TOKEN", raising=False)
    made = serving(networks["classes"], "--host", "0.0.0.0")
    token = made.wait_for("token").split()[1]
    assert len(token) >= 32
    assert made.wait_for("try it") == f"try it   {made.url}/#token={token}"
    with Asking(made.url) as ask:
        assert ask("GET", "/v1/model").status == 401
        assert ask("GET", "/v1/model", headers={"Authorization": f"Bearer {token}"}).status == 200
    assert made.end() == 0
    taken = serving(networks["classes"], TWOFOLD_TOKEN="mine")
    assert "mine" not in " ".join(taken.lines)
    with Asking(taken.url) as ask:
        assert ask("GET", "/v1/model").status == 401
        assert ask("GET", "/v1/model", headers={"Authorization": "Bearer mine"}).status == 200
    assert taken.end() == 0


def test_wrong_use_is_one_line(
    networks: dict[str, Path], tmp_path: Path, fails: Callable[..., str], serving: Callable[..., Served]
) -> None:
    path = str(networks["classes"])
    (tmp_path / "broken.onnx").write_bytes(b"no")
    for words, error in {
        (): "say what to serve",
        ("nowhere",): "there is no folder nowhere",
        (path, path): "two networks are called classes; name them",
        (f"a b={path}",): "is no name for a network",
        (str(tmp_path / "broken.onnx"),): "cannot be loaded by onnxruntime",
        (path, "--batch", "0"): "--batch",
        (path, "--deadline", "0"): "--deadline must be more than 0",
        (path, "--port", "70000"): "--port is a number from 0 to 65535",
        (path, "--engine", "torch"): "leave --engine torch out",
    }.items():
        assert error in fails(["serve", *words, "--quiet"]), words
    unknown = fails(["serve", path, "--host", "no.such.host.invalid", "--quiet"], code=1)
    assert "cannot listen on no.such.host.invalid" in unknown
    busy = serving(path)
    port = str(urlsplit(busy.url).port)
    taken = fails(["serve", path, "--port", port], code=1)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in taken
    assert busy.end() == 0
