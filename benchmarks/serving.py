"""Requests a second that a server answers in time: ours, LitServe, and plain FastAPI with torch.

Claim: at a 99th percentile of at most 100 ms, at least twice as many as the better of the two.
Peers: LitServe with one worker, with batches (16 images, 5 ms) and without; FastAPI whose route decodes and computes in
torch, eager, as users write it. All answer the five most probable classes for the bytes of a PNG, which LitServe takes
as a form, since it reads no others. Access logs are off.
Conditions: client and server share the machine. The client is open-loop: requests are due at fixed times whether the
server keeps up or not, and latency counts from when they were due; a request that is not answered in two seconds, or
for which none of 256 connections is free, counts as lost. The rate rises by a quarter until the 99th percentile is over
100 ms or one in a thousand is lost, then halves its step three times. Servers take turns, from the start anew in each.

    python benchmarks/serving.py                             # half an hour
    python benchmarks/serving.py --networks lenet --rounds 1 --seconds 3
    python benchmarks/serving.py --threads                   # ours alone: threads that compute and that decode
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

import twofold
from _open_loop import Probe
from common import print_conditions, spread
from twofold.data.sources.embedded import load_fashion_mini
from twofold.engine.options import Options

NETWORKS = {"lenet": ("lenet-bn", 28), "resnet18": ("resnet18", 96)}

PLAIN = """
import io, sys
import torch, uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from torchvision.transforms.functional import normalize, pil_to_tensor, resize
from twofold.inference.torch_predictor import TorchPredictor
from twofold.inference.weights_file import read_weights
from twofold.exporting.write import network_of

weights, spec, file = read_weights(sys.argv[1])
model = network_of(spec, weights, file).model
app = FastAPI()

@app.get("/readyz")
async def readyz():
    return {}

@app.post("/v1/predict")
async def predict(request: Request):
    image = Image.open(io.BytesIO(await request.body())).convert("L")
    pixels = resize(pil_to_tensor(image), list(spec.image_size), antialias=True).float() / 255
    with torch.inference_mode():
        values, places = model(normalize(pixels, spec.mean, spec.std)[None]).softmax(1)[0].topk(5)
    pairs = zip(places.tolist(), values.tolist())
    return {"predictions": [{"class": spec.class_names[place], "probability": value} for place, value in pairs]}

uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error")
"""

LIT = """
import io, sys
import litserve, torch
from PIL import Image
from torchvision.transforms.functional import normalize, pil_to_tensor, resize

class Api(litserve.LitAPI):
    def setup(self, device):
        from twofold.inference.weights_file import read_weights
        from twofold.exporting.write import network_of
        weights, self.spec, file = read_weights(sys.argv[1])
        self.model = network_of(self.spec, weights, file).model

    def decode_request(self, request):
        image = Image.open(io.BytesIO(request["content"].file.read())).convert("L")
        pixels = resize(pil_to_tensor(image), list(self.spec.image_size), antialias=True).float() / 255
        return normalize(pixels, self.spec.mean, self.spec.std)

    def batch(self, inputs):
        return torch.stack(inputs)

    def predict(self, x):
        with torch.inference_mode():
            return self.model(x if x.ndim == 4 else x[None]).softmax(1)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        values, places = output.reshape(-1).topk(5)
        names = [self.spec.class_names[place] for place in places.tolist()]
        pairs = zip(names, values.tolist())
        return {"predictions": [{"class": name, "probability": value} for name, value in pairs]}

