"""What a request holds, to encoded images: bare bytes, multipart with several files, or JSON with base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
from typing import Any, NamedTuple

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from twofold.serving.settings import MEGABYTE, ServeSettings

_BARE = ("image/", "application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream")
"""Kinds of content that are taken as the bytes of one image; curl --data-binary says it is a form."""
KINDS = "an image's bytes (image/*), multipart/form-data, or application/json"


class RefusedError(Exception):
    """A request that cannot be answered: the status and one line that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Upload(NamedTuple):
    """An encoded image, and what the client calls it."""

    name: str | None
    content: bytes


async def read_uploads(request: Request, settings: ServeSettings) -> list[Upload]:
    """Return the images of a request, still encoded.

    Raises:
        RefusedError: the request is too large (413) or too slow (408), of another kind (415), or broken (400, 422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in ("multipart/form-data", "application/json") and not kind.startswith(_BARE):
        raise RefusedError(415, f"{kind[:100]} is no content that is taken; send {KINDS}")
    try:
        async with asyncio.timeout(settings.upload):
            body = await _read(request, settings)
    except TimeoutError as error:
        raise RefusedError(408, f"the request did not arrive within {settings.upload:g} s") from error
    except ClientDisconnect as error:
        raise RefusedError(400, "the request ended early") from error
    if kind == "multipart/form-data":
        uploads = _of_form(request.headers["content-type"], body, settings.images)
    elif kind == "application/json":
        uploads = _of_json(body, settings.images)
    else:
        uploads = [Upload(None, body)]
    if not uploads:
        raise RefusedError(422, f"there is no image in the request; send {KINDS}")
    return uploads


async def _read(request: Request, settings: ServeSettings) -> bytes:
    most = int(settings.megabytes * MEGABYTE)
    too_large = RefusedError(413, f"a request may have {settings.megabytes:g} MB")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise RefusedError(400, "Content-Length is no number")
    if int(declared) > most:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


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
    name, value, content = bytearray(), bytearray(), io.BytesIO()

    def begin() -> None:
        nonlocal content
        header.clear()
        content = io.BytesIO()

    def end_of_header() -> None:
        header[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        _, disposition = parse_options_header(header.get(b"content-disposition", b""))
        if b"filename" in disposition:
            if len(uploads) == most:
                raise _too_many(most)
            uploads.append(Upload(disposition[b"filename"].decode("utf-8", "replace")[:200], content.getvalue()))

    callbacks: Any = {
        "on_part_begin": begin,
        "on_header_field": lambda data, start, stop: name.extend(data[start:stop]),
        "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
        "on_header_end": end_of_header,
        "on_part_data": lambda data, start, stop: content.write(data[start:stop]),
        "on_part_end": end,
    }
    parser = MultipartParser(boundary, callbacks)
    try:
        parser.write(body)
        parser.finalize()
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(400, f"the form is broken: {str(error).splitlines()[0][:200] or 'it ends early'}") from error
    return uploads


def _of_json(body: bytes, most: int) -> list[Upload]:
    """Return the images of {"images": ["BASE64", …]}, each also {"name": …, "data": "BASE64"}."""
    shape = 'send {"images": ["BASE64", …]}, each of them also {"name": "photo.png", "data": "BASE64"}'
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
