"""The pages of `twofold lab`: a gallery, a page a lab, and one WebSocket to each.

It listens on 127.0.0.1 alone. The address that is printed has a token, which the first page puts into a cookie; without
it nothing is answered but the question for it. A page from elsewhere has another Origin, and one whose name was made to
point here another Host: both are refused. Labs compute in two threads, so that one that trains leaves the others alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib
import secrets
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from twofold.errors import RunError, TwofoldError
from twofold.labs.arrays import from_bytes, to_bytes
from twofold.labs.given import MOST_BYTES, NOTHING, Given
from twofold.labs.modules import PAGE, module_text
from twofold.labs.table import LABS
from twofold.memory import give_back
from twofold.serving.guard import without_port
from twofold.serving.settings import is_loopback

if TYPE_CHECKING:
    from twofold.labs.session import Session

_MOST_PAGES = 64
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src blob:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Guard:
    """An ASGI application around another that lets through who has the token and comes from our own pages."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not is_loopback(without_port(host)):
            response: Response = Response("this server is known as 127.0.0.1 and localhost alone\n", 403)
        elif origin not in (None, f"http://{host}") or (scope["type"] == "websocket" and origin is None):
            response = Response("requests of pages from elsewhere are refused\n", 403)
        elif self._is_known(headers.get(b"cookie", "")):
            await self._app(scope, receive, _with_headers(send))
            return
        elif scope["type"] == "http" and self._has_token(scope):
            response = self._welcome(scope)
        else:
            response = HTMLResponse((PAGE / "token.html").read_bytes(), 403)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await response(scope, receive, _with_headers(send))

    def _is_known(self, cookies: str) -> bool:
        # Cookies belong to all ports of a machine, so other programs' are among them: not every parser forgives theirs.
        return self._equals(cookie_parser(cookies).get(self._cookie, ""))

    def _equals(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())

    def _has_token(self, scope: Scope) -> bool:
        return any(name == "token" and self._equals(value) for name, value in _query(scope))

    def _welcome(self, scope: Scope) -> Response:
        """The same address without its token, which must not stay in the history or in a link that is copied."""
        others = urlencode([(name, value) for name, value in _query(scope) if name != "token"])
        # One slash in front: two would name another host.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(f"{path}{f'?{others}' if others else ''}", 303)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
        return response


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending


