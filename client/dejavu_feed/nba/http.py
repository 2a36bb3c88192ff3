"""HTTP session adapter for nba_api: reads a page within a total time limit and keeps its status and headers.

nba_api itself uses one session per process, and its responses hide status and headers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import requests

_CHUNK: Final = 65_536
"""Maximum bytes per read; a read returns available data without waiting for more."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are never reached through a proxy."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The class that nba_api instantiates for a response, replacing its own, which hides the status."""

    response: str
    status_code: int
    url: str


@dataclass(frozen=True, slots=True)
class HttpPage:
    """The attributes that nba_api needs of a response, plus the headers."""

    text: str
    status_code: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


class BoundedReader:
    """Reads a page within a total of `seconds`.

    The timeout of requests only limits the wait for each chunk, so a slowly dripping page would never end.

    Attributes:
        page: the last page read completely; None before the first.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self.page: HttpPage | None = None

    def get(self, url: str, **options: Any) -> HttpPage:
        """GETs a page.

        Raises:
            requests.RequestException, urllib3.exceptions.HTTPError: if requests or urllib3 fail.
            TimeoutError: if the page is not complete in time.
        """
        deadline = time.monotonic() + self._seconds
        body = bytearray()
        with self._session.get(url, stream=True, **options) as response:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer within {self._seconds:g} s")
            # JSON is UTF-8 regardless of the headers.
            text = body.decode("utf-8", errors="replace")
            self.page = HttpPage(text, response.status_code, response.url, response.headers)
        return self.page
