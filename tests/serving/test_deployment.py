"""What docs/serving.md says of systemd, containers and nginx, tried: its own files, with our paths in them."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from served import Served
from served_networks import save

from processes import free_port
from small_predictors import make
from twofold import __file__ as twofold_file

DOC = Path(__file__).parents[2] / "docs" / "serving.md"
TOKEN = "t" * 32


def block(language: str) -> str:
    """Return the text of the one block in this language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)
    return text


def installed_with(names: list[str]) -> set[str]:
    """Return the distributions that pip installs for these: themselves, and all that they require here."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        key = wanted.name.lower()
        if key in found:
            continue
        found.add(key)
        for text in importlib.metadata.requires(key) or []:
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def site_of(names: set[str], folder: Path) -> Path:
    """Return a folder with these distributions and nothing else, as links."""
    folder.mkdir()
    for name in names:
        distribution = importlib.metadata.distribution(name)
        tops = {Path(file).parts[0] for file in distribution.files or [] if not str(file).startswith("..")}
        for top in tops - {"__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def answer(url: str, **headers: str) -> tuple[int, dict]:
    """Ask for the prediction of an image; return the status and what was answered."""
    image = (DOC.parents[1] / "tests/pictures/boot.png").read_bytes()
    request = urllib.request.Request(f"{url}/v1/predict", data=image, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make("lenet-bn"), tmp_path_factory.mktemp("models") / "clothes.onnx")


def test_the_container_has_all_that_it_serves_with(exported: Path, tmp_path: Path) -> None:
    text = block("dockerfile").replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]*)", text)
    names = [word for line in installs for word in shlex.split(line) if not word.startswith(("-", "/"))]
    assert names[-1] == "twofold"
    assert "--no-deps" in installs[-1]
    site = site_of(installed_with(names[:-1]), tmp_path / "site")
    assert not (site / "torch").exists()
    (site / "twofold").symlink_to(Path(twofold_file).parent)
    (command,) = re.findall(r"CMD (\[.*\])", text)
    program, *words = [str(exported) if word.startswith("/models/") else word for word in json.loads(command)]
    assert program == "twofold"
    code = f"import sys; sys.path.append({str(site)!r}); from twofold.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, *words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "TWOFOLD_TOKEN": TOKEN},
    )
    served = Served(process)
    url = f"http://127.0.0.1:{served.url.rpartition(':')[2]}"
    served.until_ready(url)
    assert answer(url)[0] == 401
    status, told = answer(url, Authorization=f"Bearer {TOKEN}")
    assert status == 200, told
    assert served.end() == 0


def test_the_unit_starts_reloads_and_stops(exported: Path, serving, tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    program, verb, *words = shlex.split(service["ExecStart"])
    assert (Path(program).name, verb) == ("twofold", "serve")
    words = [str(exported) if word.endswith(".onnx") else word for word in words]
    place = words.index("--port")
    del words[place : place + 2]  # the fixture takes a free one
    name, _, value = service["Environment"].partition("=")
    served = serving(*words, **{name: value})
    served.until_ready()
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    served.process.send_signal(signal.SIGHUP)
    served.wait_for("clothes is exchanged")
    assert answer(served.url)[0] == 200
    begun = time.monotonic()
    assert served.end() == 0
    assert time.monotonic() - begun < float(service["TimeoutStopSec"])


@contextmanager
def nginx(text: str, folder: Path) -> Iterator[None]:
    """Run nginx with a server of the documentation, in a folder of its own."""
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; master_process off;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; "
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}}}\n"
    )
    with subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.skipif(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="there is no nginx")
def test_nginx_hands_on_what_it_is_asked(exported: Path, serving, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin")
    (words,) = re.findall(r"with `twofold serve runs/demo (--allowed-host \S+)`", DOC.read_text())
    served = serving(exported, *words.split())
    served.until_ready()
    port = free_port()
    text = block("nginx").replace("443 ssl", f"127.0.0.1:{port}").replace("http://127.0.0.1:8000", served.url)
    with nginx(text, tmp_path):
        served.until_ready(f"http://127.0.0.1:{port}", Host="images.example.org")
        status, told = answer(f"http://127.0.0.1:{port}", Host="images.example.org")
        assert status == 200, told
        assert answer(f"http://127.0.0.1:{port}", Host="elsewhere.example.org")[0] == 403
