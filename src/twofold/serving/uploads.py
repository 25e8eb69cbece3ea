"""What a request holds, to encoded images: bare bytes, multipart with several files, or JSON with base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from twofold.names import shown
from twofold.serving.settings import MEGABYTE, ServeSettings

_BARE = ("image/", "application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream")
"""Kinds of content that are taken as the bytes of one image; curl --data-binary says it is a form."""
KINDS = "an image's bytes (image/*), multipart/form-data, or application/json"


# A larger body is taken apart in a thread of its own: it may take a second, in which others are answered.
_LARGE_BYTES = 1_000_000
_MOST_FIELDS = 100
# A name that is not ASCII, as RFC 5987 spells it: filename*=utf-8'en'%E6%97%A5.png.
_ENCODED_NAME = re.compile(rb"(?i)\bfilename\*\s*=\s*\"?(?:[\w-]*'[^']*')?([^;\"]*)")
# It warns of each broken form on standard error, where any client could then write at will.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class RefusedError(Exception):
    """A request that cannot be answered: the status and one line that says why.

    Args:
        status: of HTTP.
        reason: the line.
        unread: whether the rest of the request was not read.
    """

    def __init__(self, status: int, reason: str, *, unread: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.unread = status, reason, unread


class Room:
    """Memory for the requests that are here at once.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    @contextlib.contextmanager
    def of_request(self) -> Iterator[Callable[[int], None]]:
        """Yield what takes so many bytes more for a request, or raises a `RefusedError`; at the end all are free."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._left:
                raise RefusedError(503, "too many large requests are here; try again in a second", unread=True)
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken


class Upload(NamedTuple):
    """An encoded image, and what the client calls it."""

    name: str | None
    content: bytes


async def read_uploads(request: Request, settings: ServeSettings, take: Callable[[int], None]) -> list[Upload]:
    """Return the images of a request, still encoded.

    Args:
        request: none of whose body was read yet.
        settings: of the server.
        take: called with the number of bytes before they are kept.

    Raises:
        RefusedError: the request is too large (413) or too slow (408), of another kind (415), or broken (400, 422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in ("multipart/form-data", "application/json") and not kind.startswith(_BARE):
        raise RefusedError(415, f"{shown(kind[:100])} is no content that is taken; send {KINDS}")
    try:
        async with asyncio.timeout(settings.upload):
            body = await _read(request, settings, take)
    except TimeoutError as error:
        raise RefusedError(408, f"the request did not arrive within {settings.upload:g} s", unread=True) from error
    except ClientDisconnect as error:
        raise RefusedError(400, "the request ended early") from error
    if kind not in ("multipart/form-data", "application/json"):
        uploads = [Upload(None, body)] if body else []
    elif len(body) > _LARGE_BYTES:
        uploads = await asyncio.to_thread(_taken_apart, kind, request.headers["content-type"], body, settings)
    else:
        uploads = _taken_apart(kind, request.headers["content-type"], body, settings)
    if not uploads:
        raise RefusedError(422, f"there is no image in the request; send {KINDS}")
    return uploads


async def _read(request: Request, settings: ServeSettings, take: Callable[[int], None]) -> bytes:
    most = int(settings.megabytes * MEGABYTE)
    too_large = RefusedError(413, f"a request may have {settings.megabytes:g} MB", unread=True)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise RefusedError(400, "Content-Length is no number")
    if len(declared) > 18 or int(declared) > most:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_large
        take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _taken_apart(kind: str, content_type: str, body: bytes, settings: ServeSettings) -> list[Upload]:
    if kind == "application/json":
        return _of_json(body, settings.most_images)
    return _of_form(content_type, body, settings.most_images)


def _too_many(most: int) -> RefusedError:
    return RefusedError(413, f"a request may have {most} image{'s' * (most > 1)}")


def _of_form(content_type: str, body: bytes, most: int) -> list[Upload]:
    """Return the files of a form; fields that are no files are not for us."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise RefusedError(400, "multipart/form-data needs a boundary")
    uploads: list[Upload] = []
    header: dict[bytes, bytes] = {}
    name, value, content, num_parts = bytearray(), bytearray(), io.BytesIO(), 0
    is_whole = False

    def begin() -> None:
        nonlocal content, num_parts
        num_parts += 1
        if num_parts > most + _MOST_FIELDS:
            raise _too_many(most)
        header.clear()
        content = io.BytesIO()

    def end_of_header() -> None:
        header[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        file = _file_name(header.get(b"content-disposition", b""))
        if file is not None:
            if len(uploads) == most:
                raise _too_many(most)
            uploads.append(Upload(file[:200], content.getvalue()))

    def end_of_form() -> None:
        nonlocal is_whole
        is_whole = True

    callbacks: Any = {
        "on_part_begin": begin,
        "on_header_field": lambda data, start, stop: name.extend(data[start:stop]),
        "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
        "on_header_end": end_of_header,
        "on_part_data": lambda data, start, stop: content.write(data[start:stop]),
        "on_part_end": end,
        "on_end": end_of_form,
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
    except FormParserError as error:
        raise RefusedError(400, "the form is broken: its parts do not lie between its boundaries") from error
    if not is_whole:
        raise RefusedError(400, "the form is broken: it ends early")
    return uploads


def _file_name(disposition: bytes) -> str | None:
    """Return what a part of a form calls its file; None where it is no file."""
    _, options = parse_options_header(disposition)
    if b"filename" in options:
        return options[b"filename"].decode("utf-8", "replace")
    encoded = _ENCODED_NAME.search(disposition)  # which the library leaves out
    return None if encoded is None else unquote(encoded[1].decode("latin-1"))


def _of_json(body: bytes, most: int) -> list[Upload]:
    """Return the images of {"images": ["BASE64", …]}, each also {"name": …, "data": "BASE64"}."""
    shape = 'send {"images": ["BASE64", …]}, each of them also {"name": "photo.png", "data": "BASE64"}'
    # Values cost more memory than the bytes that spell them. What is ours has few, and each is behind a comma.
    if body.count(b",") > 4 * most + _MOST_FIELDS:
        raise _too_many(most)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the request is not JSON; {shape}") from error
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list):
        raise RefusedError(422, f"the JSON has no list of images; {shape}")
    if len(images) > most:
        raise _too_many(most)
    return [_of_value(one, number, shape) for number, one in enumerate(images, 1)]


def _of_value(value: Any, number: int, shape: str) -> Upload:
    name, data = (value.get("name"), value.get("data")) if isinstance(value, dict) else (None, value)
    if not isinstance(data, str) or not (name is None or isinstance(name, str)):
        raise RefusedError(422, f"image {number} is no text in base64; {shape}")
    data = data.partition(",")[2] if data.startswith("data:") else data
    try:
        return Upload(None if name is None else name[:200], base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise RefusedError(422, f"image {number} is not base64") from error
