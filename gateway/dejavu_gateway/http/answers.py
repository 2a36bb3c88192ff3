"""Answers: their security headers, JSON that can be revalidated, errors."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dejavu_gateway.messages.encode import dump
from dejavu_gateway.messages.errors import RequestRefused


def content_security_policy(*styles: str, embedded: bool = False) -> str:
    """Return the content security policy of an answer, under which no script or style from elsewhere runs.

    Args:
        styles: the styles that its document contains, each allowed by its hash.
        embedded: whether other sites may show it in a frame.
    """
    hashes = (base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in styles)
    allowed = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    ancestors = "*" if embedded else "'none'"
    return (
        f"default-src 'none'; script-src 'self'; style-src {allowed}; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {ancestors}"
    )


SECURITY_HEADERS: Final = {
    "content-security-policy": content_security_policy(),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}
"""Headers of every answer."""

EMBEDDED_HEADERS: Final = {
    "cross-origin-resource-policy": "cross-origin",
    "x-frame-options": "",
}
"""Headers of pages that other sites may frame, in addition to their policy; empty headers are left out."""

COMPRESSED_FROM: Final = 1024
"""Bytes from which an answer is compressed."""

_GZIP_LEVEL: Final = 6
_IN_THREAD_FROM: Final = 64 * 1024
"""Bytes from which an answer is compressed in a thread: otherwise browsers would wait for their events."""

JSON: Final = "application/json"
PNG: Final = "image/png"
PARQUET: Final = "application/vnd.apache.parquet"
_COMPRESSIBLE: Final = ("text/", "image/svg+xml", "application/json", "application/manifest+json")
"""Beginnings of the media types whose content is not compressed already."""


class Content(bytes):
    """Content with its ETag and its compressed form, each computed once: for megabytes that takes many milliseconds."""

    @cached_property
    def etag(self) -> str:
        """Its weak ETag."""
        return f'W/"{hashlib.blake2b(self, digest_size=16).hexdigest()}"'

    @cached_property
    def compressed(self) -> bytes:
        """It in gzip's format, the same for the same content."""
        return gzip.compress(self, _GZIP_LEVEL, mtime=0)


def error_response(refused: RequestRefused, request_id: str = "", *, plain: bool = False) -> Response:
    """Return the answer to a request that is refused.

    Args:
        refused: the refusal.
        request_id: the gateway's id of the request.
        plain: whether the body has only the message, as the Open Inference Protocol requires.
    """
    headers = {"cache-control": "no-store", **refused.headers}
    if refused.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refused.retry_after)))
    body = {"error": refused.message} if plain else refused.as_json(request_id)
    return Response(dump(body), refused.status, headers, media_type=JSON)


async def json_response(request: Request, body: bytes) -> Response:
    """Return JSON that browsers may keep and revalidate."""
    return await content_response(request, body, JSON, "no-cache")


async def content_response(
    request: Request, body: bytes, media_type: str, cache_control: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return content with its ETag, compressed if the browser accepts that; return 304 if the browser has the content.

    Args:
        request: the request.
        body: the content.
        media_type: its type.
        cache_control: caching of the answer.
        headers: further headers.
    """
    content = body if isinstance(body, Content) else Content(body)
    fields = {"etag": content.etag, "cache-control": cache_control, "vary": "accept-encoding", **(headers or {})}
    if request.method in {"GET", "HEAD"} and _has(request.headers.get("if-none-match", ""), content.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=fields)
    worth = len(body) >= COMPRESSED_FROM and media_type.startswith(_COMPRESSIBLE)
    if worth and accepts_gzip(request.headers.get("accept-encoding", "")):
        fields["content-encoding"] = "gzip"
        small = len(body) < _IN_THREAD_FROM
        body = content.compressed if small else await asyncio.to_thread(getattr, content, "compressed")
    return Response(body, headers=fields, media_type=media_type)


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header names gzip, or *, with a weight other than 0."""
    weights = dict[str, bool]()
    for each in header.lower().split(","):
        coding, _, parameter = each.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return weights.get("gzip", weights.get("*", False))


def _has(header: str, etag: str) -> bool:
    """Return whether an If-None-Match header has an ETag; weak comparison, as for GET (RFC 9110, 13.1.2)."""
    wanted = etag.removeprefix("W/")
    return any(each.strip() == "*" or each.strip().removeprefix("W/") == wanted for each in header.split(","))
