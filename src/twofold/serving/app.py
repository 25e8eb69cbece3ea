"""The routes of a server.

Answers are JSON; what went wrong is {"error": "one line"}. Of several images, each has its own result or error: one
that is broken costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import math
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import twofold
from twofold.data.decode import BrokenImageError, declared_pixels, identify, quiet_pillow
from twofold.data.pixels import ChannelMismatchError
from twofold.errors import TwofoldError
from twofold.inference.predictor import Predictor
from twofold.serving import api_words
from twofold.serving.batcher import ComputeError, FullError
from twofold.serving.guard import Guard, answer_error
from twofold.serving.metrics import Metrics
from twofold.serving.settings import MEGABYTE, ServeSettings
from twofold.serving.shelf import Served, Shelf
from twofold.serving.uploads import RefusedError, Room, Upload, read_uploads
from twofold.tasks.predictions import DetectionPrediction, Prediction

_STATIC = Path(__file__).parent / "static"
# What this page shares with the one that is exported.
_SHARED = Path(__file__).parents[1] / "exporting" / "web_page"
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
# An image of at most so many bytes and pixels is decoded faster than another thread can be asked to.
_SMALL_BYTES, _SMALL_PIXELS = 16_384, 128 * 128
_USUAL_TOP = 5
_FILES = {"page.js": _STATIC, "docs.js": _STATIC, "style.css": _SHARED, "show.js": _SHARED}
# What a machine asks every few seconds: logged only where the answer is news.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_ROUTES = _PROBES | {"/", "/docs", "/openapi.json", "/v1/model", "/v1/models", "/v1/predict"}
# Requests whose bytes are held at once have at most so many times the bytes that one may have.
_ROOM = 16
# A client that is refused while it sends may not read the answer before it has sent all: for so long it can.
_LINGER_SECONDS = 2.0


class State:
    """What the routes of one server share.

    Attributes:
        shelf: the networks.
        draining: whether the server is about to end: what is asked is answered, and connections are closed.
    """

    def __init__(self, settings: ServeSettings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.shelf = Shelf(settings, self.metrics, tell)
        self.room = Room(int(_ROOM * settings.megabytes * MEGABYTE))
        self.decoders = ThreadPoolExecutor(settings.decoders or settings.cores, thread_name_prefix="decode")
        self.draining = False


def create_app(
    settings: ServeSettings, *, tell: Callable[[str], None], loaded: Callable[[Exception | None], None]
) -> Any:
    """Return the ASGI application of a server; it loads its networks when it is started.

    Args:
        settings: of the server.
        tell: takes a line for the person who runs the server.
        loaded: called when all networks answer, with None, or when one cannot be loaded, with the reason.
    """
    state = State(settings, tell)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def load() -> None:
            try:
                await state.shelf.load()
            except Exception as error:  # noqa: BLE001 - whoever started the server raises it again
                loaded(error)
                return
            loaded(None)
            if settings.reload:
                await state.shelf.watch()

        task = asyncio.create_task(load())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(state.shelf.close)
        state.decoders.shutdown()

    app = FastAPI(
        title="Twofold",
        version=twofold.__version__,
        description=api_words.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.twofold = state
    _add_routes(app, state)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(Exception, _failed)
    return _Recorder(Guard(_Direct(app, state), settings), state, tell)


def _add_routes(app: FastAPI, state: State) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(_STATIC / "docs.html", headers=_PAGE_HEADERS)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_FILES[name] / name, headers=_PAGE_HEADERS)

    @app.get("/healthz", summary="Is the process alive?", responses=api_words.HEALTH)
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz", summary="Does it take requests?", responses=api_words.READY)
    async def readyz() -> Response:
        if state.draining or not state.shelf.is_ready:
            raise RefusedError(503, "ending" if state.draining else "loading")
        return _json({"status": "ready"})

    @app.get("/metrics", summary="Counters for Prometheus", responses=api_words.METRICS, response_class=Response)
    async def metrics() -> Response:
        return PlainTextResponse(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models", summary="The networks of this server", responses=api_words.MODELS)
    async def models() -> Response:
        return _json({"models": [served.to_record() for served in state.shelf.served.values()]})

    @app.get(
        "/v1/model", summary="One network", responses=api_words.MODEL, openapi_extra={"parameters": [api_words.WHICH]}
    )
    async def model(request: Request) -> Response:
        return _json(_find(state, request).to_record())

    @app.post(
        "/v1/predict",
        summary="What is in one or more images",
        responses=api_words.PREDICT,
        openapi_extra={"parameters": api_words.PREDICT_PARAMETERS, "requestBody": api_words.PREDICT_BODY},
    )
    async def predict(request: Request) -> Response:
        return await _predict(state, request)


def _find(state: State, request: Request) -> Served:
    """Return the network that a request names, or the first."""
    served = state.shelf.served
    if not state.shelf.is_ready:
        raise RefusedError(503, "the networks are being loaded; try again in a second")
    name = request.query_params.get("model")
    if name is None:
        return next(iter(served.values()))
    if name not in served:
        raise RefusedError(404, f"there is no network {name[:100]!r} here; there is {', '.join(served)}")
    return served[name]


class _Wish(NamedTuple):
    """How much of a prediction a client wants."""

    top: int | None
    threshold: float | None

    @classmethod
    def of(cls, request: Request) -> _Wish:
        top, threshold = request.query_params.get("top"), request.query_params.get("threshold")
        if top is not None and not (top.isdecimal() and top.isascii() and len(top) < 10 and 1 <= int(top) <= 10**6):
            raise RefusedError(422, "top is a whole number from 1 to 1000000")
        try:
            least = None if threshold is None else float(threshold)
        except ValueError as error:
            raise RefusedError(422, "threshold is a number from 0 to 1") from error
        if least is not None and not 0 <= least <= 1:
            raise RefusedError(422, "threshold is a number from 0 to 1")
        return cls(None if top is None else int(top), least)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """Return what JSON can hold of a prediction."""
        if isinstance(prediction, DetectionPrediction):
            return prediction.only(threshold=self.threshold, top=self.top).to_record()
        return prediction.to_record(top=self.top or _USUAL_TOP)


async def _predict(state: State, request: Request) -> Response:
    wish = _Wish.of(request)
    _find(state, request)  # or it is refused, before it is read
    with state.room.of_request() as take:
        uploads = await read_uploads(request, state.settings, take)
        # Only now, and without waiting before its places are held: while the request came, it may have been exchanged.
        return await _answer(state, _find(state, request), uploads, wish)


async def _answer(state: State, served: Served, uploads: list[Upload], wish: _Wish) -> Response:
    """Return what a network says of one or more images."""
    try:
        with served.batcher.places(len(uploads)):
            async with asyncio.timeout(state.settings.deadline):
                if len(uploads) == 1:
                    results = [await _result(state, served, uploads[0], wish)]
                else:
                    results = await asyncio.gather(*(_result(state, served, each, wish) for each in uploads))
    except FullError as error:
        state.metrics.images.labels(served.name, "refused").inc(len(uploads))
        raise RefusedError(503, "too many images wait; try again in a second") from error
    except TimeoutError as error:
        state.metrics.images.labels(served.name, "late").inc(len(uploads))
        raise RefusedError(504, f"there was no answer within {state.settings.deadline:g} s") from error
    finally:
        uploads.clear()
    failures = [(result["status"], result["error"]) for result in results if "error" in result]
    content: dict[str, Any] = {"model": served.name, "version": served.version}
    if len(failures) < len(results):
        return _json({**content, "results": results})
    status, error = failures[0]
    return _json({"error": error} if len(results) == 1 else {**content, "error": error, "results": results}, status)


async def _result(state: State, served: Served, upload: Upload, wish: _Wish) -> dict[str, Any]:
    """Return what the network says of an image, or why it cannot."""
    named = {} if upload.name is None else {"name": upload.name}
    count = state.metrics.images
    try:
        pixels, size = await _decoded(state, served.predictor, upload.content)
        record = wish.record(await served.batcher.submit(pixels, size))
        if not _is_finite(record):
            raise ComputeError("a probability that is no number")
    except TwofoldError as error:
        count.labels(served.name, "refused").inc()
        return {**named, "error": _words(error), "status": 413 if isinstance(error, _TooLargeError) else 422}
    except ComputeError:
        count.labels(served.name, "failed").inc()
        return {**named, "error": "the network could not compute this image", "status": 500}
    count.labels(served.name, "answered").inc()
    return {**named, **record}


def _is_finite(record: dict[str, Any]) -> bool:
    rows = (record.get(key, ()) for key in ("predictions", "labels", "objects"))
    return all(math.isfinite(each["probability"]) for each in itertools.chain.from_iterable(rows))


def _words(error: TwofoldError) -> str:
    """Return why an image cannot be used, in one line."""
    if isinstance(error, ChannelMismatchError):
        return "the image is in colour, and the network takes grey ones"
    words = error.reason if isinstance(error, BrokenImageError) else str(error)
    words = f"the image {words}" if words.startswith(("is ", "has ", "cannot ")) else words
    return words.partition("\n")[0][:300]


class _TooLargeError(TwofoldError):
    """An image with more pixels than are taken."""


async def _decoded(state: State, predictor: Predictor, content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the pixels of an encoded image as the network takes them, and its (height, width)."""
    most = state.settings.megapixels
    if len(content) <= _SMALL_BYTES and _count_pixels(content) <= min(_SMALL_PIXELS, most * 1e6):
        return _prepare(predictor, content)
    return await asyncio.get_running_loop().run_in_executor(
        state.decoders, _check_and_prepare, predictor, content, most
    )


