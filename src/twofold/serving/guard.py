"""Who may ask. Around the whole application, before a byte of a request's body is read.

A page from elsewhere, open in a browser on this machine, can send requests to 127.0.0.1. Its Origin is then not ours;
and where it has a name of its own point to 127.0.0.1 (DNS rebinding), the Host is not. Both are refused with 403.
Beyond this machine a token is needed: `Authorization: Bearer TOKEN`.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from twofold.serving.settings import ServeSettings, is_loopback

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# The page itself and whether the server is up: what holds nothing of anyone's.
_OPEN = frozenset({"/", "/docs", "/healthz", "/readyz", "/openapi.json"})


class Guard:
    """An ASGI application around another that lets through who may ask.

    Args:
        app: the application.
        settings: token, host, and further names of the server.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: ServeSettings) -> None:
        self._app, self._settings = app, settings
        self._token = None if settings.token is None else f"bearer {settings.token}".encode()
        self._allowed = frozenset(map(str.lower, settings.allowed_hosts))
        self._names = {socket.gethostname().lower(), settings.host.lower(), *self._allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = self._refusal(scope["path"], headers)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await answer_error(send, *refusal)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self.knows(host):
            return 403, f"this server is not known as {host[:100]!r}: --allowed-host lets further names in"
        origin = headers.get(b"origin")
        if origin is not None and not self._is_own(origin.decode("latin-1").lower(), host):
            return 403, "requests of pages from elsewhere are refused"
        if self._token is not None and path not in _OPEN and not path.startswith("/static/"):
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if not hmac.compare_digest(kind.lower() + b" " + given.strip(), self._token):
                return 401, "a token is needed: Authorization: Bearer TOKEN"
        return None

    def knows(self, host: str) -> bool:
        """Return whether a Host header names this server: as this machine, by address, or by a name that it was given.

        An address cannot be pointed elsewhere as a name can, so any is taken where the server is open to others.
        """
        name = without_port(host)
        if is_loopback(name) or name in self._names:
            return True
        return not self._settings.is_local and _is_address(name)

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        # A proxy before the server may give it another Host than the browser has; what it was told of is its own.
        return parts.scheme in ("http", "https") and (parts.netloc == host or parts.hostname in self._allowed)


def without_port(host: str) -> str:
    """Return the name or address of a Host header."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def answer_error(send: Send, status: int, reason: str, **headers: str) -> None:
    """Answer a request with one line that says what is wrong."""
    body = json.dumps({"error": reason}).encode()
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if status == 401:
        pairs.append((b"www-authenticate", b"Bearer"))
    pairs += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
