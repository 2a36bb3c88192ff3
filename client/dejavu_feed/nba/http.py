"""Requests through nba_api that read a page within a total time limit and keep its status and headers.

nba_api itself uses one session per process, and its responses hide status and headers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dejavu_feed.errors import FeedUnavailable, MalformedFeed

if TYPE_CHECKING:
    import requests

_CHUNK: Final = 65_536
"""Maximum bytes per read; a read returns available data without waiting for more."""

MAX_PAGE: Final = 32 * 1024 * 1024
"""Most bytes of a page, decompressed: the largest, the plays of a game, has less than one in a hundred of them."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are never reached through a proxy."""


@dataclass(frozen=True, slots=True)
class HttpPage:
    """The attributes that nba_api needs of a response, plus the headers."""

    text: str
    status_code: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Parses the page.

        Raises:
            MalformedFeed: if it is not JSON.
        """
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise MalformedFeed(f"not JSON: begins with {self.text[:40].strip()!r}") from error


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
            FeedUnavailable: if it is larger than MAX_PAGE.
        """
        deadline = time.monotonic() + self._seconds
        body = bytearray()
        with self._session.get(url, stream=True, **options) as response:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_PAGE:
                    raise FeedUnavailable(f"an answer of more than {MAX_PAGE} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer within {self._seconds:g} s")
            # JSON is UTF-8 regardless of the headers.
            text = body.decode("utf-8", errors="replace")
            self.page = HttpPage(text, response.status_code, response.url, response.headers)
        return self.page


def host_of(url: str, example: str) -> str:
    """Returns the host of a service's URL.

    Raises:
        ValueError: if the URL is not http or https; the message names the example.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a service; expected something like {example}")
    return parts.hostname


def read_page(
    http: Any, session: requests.Session, endpoint: str, parameters: Mapping[str, Any], timeout: float, limit: float
) -> HttpPage:
    """Sends exactly one GET through nba_api and reads the page, of any status.

    Args:
        http: a new NBALiveHTTP or NBAStatsHTTP, with its `base_url`.
        session: the session to use.
        endpoint: path of the endpoint below the base URL.
        parameters: the query.
        timeout: seconds to wait for a connection, and for each chunk of the page.
        limit: seconds that the whole page may take, plus up to `timeout`.

    Raises:
        FeedUnavailable: if no whole page is received.
    """
    import requests  # noqa: PLC0415 - comes with nba_api
    import urllib3.exceptions  # noqa: PLC0415 - comes with requests

    reader = BoundedReader(session, limit)
    http.nba_response = dict  # its own hides the status; the reader has the page
    http.get_session = lambda: reader
    # nba_api sets Host to the NBA's for any URL, and accepts encodings that urllib3 may not support.
    headers = {name: value for name, value in http.headers.items() if name.lower() != "host"}
    headers["Accept-Encoding"] = "gzip, deflate"
    try:
        http.send_api_request(endpoint=endpoint, parameters=parameters, headers=headers, timeout=timeout)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise FeedUnavailable(f"no answer within {timeout:g} s") from error
    except TimeoutError as error:
        raise FeedUnavailable(str(error)) from error
    except requests.ConnectionError as error:
        raise FeedUnavailable(f"no connection to {urlsplit(http.base_url).netloc}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # A redirect to an invalid URL raises a ValueError.
        raise FeedUnavailable(f"no whole answer: {type(error).__name__}") from error
    assert reader.page is not None  # noqa: S101 - a successful request has read its page
    return reader.page