def create_app(given: Given, token: str, cookie: str, tell: Callable[[str], None]) -> ASGIApp:
    """Return the application.

    Args:
        given: what every lab may use.
        token: whoever has it is let in.
        cookie: what keeps it is called so.
        tell: takes lines for the person who runs it.
    """
    sockets = _Sockets(given, tell)

    async def gallery(request: Request) -> Response:
        return HTMLResponse((PAGE / "gallery.html").read_bytes())

    async def page(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in LABS:
            return Response(f"there is no lab {name[:60]!r}\n", 404)
        return HTMLResponse((PAGE / "lab.html").read_bytes())

    async def module(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in LABS:
            return Response("there is no such lab\n", 404)
        return Response(module_text(name), media_type="text/javascript")

    async def listed(request: Request) -> Response:
        return JSONResponse([entry.words() for entry in LABS.values()])

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # torch is imported while the gallery shows.
        sockets.workers.submit(_warm_up)
        yield
        sockets.close()

    routes = [
        Route("/", gallery),
        Route("/labs.json", listed),
        Route("/lab/{name}.js", module),
        Route("/lab/{name}", page),
        WebSocketRoute("/socket/{name}", sockets.connected),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    return _Guard(Starlette(routes=routes, lifespan=lifespan), token, cookie)


class _Sockets:
    """The labs in use, one a WebSocket; two threads compute for all of them, and what is sent to one stays in order."""

    def __init__(self, given: Given, tell: Callable[[str], None]) -> None:
        self.workers = ThreadPoolExecutor(2, thread_name_prefix="lab", initializer=_one_thread)
        self._given, self._tell = given, tell
        self._sessions: set[Session] = set()

    def close(self) -> None:
        """End them all at once: each may have a run to save."""
        with ThreadPoolExecutor() as closing:
            list(closing.map(lambda session: session.close(), list(self._sessions)))
        self.workers.shutdown(wait=False, cancel_futures=True)

    async def connected(self, websocket: WebSocket) -> None:
        """Serve one page until it leaves."""
        name = websocket.path_params["name"]
        if name not in LABS or len(self._sessions) >= _MOST_PAGES:
            await websocket.close(1008)
            return
        await websocket.accept()
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        def answer(content: Any, buffers: list[bytes]) -> None:
            message = to_bytes(content, buffers)
            with contextlib.suppress(RuntimeError):  # the host has ended while a lab was at work
                loop.call_soon_threadsafe(answers.put_nowait, message)

        sending = asyncio.create_task(_send(websocket, answers))
        try:
            await self._serve(websocket, lambda: self._make(name, answer))
        except WebSocketDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one page, not the host
            # An image that was given may be gone by now: that is told in a line.
            self._tell(str(error) if isinstance(error, TwofoldError) else traceback.format_exc())
            with contextlib.suppress(RuntimeError):  # the page is gone already
                await websocket.close(1011)
        finally:
            sending.cancel()

    def _make(self, name: str, answer: Callable[[Any, list[bytes]], None]) -> Session:
        # These import torch, which the gallery does without.
        from twofold.labs.images import Opened
        from twofold.labs.session import Session

        return Session(LABS[name], Opened(self._given), answer, tell=self._tell)

    async def _serve(self, websocket: WebSocket, make: Callable[[], Session]) -> None:
        loop = asyncio.get_running_loop()
        session = await loop.run_in_executor(self.workers, make)
        self._sessions.add(session)
        try:
            await loop.run_in_executor(self.workers, session.begin)
            # A page that is closed before its lab is made is told so by what is sent to it, not by what it sends.
            while websocket.application_state is WebSocketState.CONNECTED:
                try:
                    content, buffers = from_bytes(await websocket.receive_bytes())
                except (ValueError, KeyError):
                    await websocket.close(1003)
                    return
                await loop.run_in_executor(self.workers, session.receive, content, buffers)
        finally:
            self._sessions.discard(session)
            leaving = [session]
            del session
            await loop.run_in_executor(None, _end, leaving)


def _end(leaving: list[Session]) -> None:
    # A network, its maps, a run: what a page has used is not kept for one that may never come. It is free once the last
    # reference to the session is gone, which this list has.
    leaving.pop().close()
    give_back()


async def _send(websocket: WebSocket, answers: asyncio.Queue[bytes]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.send_bytes(await answers.get())


def _one_thread() -> None:
    """Have torch compute in this thread alone: with more, they wait for one another while a browser has their core."""
    import torch

    torch.set_num_threads(1)


def _warm_up() -> None:
    from twofold.labs.images import SAMPLES, pixels

    pixels(SAMPLES[0])
    # It brings torchvision, which the labs with a network need.
    importlib.import_module("twofold.inference.torch_predictor")


class Host:
    """The pages, served by a thread of their own; as a context they are started and ended.

    Args:
        given: what every lab may use.
        port: 0 takes one that is free.
        tell: takes lines for the person who runs it.
        token: of who may come in; a new one if left out.

    Raises:
        RunError: the port is taken.
    """

    def __init__(
        self,
        given: Given = NOTHING,
        *,
        port: int = 0,
        tell: Callable[[str], None] = lambda line: None,
        token: str | None = None,
    ) -> None:
        self.token = token or secrets.token_urlsafe(18)
        try:
            self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        except OSError as error:
            raise RunError(
                f"cannot listen on port {port}: {error.strerror}; --port 0 takes one that is free"
            ) from error
        self.port = self._socket.getsockname()[1]
        app = create_app(given, self.token, f"twofold-lab-{self.port}", tell)
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=MOST_BYTES + 1_000_000,  # the settings beside it
            log_config=None,
            log_level="critical",  # faults of ours are told by `tell`; what is cut off as the host ends is none
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="labs", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def address(self, lab: str = "", settings: str = "") -> str:
        """Return the address of the gallery, or of a lab with settings, with the token in it."""
        path = f"/lab/{lab}" if lab else "/"
        return f"http://127.0.0.1:{self.port}{path}?token={self.token}{f'#{settings}' if settings else ''}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End, and with it every lab."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Host:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))
