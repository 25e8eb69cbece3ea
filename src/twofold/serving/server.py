"""A server as a process: a thread answers, the main thread waits for signals.

SIGTERM and Ctrl-C end it in good order: /readyz says no, what is asked is answered and its connection closed, then no
connection is taken any more, and what was begun is ended. SIGHUP has every network loaded anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

import uvicorn

from twofold.engine.stopping import StopRequest
from twofold.errors import RunError
from twofold.serving.app import create_app
from twofold.serving.connections import Connection
from twofold.serving.settings import ServeSettings

_GRACE_SECONDS = 30
_ACCEPT_SECONDS = 0.1


class RunningServer:
    """A server in a thread of its own; as a context it is started, ready, and ended.

    Args:
        settings: of the server.
        tell: takes lines for the person who runs it.

    Raises:
        RunError: the address is taken.
        TwofoldError: a network cannot be used.
    """

    def __init__(self, settings: ServeSettings, *, tell: Callable[[str], None] = lambda line: None) -> None:
        self._settings = settings
        self._loaded = threading.Event()
        self._failure: Exception | None = None
        app = create_app(settings, tell=tell, loaded=self._on_loaded)
        self._state = app.state
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """The address under which it is reached."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"http://{host}:{port}"

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Take the address and answer there; networks are loaded meanwhile, and /readyz says when they are.

        Raises:
            RunError: the address is taken, or not of this machine.
        """
        settings = self._settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            address = socket.getaddrinfo(settings.host, settings.port, family, socket.SOCK_STREAM)[0][4]
            self._socket = socket.create_server(address, family=family, backlog=2048)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            raise RunError(
                f"cannot listen on {settings.host} port {settings.port}: {getattr(error, 'strerror', None) or error}; "
                "--port 0 takes one that is free"
            ) from error
        self._thread.start()

    def is_ready(self, *, within: float) -> bool:
        """Return whether all networks answer, as soon as they do or when so many seconds are over.

        Raises:
            TwofoldError: one of them cannot be loaded.
        """
        self._loaded.wait(within)
        if self._failure is not None:
            raise self._failure
        if not self.is_alive:
            raise RunError("the server ended by itself")
        return self._loaded.is_set()

    def reload(self) -> None:
        """Load every network anew and exchange it."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._state.shelf.reload(only_changed=False), self._loop)

    def drain(self) -> None:
        """Say that the end is near: /readyz says no, and each answer closes its connection."""
        self._state.draining = True

    def stop(self) -> None:
        """Take no request any more, end those that were begun, and return when all is done."""
        if self._socket is not None and self.is_alive:
            # Who has connected and was not accepted yet would be reset when the socket closes: with no room to wait,
            # newcomers are refused, and those that wait are accepted first.
            with contextlib.suppress(OSError):
                self._socket.listen(0)
                time.sleep(_ACCEPT_SECONDS)
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> RunningServer:
        self.start()
        try:
            while not self.is_ready(within=1.0):
                pass
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            assert self._socket is not None
            await self._server.serve(sockets=[self._socket])

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve())

    def _on_loaded(self, failure: Exception | None) -> None:
        self._failure = failure
        self._loaded.set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop, where it is installed: it answers about half as many requests again."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def serve(settings: ServeSettings, *, tell: Callable[[str], None], ready: Callable[[str], None]) -> int:
    """Answer until a signal ends it; return the exit code, 0 after SIGTERM or Ctrl-C.

    Args:
        settings: of the server.
        tell: takes lines for the person who runs it.
        ready: called with the address, once all networks answer.

    Raises:
        RunError: the address is taken.
        TwofoldError: a network cannot be used.
    """
    server = RunningServer(settings, tell=tell)
    again = threading.Event()
    with StopRequest("ending: requests that were begun are answered; Ctrl-C again stops at once") as stop:
        before = signal.signal(signal.SIGHUP, lambda number, frame: again.set()) if hasattr(signal, "SIGHUP") else None
        try:
            server.start()
            was_ready = False
            while stop.received is None:
                if not was_ready and server.is_ready(within=0.1):
                    was_ready = True
                    ready(server.url)
                if was_ready and again.wait(0.1):
                    again.clear()
                    server.reload()
                if not server.is_alive:
                    raise RunError("the server ended by itself")
            server.drain()
            time.sleep(settings.drain)
        finally:
            server.stop()
            if before is not None:
                signal.signal(signal.SIGHUP, before)
    return 0
