"""`twofold serve` as a process: what it says, whether it is ready, how it ends."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator


class Served:
    """A process that serves, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stderr is not None
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._reader.start()
        self.url = process.stdout.readline().strip()

    def _read(self, stream: Iterator[str]) -> None:
        self.lines += (line.rstrip("\n") for line in stream)

    def wait_for(self, words: str) -> str:
        """Return the line with these words, once it is there."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for line in list(self.lines):
                if words in line:
                    return line
            time.sleep(0.05)
        raise AssertionError((words, self.lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def until_ready(self, url: str = "", **headers: str) -> None:
        """Ask /readyz until it says yes, at the process's own address or another that hands on to it."""
        request = urllib.request.Request(f"{url or self.url}/readyz", headers=headers)
        end = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.lines
            try:
                urllib.request.urlopen(request, timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
