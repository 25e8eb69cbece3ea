"""How connections end: those that send no end of a request's head, for whom uvicorn would wait for ever, and at the end
of the server those that have just begun.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 65_536
_HEAD_SECONDS = 20.0
_FIRST_SECONDS = 0.5


class Connection(HttpToolsProtocol):
    """A connection to the server, with limits to the head of each request."""

    _head_size, _in_head = 0, True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to wait for the end of a request's head."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        self._end_head()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one that follows a body in chunks, of which there is no use."""
        if self._in_head:
            super().on_header(name, value)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        super().data_received(data)
        self._head_size += len(data) * self._in_head
        if self._head_size > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request of HTTP, as errors are answered elsewhere."""
        body = json.dumps(
            {"error": msg if self._head_size > _HEAD_BYTES else "this is no request of HTTP/1.1"}
        ).encode()
        head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def shutdown(self) -> None:
        """End with the server: after the request that is being answered, or the one that a new client is about to send.

        uvicorn closes a connection on which no request came yet at once, and who has just connected loses its request.
        """
        if self.cycle is None and not self.transport.is_closing():
            self.loop.call_later(_FIRST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def _begin_head(self) -> None:
        self._end_head()
        self._head_size, self._in_head = 0, True
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._close)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
