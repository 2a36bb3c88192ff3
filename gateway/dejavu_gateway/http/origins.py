"""Origins of requests: pages of this gateway, of other sites, and those of other sites that may read the interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

ANY: Final = "*"
"""Written for all origins."""

_SHARED: Final = ("/api/", "/share/", "/openapi.json")
"""Beginnings of the paths that pages of other sites may read: forecasts, record and live events, but not the page
itself, nor what concerns the operator."""

_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, HEAD, POST",
    "access-control-allow-headers": "content-type, if-none-match, last-event-id",
    "access-control-max-age": "600",
}


def parse_origin(text: str) -> str:
    """Return an origin as browsers send it: scheme, host, and port unless it is the usual one; * for all.

    Raises:
        ValueError: if it is none.
    """
    if text == ANY:
        return text
    page = urlsplit(text.lower())
    usual, host = DEFAULT_PORTS.get(page.scheme), page.hostname or ""
    beyond = "@" in page.netloc or page.path.strip("/") or page.query or page.fragment
    if not (usual and host and text.isascii()) or beyond:
        raise ValueError(f"{text!r} is no origin; expected one as https://example.org:8443, or *")
    shown = f"[{host}]" if ":" in host else host
    return f"{page.scheme}://{shown}" + (f":{page.port}" if page.port not in {None, usual} else "")


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Return whether a page of an origin belongs to the requested host: by scheme, name and port.

    Args:
        origin: the Origin header.
        host: the Host header; without a port it means the default port of the scheme.
        scheme: scheme of the request; empty if it is not known.
    """
    try:
        page = urlsplit(origin)
        usual = DEFAULT_PORTS[page.scheme]
        asked = urlsplit(f"//{host}")
        same = (page.hostname, page.port or usual) == (asked.hostname, asked.port or usual)
    except (KeyError, ValueError):
        return False
    return same and page.scheme == (scheme or page.scheme)


class SharedOrigins:
    """Origins whose pages may read the interface, without credentials (CORS, fetch.spec.whatwg.org, 3.3).

    Args:
        origins: the origins, as `parse_origin` returns them.
    """

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def __contains__(self, origin: str | None) -> bool:
        """Return whether pages of an origin may read; None: a request without one."""
        return origin is not None and (ANY in self._origins or origin in self._origins)

    def headers(self, path: str, request: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers by which a browser lets the page that made a request read the answer.

        Args:
            path: the requested path.
            request: headers of the request.
        """
        if not self._origins or not path.startswith(_SHARED):
            return {}
        every, origin = ANY in self._origins, request.get("origin")
        found = {} if every else {"vary": "origin"}  # also without an origin: caches keep that answer too
        if origin is not None and origin in self:
            found["access-control-allow-origin"] = ANY if every else origin
            found["access-control-expose-headers"] = "content-disposition, etag, retry-after, x-request-id"
        return found

    def preflight(self, method: str, path: str, request: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the headers of the answer to the question whether a page may make a request; None if it is none."""
        if method != "OPTIONS" or "access-control-request-method" not in request:
            return None
        allowed = self.headers(path, request)
        return {**allowed, **_PREFLIGHT} if "access-control-allow-origin" in allowed else None
