"""What the server answers: the same as `predict`, and one clear line for what it cannot use."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from asking import Answer, Asking, form, photo, post, raw
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from served_networks import save

from data.test_decode import SAMPLES
from encoded import tiled_tiff
from small_predictors import make
from twofold.errors import TwofoldError
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.predictor import Predictor
from twofold.serving.server import RunningServer


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header declares so many pixels and that has next to none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def wanted(predictor: Predictor, content: bytes) -> dict[str, Any]:
    """What `predict` says of an image, as JSON has it."""
    return json.loads(json.dumps(predictor.predict(content).to_record(top=5)))


def assert_near(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare two records; among others in a batch, probabilities differ by rounding."""
    assert given.keys() == expected.keys()
    for key, rows in expected.items():
        if not isinstance(rows, list):
            assert given[key] == rows
            continue
        for one, other in zip(given[key], rows, strict=True):
            assert {**one, "probability": 0, "box": 0} == {**other, "probability": 0, "box": 0}
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
            assert one.get("box") == pytest.approx(other.get("box"), abs=0.02)


@pytest.mark.parametrize("name", ["classes", "labels", "boxes"])
def test_answers_equal_predict(name: str, networks: dict[str, Path], ask: Asking) -> None:
    predictor = OnnxPredictor.load(networks[name])
    for seed in range(4):
        content = photo(seed, size=(40 + 50 * seed, 30), format=["PNG", "JPEG", "WEBP", "BMP"][seed])
        answer = ask.predict(content, f"?model={name}")
        assert answer.status == 200
        assert answer.json["model"] == name
        assert answer.json["results"] == [wanted(predictor, content)]


def test_odd_images_are_read_as_predict_reads_them(networks: dict[str, Path], ask: Asking) -> None:
    predictor = OnnxPredictor.load(networks["classes"])
    odd = [*SAMPLES, photo(mode="CMYK", format="JPEG"), photo(mode="LA"), photo(mode="1"), photo(mode="P")]
    for content in odd:
        assert ask.predict(content).json["results"] == [wanted(predictor, content)]


def test_forms_and_json_hold_several_and_a_broken_one_fails_alone(networks: dict[str, Path], ask: Asking) -> None:
    predictor = OnnxPredictor.load(networks["classes"])
    contents = [photo(1), b"no image", photo(2), photo(3)[:-40], bomb(30_000, 30_000)]
    expected = [
        wanted(predictor, photo(1)),
        {"error": "not an image that can be read (", "status": 422},
        wanted(predictor, photo(2)),
        {"error": "the image is truncated (", "status": 422},
        {"error": "the image has more than 1 megapixels", "status": 413},
    ]
    body, headers = form(*((f"{number}.png", each) for number, each in enumerate(contents)), note="not a file")
    names = [f"{number}.png" for number in range(5)]
    texts = [base64.b64encode(each).decode() for each in contents]
    values = [{"name": "0.png", "data": texts[0]}, texts[1], f"data:image/png;base64,{texts[2]}", *texts[3:]]
    answers = [
        (ask("POST", "/v1/predict", body, headers), names),
        (ask("POST", "/v1/predict", json.dumps({"images": values}), {"Content-Type": "application/json"}), ["0.png"]),
    ]
    for answer, given_names in answers:
        assert answer.status == 200
        results = answer.json["results"]
        assert [each.pop("name") for each in results if "name" in each] == given_names
        for given, one in zip(results, expected, strict=True):
            if "error" in one:
                assert given["error"].startswith(one["error"])
                assert given["status"] == one["status"]
            else:
                assert_near(given, one)


def test_a_file_whose_name_is_spelt_in_ascii_is_one(ask: Asking) -> None:
    body, headers = form(("a.png", photo()), ("b.png", photo(1)))
    body = body.replace(b'filename="a.png"', b"filename*=utf-8''%E6%97%A5.png")
    first, second = ask("POST", "/v1/predict", body, headers).json["results"]
    assert (first["name"], second["name"]) == ("日.png", "b.png")
    assert first["predictions"] == ask.predict(photo()).json["results"][0]["predictions"]


def test_where_no_image_can_be_used_the_whole_request_fails(ask: Asking) -> None:
    body, headers = form(("a", b"none"), ("b", b""))
    answer = ask("POST", "/v1/predict", body, headers)
    assert answer.status == 422
    assert answer.json["error"].startswith("not an image")
    assert [each["error"].split(" (")[0] for each in answer.json["results"]] == [
        "not an image that can be read",
        "the image is empty",
    ]


