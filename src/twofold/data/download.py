"""One file from the network, whole and checked or not at all.

Every attempt has a timeout; failures that may pass are tried again after a pause that doubles, then the next mirror
is asked. The file gets its name only after its length and checksum are right, and a partial one is removed.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twofold.errors import RunError
from twofold.files import atomic_path
from twofold.terminal import track

_CHUNK = 2**18
_MEBIBYTE = 2**20
_TEMPORARY_TROUBLE = (408, 425, 429)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A file to download: its name, the addresses of its mirrors, its checksum and the most bytes it may have.

    The one checksum is what its publishers give: an MD5, a SHA-1, or the first digits of a SHA-256. Without any, what
    arrives is taken as it is.
    """

    filename: str
    urls: tuple[str, ...]
    md5: str | None = None
    sha1: str | None = None
    sha256_starts: str | None = None
    max_bytes: int = 512 * _MEBIBYTE


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait: seconds without a byte, attempts for each mirror, seconds before the second attempt."""

    timeout: float = 20.0
    attempts: int = 3
    pause: float = 0.5


class DownloadError(RunError):
    """A file that no mirror delivered whole."""


class _FailedError(Exception):
    """One attempt failed; `again` says whether the same address may do better."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


def download(resource: Resource, target: Path, *, patience: Patience | None = None, show_progress: bool = True) -> None:
    """Download `resource` to `target`.

    Raises:
        DownloadError: no mirror delivered the file; the message gives the last reason of each.
        RunError: `target` cannot be written.
    """
    patience = patience or Patience()
    reasons = []
    for url in resource.urls:
        reason = "no attempt was allowed"
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.pause * 2 ** (attempt - 1))
            try:
                with atomic_path(target) as temporary:
                    _receive(url, resource, temporary, patience.timeout, show_progress)
                return
            except _FailedError as failure:
                reason = str(failure)
                if not failure.again:
                    break
        reasons.append(f"{url}: {reason}")
    raise DownloadError(f"cannot download {resource.filename} ({'; '.join(reasons)})")


def _receive(url: str, resource: Resource, temporary: Path, timeout: float, show_progress: bool) -> None:
    given = {"MD5": resource.md5, "SHA-1": resource.sha1, "SHA-256": resource.sha256_starts}
    kind, checksum = next(((kind, value) for kind, value in given.items() if value is not None), ("SHA-256", ""))
    digest = hashlib.new(kind.replace("-", "").lower(), usedforsecurity=False)
    received = 0
    request = urllib.request.Request(url, headers={"User-Agent": "twofold"})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        again = error.code >= 500 or error.code in _TEMPORARY_TROUBLE
        raise _FailedError(f"the server answered {error.code} {error.reason}", again=again) from error
    except (OSError, http.client.HTTPException) as error:
        raise _FailedError(_reason(error, timeout), again=True) from error
    with answer as response, temporary.open("wb") as file:
        declared = response.headers.get("Content-Length", "")
        expected = int(declared) if declared.isdecimal() else None
        if expected is not None and expected > resource.max_bytes:
            raise _FailedError(f"{expected:,} bytes, more than the {resource.max_bytes:,} allowed", again=False)
        total = math.ceil((expected or resource.max_bytes) / _CHUNK)
        label = f"downloading {resource.filename} (in {_CHUNK // 1024} KiB)"
        for chunk in track(_chunks(response), total=total, label=label, enabled=show_progress):
            received += len(chunk)
            if received > resource.max_bytes:
                raise _FailedError(f"more than the {resource.max_bytes:,} bytes allowed", again=False)
            digest.update(chunk)
            file.write(chunk)
    if expected is not None and received != expected:
        raise _FailedError(f"the connection ended after {received:,} of {expected:,} bytes", again=True)
    if not digest.hexdigest().startswith(checksum):
        raise _FailedError(f"wrong checksum: {kind} {digest.hexdigest()}, expected {checksum}", again=False)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield what the server sends. Network errors end here, so that those of the disk keep their meaning."""
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            # The timeout is the one that the connection was opened with.
            raise _FailedError(_reason(error, None), again=True) from error
        if not chunk:
            return
        yield chunk


def _reason(error: Exception, timeout: float | None) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time" if timeout is None else f"no answer within {timeout:g} s"
    return str(cause) or type(cause).__name__
