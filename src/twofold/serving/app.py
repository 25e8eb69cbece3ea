"""The routes of a server.

Answers are JSON; what went wrong is {"error": "one line"}. Of several images, each has its own result or error: one
that is broken costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import twofold
from twofold.data.decode import identify, quiet_pillow
from twofold.data.pixels import ChannelMismatchError
from twofold.errors import TwofoldError
from twofold.inference.predictor import Predictor
from twofold.serving import api_words
from twofold.serving.batcher import ComputeError, FullError
from twofold.serving.guard import Guard
from twofold.serving.metrics import Metrics
from twofold.serving.settings import ServeSettings
from twofold.serving.shelf import Served, Shelf
from twofold.serving.uploads import RefusedError, Upload, read_uploads
from twofold.tasks.predictions import DetectionPrediction, Prediction

_STATIC = Path(__file__).parent / "static"
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
_ROUTES = frozenset(
    {"/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/model", "/v1/models", "/v1/predict"}
)


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
    )
    app.state.twofold = state
    _add_routes(app, state)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RefusedError, _refused)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return _Recorder(Guard(app, settings), state, tell)


def _add_routes(app: FastAPI, state: State) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(_STATIC / "docs.html", headers=_PAGE_HEADERS)

    @app.get("/healthz", summary="Is the process alive?", responses=api_words.HEALTH)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", summary="Does it take requests?", responses=api_words.READY)
    async def readyz() -> Response:
        if state.draining or not state.shelf.is_ready:
            raise RefusedError(503, "ending" if state.draining else "loading")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", summary="Counters for Prometheus", responses=api_words.METRICS, response_class=Response)
    async def metrics() -> Response:
        return PlainTextResponse(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models", summary="The networks of this server", responses=api_words.MODELS)
    async def models() -> Response:
        return JSONResponse({"models": [served.to_record() for served in state.shelf.served.values()]})

    @app.get(
        "/v1/model", summary="One network", responses=api_words.MODEL, openapi_extra={"parameters": [api_words.WHICH]}
    )
    async def model(request: Request) -> Response:
        return JSONResponse(_find(state, request).to_record())

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
        if top is not None and not (top.isdecimal() and top.isascii() and 1 <= int(top[:9]) <= 10**6):
            raise RefusedError(422, "top is a whole number from 1 on")
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
    served, wish = _find(state, request), _Wish.of(request)
    uploads = await read_uploads(request, state.settings)
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
        prediction = await served.batcher.submit(pixels, size)
    except _TooLargeError as error:
        count.labels(served.name, "refused").inc()
        return {**named, "error": str(error), "status": 413}
    except TwofoldError as error:
        count.labels(served.name, "refused").inc()
        return {**named, "error": _words(error), "status": 422}
    except ComputeError:
        count.labels(served.name, "failed").inc()
        return {**named, "error": "the network could not compute this image", "status": 500}
    count.labels(served.name, "answered").inc()
    return {**named, **wish.record(prediction)}


def _words(error: TwofoldError) -> str:
    if isinstance(error, ChannelMismatchError):
        return "the image is in colour, and the network takes grey ones"
    return str(error).split("\n")[0][:300]


class _TooLargeError(TwofoldError):
    """An image with more pixels than are taken."""


async def _decoded(state: State, predictor: Predictor, content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the pixels of an encoded image as the network takes them, and its (height, width)."""
    most = int(state.settings.megapixels * 1e6)
    number = _count_pixels(content)
    if number > most:
        raise _TooLargeError(
            f"the image has {number / 1e6:.1f} megapixels, and {state.settings.megapixels:g} are taken"
        )
    if len(content) <= _SMALL_BYTES and number <= _SMALL_PIXELS:
        pixels, opened = predictor.prepare(content)
    else:
        loop = asyncio.get_running_loop()
        pixels, opened = await loop.run_in_executor(state.decoders, predictor.prepare, content)
    return pixels, (opened.height, opened.width)


def _count_pixels(content: bytes) -> int:
    """Return how many pixels the header of an encoded image declares; 0 where it has none that can be read."""
    quiet_pillow()
    try:
        with identify(io.BytesIO(content), None) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - Pillow raises many kinds of error on damage
        return 0


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing here; /docs lists what there is", 405: "this address takes another method"}
    return JSONResponse(
        {"error": words.get(error.status_code, str(error.detail))}, error.status_code, headers=error.headers
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {"Retry-After": "1"} if error.status == 503 else {}
    if error.status in (408, 413):
        headers["Connection"] = "close"  # the rest of the request is not read
    return JSONResponse({"error": error.reason}, error.status, headers=headers)


class _Recorder:
    """Around everything: counts and times requests, writes the access log, and closes connections before the end."""

    def __init__(self, app: ASGIApp, state: State, tell: Callable[[str], None]) -> None:
        self._app, self.state, self._tell = app, state, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, state = time.perf_counter(), 500, self.state

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if state.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            took = time.perf_counter() - start
            route = scope["path"] if scope["path"] in _ROUTES else "other"
            state.metrics.requests.labels(route, str(status)).inc()
            state.metrics.seconds.labels(route).observe(took)
            if state.settings.access_log:
                client = scope["client"][0] if scope["client"] else "-"
                self._tell(f"{client} {scope['method']} {route} {status} {1000 * took:.1f} ms")
