"""Bodies of requests, up to a size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

from starlette.requests import Request

from dejavu_gateway.http.answers import JSON
from dejavu_gateway.messages.decode import MessageT, from_json, read_json
from dejavu_gateway.messages.errors import RequestRefused

_T = TypeVar("_T")

SMALL_BODY: Final = 16 * 1024
"""Largest body with one request, which has a half of it with the most minutes and levels at full precision."""

LARGE_BODY: Final = 384 * 1024
"""Largest body of a batch or of tensors: 1000 rows of 47 minutes, as whole numbers, with all further columns fit."""

_IN_THREAD_FROM = 32 * 1024
"""Bytes from which a body is parsed in a thread: it would keep browsers waiting for their events."""


async def read_message(request: Request, message_type: type[MessageT], max_bytes: int) -> MessageT:
    """Return the message that the body of a request describes in JSON.

    Args:
        request: the request.
        message_type: type of the message.
        max_bytes: largest body.

    Raises:
        RequestRefused: if the body is too large, of another type, or does not describe the message.
    """
    return await read_body(request, lambda value: from_json(value, message_type), max_bytes)


async def read_body(request: Request, parse: Callable[[object], _T], max_bytes: int, *, untyped: bool = False) -> _T:
    """Return the parsed JSON of a body.

    Args:
        request: the request.
        parse: makes it of the JSON data; may run in a thread.
        max_bytes: largest body.
        untyped: whether a program may leave the type out. Pages of other sites may not: browsers send an Origin.

    Raises:
        RequestRefused: if the body is too large, or of another type, or `parse` refuses it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    allowed = untyped and not kind and "origin" not in request.headers
    if kind != JSON and not allowed:  # keeps pages of other sites from sending one without asking first (CORS)
        message = f"the body is of type {kind[:60]!r}; expected {JSON}"
        raise RequestRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_ARGUMENT", message, "UNSUPPORTED_MEDIA_TYPE")
    body = await _read(request, max_bytes)
    if len(body) < _IN_THREAD_FROM:
        return parse(read_json(body))
    return await asyncio.to_thread(lambda: parse(read_json(body)))


async def _read(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        RequestRefused: if it is larger than `max_bytes`.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 12 or int(declared) > max_bytes):
        raise _too_large(max_bytes)
    if "content-encoding" in request.headers:
        message = "the body is compressed; expected plain JSON"
        raise RequestRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_ARGUMENT", message, "UNSUPPORTED_ENCODING")
    chunks, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> RequestRefused:
    message = f"the body is larger than {max_bytes} bytes"
    return RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "INVALID_ARGUMENT",
        message,
        "BODY_TOO_LARGE",
        headers={"connection": "close"},
    )