def _check_and_prepare(predictor: Predictor, content: bytes, megapixels: float) -> tuple[np.ndarray, tuple[int, int]]:
    if _count_pixels(content) > megapixels * 1e6:
        raise _TooLargeError(f"the image has more than {megapixels:g} megapixels")
    return _prepare(predictor, content)


def _prepare(predictor: Predictor, content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    try:
        pixels, opened = predictor.prepare(content)
    except TwofoldError:
        raise
    except Exception as error:  # whatever an image was made to cause, it is the image that is refused
        raise TwofoldError("the image cannot be decoded") from error
    return pixels, (opened.height, opened.width)


def _count_pixels(content: bytes) -> float:
    """Return how many pixels decoding an image takes by its header; 0 where it has none that can be read."""
    quiet_pillow()
    try:
        with identify(io.BytesIO(content), None) as image:
            return declared_pixels(image)
    except Image.DecompressionBombError:
        return math.inf
    except Exception:  # noqa: BLE001 - Pillow raises many kinds of error on damage
        return 0


# Made once: json.dumps would make one for each answer.
_encode = json.JSONEncoder(allow_nan=False).encode


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(value), status, headers, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing here; /docs lists what there is", 405: "this address takes another method"}
    return _json({"error": words.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {"Retry-After": "1"} if error.status == 503 else {}
    if error.unread:
        return _LastResponse(json.dumps({"error": error.reason}), error.status, headers, "application/json")
    return _json({"error": error.reason}, error.status, headers)


async def _failed(request: Request, error: Exception) -> Response:
    return _json({"error": "the server failed at this request"}, 500)


class _LastResponse(Response):
    """An answer to a request that was not read to its end, after which the connection is closed.

    Closed at once, with bytes in it that nobody read, it would be reset, and the answer lost on its way.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


class _Direct:
    """Hands images to the network without a router in between, which would take a quarter of the time of a small one.

    What the application says of this route in its description holds here.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/predict" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await _predict(self._state, request)
        except RefusedError as error:
            response = await _refused(request, error)
        await response(scope, receive, send)


class _Recorder:
    """Around everything: counts and times requests, writes the access log, and closes connections before the end."""

    def __init__(self, app: ASGIApp, state: State, tell: Callable[[str], None]) -> None:
        self._app, self.state, self._tell = app, state, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, state = time.perf_counter(), 0, self.state
        method, route = scope["method"], scope["path"] if scope["path"] in _ROUTES else "other"
        if method == "HEAD":  # the same without its body, which uvicorn leaves out
            scope = {**scope, "method": "GET"}

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if state.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - the server goes on, and a line says what happened
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._tell(f"failed at {route}: {error!r}, {where.filename}:{where.lineno}")
            if status == 0:
                await answer_error(watched, 500, "the server failed at this request")
        took = time.perf_counter() - start
        state.metrics.requests.labels(route, str(status)).inc()
        state.metrics.seconds.labels(route).observe(took)
        if state.settings.access_log and not (route in _PROBES and (status < 400 or not state.shelf.is_ready)):
            client = scope["client"][0] if scope["client"] else "-"
            self._tell(f"{client} {method} {route} {status} {1000 * took:.1f} ms")
