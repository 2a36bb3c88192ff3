"""What nba_api is given for a session: reads one page whole, within a bound of time, and keeps its status and headers.

nba_api's own session is one for the process, and its responses tell neither.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import requests

_PIECE: Final = 65_536
"""Bytes that are read at once; what has arrived is read without waiting for more."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that no proxy stands before."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What nba_api makes of an HTTP response; in place of its own class, which hides the status."""

    response: str
    status_code: int
    url: str


@dataclass(frozen=True, slots=True)
class HttpPage:
    """What nba_api asks of a response, and its headers."""

    text: str
    status_code: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


class BoundedReader:
    """Reads one page, and no longer than `seconds`.

    The time-out of requests is one of silence; a page that drips would never end.

    Attributes:
        page: the last page read whole; None before that.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self.page: HttpPage | None = None

    def get(self, url: str, **options: Any) -> HttpPage:
        """GETs a page.

        Raises:
            requests.RequestException, urllib3.exceptions.HTTPError: as requests and urllib3 do.
            TimeoutError: if the page was not complete in time.
        """
        deadline = time.monotonic() + self._seconds
        body = bytearray()
        with self._session.get(url, stream=True, **options) as response:
            while piece := response.raw.read1(_PIECE, decode_content=True):
                body += piece
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer within {self._seconds:g} s")
            # JSON is UTF-8, whatever the headers say.
            text = body.decode("utf-8", errors="replace")
            self.page = HttpPage(text, response.status_code, response.url, response.headers)
        return self.page
