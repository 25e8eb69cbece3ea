"""A server under requests that no client would send: none is answered with 500, and each answer is as described.

Claim: of 10,000 requests (bare bytes, forms and JSON) with bytes of head or body changed, none is answered with 500,
and every error is one line of JSON. Where schemathesis is installed (`pip install schemathesis`, here or anywhere on
PATH), it makes requests of its own from the description at /openapi.json for a minute, and holds each answer against
it; one of its checks is left out, which takes any bytes for an image. Images with bytes changed: `serve_soak.py`.

    python benchmarks/serve_fuzz.py                          # three minutes
    python benchmarks/serve_fuzz.py --requests 1000 --seconds 10
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import twofold
from common import print_conditions
from serve_soak import images, mutated, start
from twofold.engine.options import Options

CLIENTS = 8
PATIENCE_SECONDS = 0.1  # the server waits for what a changed length announces, and the client does not


def requests_of(contents: list[bytes]) -> list[bytes]:
    """Return whole requests, each image in the three ways that there are, and what else can be asked."""
    found = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in ("/v1/model", "/docs", "/metrics")]
    for content in contents:
        part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + content + b"\r\n"
        text = base64.b64encode(content).decode()
        for kind, body in {
            "image/png": content,
            "multipart/form-data; boundary=b": part + part + b"--b--\r\n",
            "application/json": json.dumps({"images": [text, {"name": "a", "data": text}]}).encode(),
        }.items():
            head = f"POST /v1/predict?top=2&threshold=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            found.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return found


def changed(request: bytes, dice: random.Random) -> bytes:
    """Return a request with its head changed, or its body, whose length is then told as it is."""
    head, _, body = request.partition(b"\r\n\r\n")
    if body and dice.random() < 0.6:
        body = mutated(body, dice)
        head = head.rpartition(b" ")[0] + f" {len(body)}".encode()
    else:
        head = mutated(head, dice)
    return head + b"\r\n\r\n" + body


def fault(url: str, request: bytes) -> tuple[int, str]:
    """Send a request; return the status of its answer, 0 for none, and what is wrong with it, or nothing."""
    parts, received = urlsplit(url), b""
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                received += chunk
                head, _, body = received.partition(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                if length.isdigit() and len(body) >= int(length):
                    break
        except OSError:
            pass
    if not received:
        return 0, ""
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    if status >= 500 and status not in (503, 504):
        return status, f"{status} {request[:200]!r}"
    if status >= 400 and not request.startswith(b"HEAD"):
        try:
            error = json.loads(body[: int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])])[
                "error"
            ]
            return status, "" if error.isprintable() else f"not one line: {error!r}"
        except (ValueError, KeyError):
            return status, f"no line of JSON: {received[:300]!r}"
    return status, ""


def fuzz(url: str, number: int) -> tuple[collections.Counter[int], list[str]]:
    """Send changed requests; return how often which status came, and what was wrong with answers."""
    whole = requests_of([content for content in images() if len(content) < 10_000])

    def one(seed: int) -> tuple[int, str]:
        dice = random.Random(seed)
        return fault(url, changed(dice.choice(whole), dice))

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(one, range(number)))
    return collections.Counter(status for status, _ in found), [words for _, words in found if words]


def schemathesis(url: str, seconds: int) -> int | None:
    """Have schemathesis hold the server against its description; return its exit code, None where it is not here."""
    beside = Path(sys.executable).with_name("schemathesis")
    program = str(beside) if beside.exists() else shutil.which("schemathesis")
    if program is None:
        return None
    words = [program, "run", f"{url}/openapi.json", "--max-time", str(seconds), "--checks", "all", "--no-color"]
    words += ["--exclude-checks", "positive_data_acceptance", "--continue-on-failure"]
    with tempfile.TemporaryDirectory() as folder:  # where it may leave files of its own
        return subprocess.run(words, check=False, cwd=folder).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="with changed bytes")
    parser.add_argument("--seconds", type=int, default=60, help="for schemathesis")
    arguments = parser.parse_args()
    print_conditions("A server under requests that no client would send")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = twofold.Recipe(model="lenet-bn", epochs=1, precision="float32")
        run = twofold.train(recipe, out=folder, name="run", options=Options(show=False))
        process, url = start(twofold.export(run, folder / "net.onnx", options=Options(show=False)).file)
        try:
            counts, faults = fuzz(url, arguments.requests)
            print(f"requests with changed bytes, by status (0: none in time): {dict(sorted(counts.items()))}")
            print("\n".join(faults[:20]) or "no 500, and every error is one line", flush=True)
            code = schemathesis(url, arguments.seconds)
            print("schemathesis is not installed" if code is None else f"schemathesis ended with {code}")
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(60)
    print("holds" if not faults and not code and ended == 0 else "does not hold")
    raise SystemExit(bool(faults or code or ended))


if __name__ == "__main__":
    main()
