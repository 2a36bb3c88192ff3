"""Bodies of requests, up to a size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from starlette.requests import Request

from dejavu_gateway.http.answers import JSON
from dejavu_gateway.messages.decode import read_json
from dejavu_gateway.messages.errors import RequestRefused, too_many_requests

_T = TypeVar("_T")

SMALL_BODY: Final = 16 * 1024
"""Maximum body with one request: twice the size of one with the most minutes and levels at full precision."""

LARGE_BODY: Final = 384 * 1024
"""Maximum body of a batch or of tensors; there is room for 1000 rows of 47 minutes, as whole numbers, with all further
columns."""

_IN_THREAD_FROM = 32 * 1024
"""Bytes from which a body is parsed in a thread: otherwise browsers would wait for their events."""


class BodyMemory:
    """Bytes of the bodies of all requests that are received, but not parsed yet.

    Args:
        most: bytes beyond which bodies larger than SMALL_BODY are refused: a few large bodies must not keep out all
            others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, size: int, received: int) -> None:
        """Count newly received bytes of a body.

        Args:
            size: the new bytes.
            received: all bytes of the body so far, these included.

        Raises:
            RequestRefused: if the new bytes exceed the limit; they count nevertheless.
        """
        self._held += size
        if self._held > self._most and received > SMALL_BODY:
            raise too_many_requests("too many bodies are being received; retry later")

    def give_back(self, size: int) -> None:
        """Stop counting bytes of a body."""
        self._held -= size


async def read_body(
    request: Request, parse: Callable[[object], _T], max_bytes: int, memory: BodyMemory, *, untyped: bool = False
) -> _T:
    """Return the parsed JSON of a body.

    Args:
        request: the request.
        parse: makes the result from the JSON data; may run in a thread.
        max_bytes: largest body.
        memory: counts its bytes.
        untyped: whether a program may omit the media type. Pages of other sites may not; they are recognized by the
            Origin that browsers send.

    Raises:
        RequestRefused: if the body is too large, or of another type, or `parse` refuses it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    allowed = untyped and not kind and "origin" not in request.headers
    if kind != JSON and not allowed:  # other sites' pages cannot send this type without a CORS preflight
        message = f"the body is of type {kind[:60]!r}; expected {JSON}"
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", message)
    async with _received(request, max_bytes, memory) as body:
        if len(body) < _IN_THREAD_FROM:
            return parse(read_json(body))
        return await asyncio.to_thread(lambda: parse(read_json(body)))


@asynccontextmanager
async def _received(request: Request, max_bytes: int, memory: BodyMemory) -> AsyncIterator[bytes]:
    """Receive the body of a request; its bytes count until the end of the block.

    Raises:
        RequestRefused: if the body is larger than `max_bytes`, or too many bytes of all bodies are held.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 12 or int(declared) > max_bytes):
        raise _too_large(max_bytes)
    if "content-encoding" in request.headers:
        raise RequestRefused("UNSUPPORTED_ENCODING", "the body is compressed; expected plain JSON")
    chunks, size = list[bytes](), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            memory.take(len(chunk), size)
            if size > max_bytes:
                raise _too_large(max_bytes)
            chunks.append(chunk)
        yield b"".join(chunks)
    finally:
        memory.give_back(size)


def _too_large(max_bytes: int) -> RequestRefused:
    message = f"the body is larger than {max_bytes} bytes"
    return RequestRefused("BODY_TOO_LARGE", message, headers={"connection": "close"})
