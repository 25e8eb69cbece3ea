"""A client that sends requests at a rate whether they are answered or not: `_open_loop.py PORT RATE SECONDS`.

The request comes on standard input; what came of it goes to standard output as JSON. It imports nothing heavy, being
started for each rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

LIMIT = 0.1
LOST_AFTER = 2.0
CONNECTIONS = 256


@dataclass(frozen=True)
class Probe:
    """What a rate of requests gave: how many were answered a second, the 99th percentile in s, the share lost."""

    rate: float
    answered: float
    slow: float
    lost: float

    @property
    def holds(self) -> bool:
        return self.slow <= LIMIT and self.lost <= 0.001


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: list[Connection], times: list[float]) -> None:
        self.free, self.times = free, times
        self.transport: Any = None
        self.due = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.free.append(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        fields = head.lower()
        at = fields.find(b"content-length:")
        if at < 0 or len(body) < int(fields[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self.buffer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.times.append(time.perf_counter() - self.due)
        self.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.free:
            self.free.remove(self)


async def drive(port: int, request: bytes, rate: float, seconds: float) -> Probe:
    """Send requests at a rate, and return what came back."""
    loop = asyncio.get_running_loop()
    free: list[Connection] = []
    times: list[float] = []
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Connection(free, times), "127.0.0.1", port)
    number = max(20, int(rate * seconds))
    refused = 0
    start = time.perf_counter() + 0.05
    sent = 0
    while sent < number:
        now = time.perf_counter()
        while sent < number and start + sent / rate <= now:
            if free:
                free.pop().send(request, start + sent / rate)
            else:
                refused += 1
            sent += 1
        await asyncio.sleep(min(0.001, max(0.0, start + sent / rate - time.perf_counter())))
    end = time.perf_counter() + LOST_AFTER
    while len(times) + refused < number and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    took = time.perf_counter() - start
    slow = sorted(times)[int(0.99 * (len(times) - 1))] if times else 1e9
    return Probe(rate, len(times) / max(took, number / rate), slow, 1 - len(times) / number)


def main() -> None:
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        probe = runner.run(drive(port, sys.stdin.buffer.read(), rate, seconds))
    print(json.dumps(asdict(probe)))


if __name__ == "__main__":
    main()
