"""The command line as a process of its own, and a server on this machine: real ones, for tests of any room."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class CommandLine:
    """Runs `twofold` in a process of its own."""

    def start(self, *arguments: str | Path, **options: object) -> subprocess.Popen[str]:
        """Start a command; its output is captured."""
        return subprocess.Popen(
            self.words(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def __call__(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.words(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **options,  # type: ignore[call-overload]
        )

    @staticmethod
    def words(*arguments: str | Path) -> list[str]:
        """Return the command as words."""
        return [sys.executable, "-m", "twofold.cli.main", *map(str, arguments)]


@dataclass
class Server:
    """A server on this machine that answers each path with the next of its replies, the last one for ever.

    A reply is the content; or a status; or "stall", which sends nothing until the server ends; or ("cut", content),
    which declares the length of the content and sends half; or ("endless", content), which declares no length.
    """

    address: str
    replies: dict[str, list]
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers with the server's replies."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            waiting = server.replies.get(self.path, [404])
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(reply, int):
                self.send_error(reply)
            elif reply == "stall":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
                self.wfile.flush()
                server.released.wait(30)
            else:
                kind, content = reply if isinstance(reply, tuple) else ("whole", reply)
                self.send_response(200)
                if kind != "endless":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