if __name__ == "__main__":
    batch = int(sys.argv[3])
    api = Api(max_batch_size=batch, batch_timeout=0.005) if batch > 1 else Api()
    api.api_path = "/v1/predict"
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, healthcheck_path="/readyz")
    server.run(port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="error", access_log=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each rate")
    parser.add_argument("--threads", action="store_true", help="ours alone, with one or two threads for each work")
    arguments = parser.parse_args()
    print_conditions("Requests a second at a 99th percentile of at most 100 ms")
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.networks:
            measure(name, Path(temporary), arguments.rounds, arguments.seconds, threads=arguments.threads)


def measure(name: str, folder: Path, rounds: int, seconds: float, *, threads: bool) -> None:
    model, side = NETWORKS[name]
    recipe = twofold.Recipe(model=model, image_size=side, epochs=1, data="fashion-mini", precision="float32")
    with contextlib.suppress(twofold.TwofoldError):
        recipe = recipe.override(max_steps=20)
    run = twofold.train(recipe, out=folder, name=name, options=Options(show=False))
    arrays, _ = load_fashion_mini()
    file = io.BytesIO()
    Image.fromarray(arrays.test_images[0, 0].numpy()).resize((side, side)).save(file, "PNG")
    (folder / "plain.py").write_text(PLAIN)
    (folder / "lit.py").write_text(LIT)
    weights = str(run.folder)
    python = sys.executable
    servers = {
        "Twofold": [python, "-m", "twofold.cli.main", "serve", weights, "--quiet", "--port", "PORT"],
        "Twofold, no batches": [
            *(python, "-m", "twofold.cli.main", "serve", weights, "--quiet", "--port", "PORT", "--batch", "1")
        ],
        "FastAPI, torch": [python, str(folder / "plain.py"), weights, "PORT"],
    }
    if threads:
        servers = {
            f"{number} to compute, {decoders} to decode": [
                *servers["Twofold"],
                *("--threads", str(number), "--decoders", str(decoders)),
            ]
            for number in (1, 2)
            for decoders in (1, 2)
        }
    elif importlib.util.find_spec("litserve"):
        servers["LitServe, batches"] = [python, str(folder / "lit.py"), weights, "PORT", "16"]
        servers["LitServe"] = [python, str(folder / "lit.py"), weights, "PORT", "1"]
    else:
        print("litserve is not installed: its rows are missing")
    found: dict[str, list[Probe]] = {server: [] for server in servers}
    for _ in range(rounds):
        for server, words in servers.items():
            form = server.startswith("LitServe")
            with started(words) as port:
                found[server].append(most(port, request_of(file.getvalue(), port, as_form=form), seconds))
            print(f"{name}: {server}: {found[server][-1].answered:,.0f} requests/s", flush=True)
    print(f"\n{name}, {side} px\n\n| server | requests/s at p99 ≤ 100 ms | p99 there, ms |\n| --- | --: | --: |")
    for server, probes in found.items():
        print(
            f"| {server} | {spread([p.answered for p in probes], ',.0f')} | {spread([1e3 * p.slow for p in probes])} |"
        )
    if threads:
        return
    peers = [statistics.median(p.answered for p in found[server]) for server in servers if "Twofold" not in server]
    ours = max(statistics.median(p.answered for p in found[server]) for server in servers if "Twofold" in server)
    print(f"\n{ours / max(peers):.1f} times the better peer\n", flush=True)


def request_of(image: bytes, port: int, *, as_form: bool) -> bytes:
    if as_form:
        start = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n'
        image = start + b"Content-Type: image/png\r\n\r\n" + image + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x" if as_form else "image/png"
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image


@contextlib.contextmanager
def started(words: list[str]) -> Iterator[int]:
    """A server in a process of its own, ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [word.replace("PORT", str(port)) for word in words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                break
            if process.poll() is not None:
                assert process.stderr is not None
                raise SystemExit(f"{words[:3]} ended: {process.stderr.read().decode()[-2000:]}")
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def most(port: int, request: bytes, seconds: float) -> Probe:
    """Return the highest rate that holds."""
    probe_at(port, request, 20, 2)  # warm
    best, rate, factor = probe_at(port, request, 10, seconds), 20.0, 1.25
    while True:
        probe = probe_at(port, request, rate, seconds)
        if not probe.holds:
            break
        best, rate = probe, rate * (2 if rate < 80 else factor)
    low, high = best.rate, rate
    for _ in range(3):
        middle = (low + high) / 2
        probe = probe_at(port, request, middle, seconds)
        if probe.holds:
            best, low = probe, middle
        else:
            high = middle
    return best


def probe_at(port: int, request: bytes, rate: float, seconds: float) -> Probe:
    """Return what a rate gives; of one that does not hold, a second try counts: something else may have run."""
    words = [sys.executable, str(Path(__file__).with_name("_open_loop.py")), str(port), str(rate), str(seconds)]
    for _ in range(2):
        done = subprocess.run(words, input=request, capture_output=True, check=True)
        probe = Probe(**json.loads(done.stdout))
        if probe.holds:
            break
    return probe


if __name__ == "__main__":
    main()