def test_top_and_threshold(networks: dict[str, Path], ask: Asking) -> None:
    assert len(ask.predict(photo(), "?top=1").json["results"][0]["predictions"]) == 1
    assert len(ask.predict(photo(), "?top=100").json["results"][0]["predictions"]) == 3
    everything = ask.predict(photo(), "?model=boxes&threshold=0").json["results"][0]["objects"]
    assert len(everything) > len(ask.predict(photo(), "?model=boxes").json["results"][0]["objects"])
    assert ask.predict(photo(), "?model=boxes&threshold=0&top=2").json["results"][0]["objects"] == everything[:2]
    assert ask.predict(photo(), "?model=boxes&threshold=1").json["results"][0]["objects"] == []


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?top=0", 422, "top is a whole number from 1 to 1000000"),
        ("?top=-1", 422, "top is"),
        ("?top=²", 422, "top is"),
        ("?top=99999999999999999999", 422, "top is"),
        ("?top=", 422, "top is"),
        ("?top=0000000019999999999", 422, "top is"),
        pytest.param(f"?top=1{'0' * 5000}", 422, "top is", id="very long"),
        ("?threshold=nan", 422, "threshold is a number from 0 to 1"),
        ("?threshold=2", 422, "threshold is"),
        ("?threshold=a", 422, "threshold is"),
        ("?model=none", 404, "there is no network 'none' here; there is classes, labels, boxes"),
        ("?model=", 404, "there is no network ''"),
        ("?model=%00%0a%ff", 404, "there is no network '\\x00\\n"),
    ],
)
def test_a_wish_that_makes_no_sense(ask: Asking, query: str, status: int, words: str) -> None:
    answer = ask.predict(photo(), query.replace("²", "%C2%B2"))
    assert answer.status == status
    assert answer.error.startswith(words)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "there is no image in the request"),
        (b"\0", 422, "not an image that can be read ("),
        (b"%PDF-1.4", 422, "not an image that can be read: it is "),
        (photo()[:60], 422, "the image is truncated ("),
        (bomb(1001, 1000), 413, "the image has more than 1 megapixels"),
        (tiled_tiff(16, 1008), 413, "the image has more than 1 megapixels"),
        (bomb(60_000, 60_000), 413, "the image has more than 1 megapixels"),
        (photo(size=(1001, 1000), format="JPEG"), 413, "the image has more than 1 megapixels"),
        (b"x" * 1_000_001, 413, "a request may have 1 MB"),
    ],
)
def test_what_is_no_image_or_too_large(ask: Asking, content: bytes, status: int, words: str) -> None:
    answer = ask.predict(content)
    assert answer.status == status
    assert answer.error.startswith(words)


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", JSON, 400, "the request is not JSON; send {"),
        (b"\xff\xfe", JSON, 400, "the request is not JSON"),
        (b"[" * 100_000, JSON, 400, "the request is not JSON"),
        (b'{"images": ' + b"1" * 5000 + b"}", JSON, 400, "the request is not JSON"),
        (b"[]", JSON, 422, "the JSON has no list of images"),
        (b'{"images": "x"}', JSON, 422, "the JSON has no list of images"),
        (b'{"images": []}', JSON, 422, "there is no image in the request"),
        (b'{"images": [1]}', JSON, 422, "image 1 is no text in base64"),
        (b'{"images": ["", {"data": 1}]}', JSON, 422, "image 2 is no text in base64"),
        (b'{"images": [{"name": 1, "data": ""}]}', JSON, 422, "image 1 is no text in base64"),
        (b'{"images": ["%"]}', JSON, 422, "image 1 is not base64"),
        ('{"images": ["é"]}'.encode(), JSON, 422, "image 1 is not base64"),
        (b'{"images": ["\\ud800"]}', JSON, 422, "image 1 is not base64"),
        (b'{"images": [{"name": "\\ud800", "data": ""}]}', JSON, 422, "the image is empty"),
        (json.dumps({"images": [""] * 9}).encode(), JSON, 413, "a request may have 8 images"),
        (b'{"images": [' + b"[]," * 200_000 + b"[]]}", JSON, 413, "a request may have 8 images"),
        (b"", {"Content-Type": "multipart/form-data"}, 400, "multipart/form-data needs a boundary"),
        (b"", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "the form is broken: it ends early"),
        (b"junk", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "the form is broken: "),
        (b"x", {"Content-Type": f"multipart/form-data; boundary={'x' * 5000}"}, 400, "the form is broken: "),
        (form(("a", b"1"))[0][:-12], form()[1], 400, "the form is broken: "),
        (form(note="no file")[0], form()[1], 422, "there is no image in the request"),
        (form(*[("a", b"1")] * 9)[0], form()[1], 413, "a request may have 8 images"),
        (form(**{f"n{number}": "" for number in range(200)})[0], form()[1], 413, "a request may have 8 images"),
        (photo(), {"Content-Type": "text/plain"}, 415, "text/plain is no content that is taken; send an image"),
        (photo(), {"Content-Type": "x" * 500}, 415, "xxxx"),
        (photo(), {"Content-Type": "a\x95"}, 415, "a\\x95 is no content that is taken"),
    ],
)
def test_other_content(
    ask: Asking, body: bytes, headers: dict[str, str], status: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask("POST", "/v1/predict", body, headers)
    assert (answer.status, answer.error.startswith(words)) == (status, True), answer.body[:300]
    assert caplog.records == []  # or any client could fill the log


@pytest.mark.parametrize(
    "kind", ["", "image/x-unknown", "APPLICATION/OCTET-STREAM", "application/x-www-form-urlencoded"]
)
def test_kinds_of_bare_bytes(ask: Asking, kind: str) -> None:
    assert ask.predict(photo(), kind=kind).status == 200


def test_methods(ask: Asking) -> None:
    for method, path, status in [
        ("GET", "/v1/predict", 405),
        ("DELETE", "/v1/predict", 405),
        ("OPTIONS", "/v1/predict", 405),
        ("PATCH", "/healthz", 405),
        ("POST", "/v1/model", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/predict/", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/static/app.py", 404),
        ("GET", "/static/", 404),
    ]:
        answer = ask(method, path)
        assert answer.status == status, (method, path)
        assert answer.error
        assert (answer.headers.get("allow") is not None) == (status == 405)
    for path in ("/", "/docs", "/healthz", "/readyz", "/v1/model", "/static/page.js"):
        head = ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == ask("GET", path).headers["content-length"]
    head = ask("HEAD", "/v1/predict")
    assert (head.status, head.body) == (405, b"")


def test_models_are_described_and_nothing_of_where_they_lie(ask: Asking, networks: dict[str, Path]) -> None:
    models = ask("GET", "/v1/models").json["models"]
    assert [each["name"] for each in models] == ["classes", "labels", "boxes"]
    assert ask("GET", "/v1/model").json == models[0]
    assert ask("GET", "/v1/model?model=boxes").json == models[2]
    assert models[0]["classes"][2] == "衬衫 $x$"
    assert models[1]["thresholds"] == {"bag": 0.2, "boot": 0.3, "衬衫 $x$": 0.4}
    assert models[2]["threshold"] == 0.4
    assert models[2]["image"] == {"height": 64, "width": 64, "channels": 3, "resize": "stretch"}
    assert ask("GET", "/v1/model?model=nothing").error.startswith("there is no network")
    texts = [ask("GET", path).body for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere")]
    for text in [*texts, ask.predict(b"none").body, ask.predict(photo()[:99]).body]:
        for secret in (str(networks["classes"].parent), "/", "object at 0x"):
            assert secret.encode() not in text.replace(b"/v1", b"").replace(b"/docs", b"") or secret == "/"


def test_chunks_without_a_length(ask: Asking) -> None:
    content = photo()
    chunks = [content[start : start + 100] for start in range(0, len(content), 100)]
    answer = ask("POST", "/v1/predict", iter(chunks), {"Content-Type": "image/png"})
    assert answer.json["results"] == ask.predict(content).json["results"]
    answer = ask("POST", "/v1/predict", iter([b"x" * 60_000] * 20), {"Content-Type": "image/png"})
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_a_client_that_sends_much_too_much_still_reads_why(running: RunningServer) -> None:
    for headers in ({}, {"Expect": "100-continue"}):
        with Asking(running.url) as ask:
            answer = ask.predict(b"x" * 20_000_000, **headers)
            assert (answer.status, answer.error) == (413, "a request may have 1 MB")


def test_bytes_that_are_no_request(running: RunningServer, log: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    for pieces, words in [
        ((b"\x16\x03\x01\x02\x00hello\r\n\r\n",), "this is no request of HTTP/1.1"),
        ((b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",), "this is no request of HTTP/1.1"),
        ((b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",), "this is no request"),
        ((b"GET /" + b"x" * 100_000,), "the head of the request is too large"),
        ((b"GET / HTTP/1.1\r\n", b"A: " + b"x" * 100_000), "the head of the request is too large"),
        ((b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 20_000), "the head of the request is too large"),
    ]:
        received = raw(running.url, *pieces)
        assert received.startswith(b"HTTP/1.1 400 "), (pieces[0][:40], received[:100])
        assert json.loads(received.partition(b"\r\n\r\n")[2])["error"].startswith(words)
    assert capfd.readouterr() == ("", "")


def test_one_after_the_other_on_one_connection_without_waiting(running: RunningServer) -> None:
    request = post(photo())
    last = post(photo(), Connection="close")
    received = raw(running.url, request * 3 + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + last)
    assert received.count(b"HTTP/1.1 200 OK") == 5
    assert received.count(b'"predictions"') == 4


def test_a_client_that_wants_another_protocol_is_answered_in_this_one(running: RunningServer) -> None:
    for upgrade in ("h2c", "websocket"):
        request = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
        assert raw(running.url, request.encode(), until_closed=False).startswith(b"HTTP/1.1 200 OK")


def test_clients_that_leave_in_the_middle(
    start: Callable[..., RunningServer], capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    server = start(tell=lines.append)
    parts = server.url.removeprefix("http://").split(":")
    for sent in (20, 120, 1000, 100_000):
        for _ in range(5):
            with socket.create_connection((parts[0], int(parts[1]))) as connection:
                connection.sendall(post(photo(size=(200, 200)))[:sent])
    with Asking(server.url) as ask:
        assert ask.predict(photo()).status == 200
        time.sleep(0.1)
        assert ask.predict(photo()).status == 200
    assert not [line for line in lines if "failed" in line]
    assert capfd.readouterr() == ("", "")


def test_a_length_that_lies_and_a_slow_body(start: Callable[..., RunningServer]) -> None:
    server = start(upload=0.3)
    began = time.monotonic()
    received = raw(server.url, post(photo(), Content_Length="100000"))
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'{"error": "the request did not arrive within 0.3 s"}' in received
    assert time.monotonic() - began < 10
    # Too short a length: what is left over is no request.
    received = raw(server.url, post(photo(), Content_Length="50"))
    assert b"HTTP/1.1 400 " in received


class Stub:
    """A network whose answers take as long as told, or fail."""

    def __init__(self, real: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.fails, self.go = 0.0, False, threading.Event()
        self.sizes: list[int] = []
        answer = real.answer

        def slow(pixels: Any, sizes: Any) -> Any:
            self.sizes.append(len(pixels))
            time.sleep(self.seconds)
            if self.fails and (pixels[:, 0, 0, 0] == 0).any():
                raise RuntimeError("/secret/path")
            return answer(pixels, sizes)

        monkeypatch.setattr(real, "answer", slow)


@pytest.fixture
def stubbed(start: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that starts a server whose network is slow, and returns both."""

    def make(**changes: Any) -> tuple[RunningServer, Stub]:
        loaded: list[Predictor] = []
        load = OnnxPredictor.load

        def load_and_keep(*args: Any, **options: Any) -> Predictor:
            loaded.append(load(*args, **options))
            stubs.append(Stub(loaded[-1], monkeypatch))
            return loaded[-1]

        stubs: list[Stub] = []
        monkeypatch.setattr(OnnxPredictor, "load", load_and_keep)
        server = start(**changes)
        stubs[-1].sizes.clear()
        return server, stubs[-1]

    return make


def together(server: RunningServer, number: int, content: bytes | None = None) -> list[Answer]:
    """Ask so many times at once, each on a connection of its own."""

    def one(seed: int) -> Answer:
        with Asking(server.url) as ask:
            return ask.predict(content or photo(seed))

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_a_full_queue_and_a_late_answer(stubbed: Callable[..., Any]) -> None:
    server, stub = stubbed(waiting=4, batch=1, deadline=2.0)
    stub.seconds = 0.3
    answers = together(server, 12)
    statuses = sorted(each.status for each in answers)
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 4
    refused = next(each for each in answers if each.status == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.error == "too many images wait; try again in a second"
    stub.seconds = 2.5
    (late,) = together(server, 1)
    assert (late.status, late.error) == (504, "there was no answer within 2 s")
    stub.seconds = 0.0
    assert [each.status for each in together(server, 3)] == [200] * 3
    # More than may ever wait is too many, not a matter of trying again.
    with Asking(server.url) as ask:
        assert ask("POST", "/v1/predict", *form(*[("a", photo())] * 5)).status == 413
        counted = {
            sample.labels["outcome"]: sample.value
            for family in text_string_to_metric_families(ask("GET", "/metrics").body.decode())
            for sample in family.samples
            if sample.name == "twofold_images_total"
        }
    assert counted["late"] == 1
    assert counted["answered"] == statuses.count(200) + 3
    assert counted["refused"] == statuses.count(503)


def test_an_image_that_cannot_be_computed_fails_alone(stubbed: Callable[..., Any]) -> None:
    server, stub = stubbed(wait=0.3)
    stub.fails = True
    black = photo(size=(28, 28))
    with Asking(server.url) as ask:
        buffer = io.BytesIO()
        Image.new("RGB", (28, 28)).save(buffer, "PNG")
        body, headers = form(("a", black), ("b", buffer.getvalue()), ("c", photo(3, size=(28, 28))))
        answer = ask("POST", "/v1/predict", body, headers)
        assert answer.status == 200
        assert [each.get("status", 200) for each in answer.json["results"]] == [200, 500, 200]
        alone = ask.predict(buffer.getvalue())
        assert (alone.status, alone.error) == (500, "the network could not compute this image")
        assert b"secret" not in answer.body + alone.body


def test_mixed_load_in_batches_answers_as_predict_does(
    start: Callable[..., RunningServer], networks: dict[str, Path]
) -> None:
    server = start(networks, wait=0.005)
    predictors = {name: OnnxPredictor.load(path) for name, path in networks.items()}
    contents = [photo(seed, size=(20 + 9 * seed, 60)) for seed in range(8)]
    expected = {name: [wanted(each, content) for content in contents] for name, each in predictors.items()}

    def client(number: int) -> int:
        wrong = 0
        with Asking(server.url) as ask:
            for turn in range(24):
                name, index = ["classes", "labels", "boxes"][(turn + number) % 3], (turn * 3 + number) % 8
                if turn % 8 == 7:
                    assert ask.predict(b"broken").status == 422
                answer = ask.predict(contents[index], f"?model={name}")
                assert_near(answer.json["results"][0], expected[name][index])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(client, range(8))) == 0
    with Asking(server.url) as ask:
        samples = [
            sample
            for family in text_string_to_metric_families(ask("GET", "/metrics").body.decode())
            for sample in family.samples
        ]
    total = {each.labels["model"]: each.value for each in samples if each.name == "twofold_batch_images_sum"}
    count = {each.labels["model"]: each.value for each in samples if each.name == "twofold_batch_images_count"}
    assert total == dict.fromkeys(networks, 64.0)
    assert all(count[name] < 60 for name in networks)  # several at once


def test_what_prometheus_reads(start: Callable[..., RunningServer]) -> None:
    server = start()
    with Asking(server.url) as ask:
        for content in (photo(), photo(1), b"none"):
            ask.predict(content)
        ask("POST", "/v1/predict", *form(("a", photo()), ("b", b"none")))
        ask("GET", "/random/path")
        answer = ask("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
    assert found["twofold_requests_total", "/v1/predict", "200"] == 3
    assert found["twofold_requests_total", "/v1/predict", "422"] == 1
    assert found["twofold_requests_total", "other", "404"] == 1
    assert found["twofold_images_total", "classes", "answered"] == 3
    assert found["twofold_images_total", "classes", "refused"] == 2
    assert found["twofold_batch_images_sum", "classes"] == 3
    assert found["twofold_request_seconds_count", "/v1/predict"] == 4
    assert found["twofold_images_waiting", "classes"] == 0


def test_the_access_log_has_a_line_for_a_request_and_nothing_of_it(start: Callable[..., RunningServer]) -> None:
    lines: list[str] = []
    server = start(tell=lines.append, token="a-secret")
    with Asking(server.url, Authorization="Bearer a-secret") as ask:
        ask.predict(photo(), "?model=classes&secret=1")
        ask("POST", "/v1/predict", *form(("secret.png", photo())))
        ask("GET", "/secret")
        for probe in ("/healthz", "/readyz", "/metrics"):
            assert ask("GET", probe).status == 200
    with Asking(server.url) as ask:
        assert ask("GET", "/metrics").status == 401
    time.sleep(0.05)
    assert [line.split()[:4] for line in lines] == [
        ["127.0.0.1", "POST", "/v1/predict", "200"],
        ["127.0.0.1", "POST", "/v1/predict", "200"],
        ["127.0.0.1", "GET", "other", "404"],
        ["127.0.0.1", "GET", "/metrics", "401"],
    ]
    assert "secret" not in " ".join(lines)


def test_a_fault_of_the_server_is_one_line_for_each_side(
    start: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    server = start(tell=lines.append)

    def fails(*arguments: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr("twofold.serving.app.read_uploads", fails)
    with Asking(server.url) as ask:
        answer = ask.predict(photo())
        assert (answer.status, answer.error) == (500, "the server failed at this request")
        assert ask("GET", "/healthz").status == 200
    assert lines[0].startswith("failed at /v1/predict: ZeroDivisionError('/secret/path'), ")
    assert capfd.readouterr() == ("", "")


def test_requests_together_may_hold_no_more_memory_than_there_is_room(
    start: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.serving.app._ROOM", 1.5)
    server = start(megabytes=1.0)
    parts = server.url.removeprefix("http://").split(":")
    head = post(b"", Content_Length="1000000")
    with socket.create_connection((parts[0], int(parts[1]))) as one, Asking(server.url) as ask:
        one.sendall(head + b"x" * 900_000)
        time.sleep(0.3)
        answer = ask.predict(b"x" * 900_000)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.error == "too many large requests are here; try again in a second"
        one.sendall(b"x" * 100_000)
        assert one.recv(1000).startswith(b"HTTP/1.1 422 ")
    with Asking(server.url) as ask:
        assert ask.predict(b"x" * 900_000).status == 422


def test_the_description_of_the_api(ask: Asking) -> None:
    described = ask("GET", "/openapi.json").json
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/healthz", "/readyz", "/metrics", "/v1/models", "/v1/model", "/v1/predict"}
    operations = [each for path in described["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for each in operations:
        assert each["responses"]
        assert each["summary"]
    statuses = set(described["paths"]["/v1/predict"]["post"]["responses"])
    assert statuses == {"200", "400", "401", "403", "404", "408", "413", "415", "422", "500", "503", "504"}


def test_answers_are_as_described(ask: Asking) -> None:
    described = ask("GET", "/openapi.json").json
    for path, method, answers in [
        ("/healthz", "get", [ask("GET", "/healthz")]),
        ("/readyz", "get", [ask("GET", "/readyz")]),
        ("/v1/models", "get", [ask("GET", "/v1/models")]),
        ("/v1/model", "get", [ask("GET", f"/v1/model?model={name}") for name in ("classes", "labels", "boxes", "x")]),
        (
            "/v1/predict",
            "post",
            [
                *(ask.predict(photo(), f"?model={name}&threshold=0") for name in ("classes", "labels", "boxes")),
                ask("POST", "/v1/predict", *form(("a", photo()), ("b", b"none"))),
                ask.predict(b"none"),
                ask.predict(b"none", kind="text/plain"),
            ],
        ),
    ]:
        for answer in answers:
            responses = described["paths"][path][method]["responses"]
            schema = responses[str(answer.status)]["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json, schema)


def test_a_network_that_computes_no_numbers_says_so(
    start: Callable[..., RunningServer], tmp_path: Path, networks: dict[str, Path]
) -> None:
    predictor = make("lenet-bn", channels=3)
    with torch.no_grad():
        next(predictor.model.parameters()).fill_(float("nan"))
    server = start({"broken": save(predictor, tmp_path / "broken.onnx")})
    with Asking(server.url) as ask:
        answer = ask.predict(photo())
        assert (answer.status, answer.error) == (500, "the network could not compute this image")


def test_a_network_that_is_not_there(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="there is no file"):
        start({"none": tmp_path / "none.onnx"})
