"""Requests through nba_api that read a page within a total time limit and keep its status and headers.

nba_api itself uses one session per process, and its responses hide status and headers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.typed_fields import brief

if TYPE_CHECKING:  # comes with nba_api
    import requests

    from dejavu_feed.nba.session import FeedSession

_CHUNK: Final = 65_536
"""Maximum bytes per read; a read returns available data without waiting for more."""

MAX_PAGE: Final = 8 * 1024 * 1024
"""Maximum size of a page, decompressed, in bytes: the largest page, the games of a season, has less than a tenth of
it."""

MAX_LIVE_PAGE: Final = 2 * 1024 * 1024
"""Maximum size of a page of the live feed, in bytes; many are read at once, and the plays of a game have less than a
third of it."""


@dataclass(frozen=True, slots=True)
class HttpPage:
    """The attributes of a response that nba_api needs, plus the headers."""

    text: str
    status_code: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Parse the page.

        Raises:
            MalformedFeed: if it is not JSON.
        """
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise MalformedFeed(f"not JSON: begins with {self.text[:40].strip()!r}") from error


class BoundedReader:
    """Reads a page of at most `max_bytes`, decompressed, within a total of `seconds`.

    Attributes:
        page: the last page read completely; None before the first.
    """

    def __init__(self, session: FeedSession, seconds: float, max_bytes: int) -> None:
        self._session = session
        self._seconds = seconds
        self._max_bytes = max_bytes
        self.page: HttpPage | None = None

    def get(self, url: str, **options: Any) -> HttpPage:
        """Send a GET request and return the page.

        Raises:
            requests.RequestException, urllib3.exceptions.HTTPError: if requests or urllib3 fail.
            TimeoutError: if the page is not complete in time.
            FeedUnavailable: if it is too large, or a redirect leads to another server.
        """
        with self._session.limited(self._seconds):
            self.page = self._follow(url, options)
        return self.page

    def _follow(self, url: str, options: dict[str, Any]) -> HttpPage:
        for _ in range(self._session.max_redirects + 1):
            with self._session.get(url, stream=True, **options) as response:
                if not response.is_redirect:
                    return _page(response, self._max_bytes)
                target = urljoin(url, response.headers["Location"])
            if _server(target) not in {_server(url), _server(url)._replace(scheme="https")}:
                raise FeedUnavailable(f"a redirect to another server, {brief(target)}")
            url, options = target, {**options, "params": None}
        raise FeedUnavailable("too many redirects")


class _Server(NamedTuple):
    scheme: str
    host: str | None
    port: int | None


def _server(url: str) -> _Server:
    parts = urlsplit(url)
    return _Server(parts.scheme, parts.hostname, parts.port)


def _page(response: requests.Response, max_bytes: int) -> HttpPage:
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > max_bytes:
            raise FeedUnavailable(f"an answer of more than {max_bytes} bytes")
    # JSON is UTF-8 regardless of the headers.
    return HttpPage(body.decode("utf-8", errors="replace"), response.status_code, response.url, response.headers)


def _without_user(url: str) -> str:
    """Return host and port of a URL, without user and password, because the result is logged and shown."""
    return urlsplit(url).netloc.rpartition("@")[2]


def host_of(url: str, example: str) -> str:
    """Return the host of a service's URL.

    Raises:
        ValueError: if the URL is not http or https; the message names the example.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a service; expected something like {example}")
    return parts.hostname


def read_page(
    http: Any,
    session: FeedSession,
    endpoint: str,
    parameters: Mapping[str, Any],
    timeout: float,
    limit: float,
    max_bytes: int = MAX_PAGE,
) -> HttpPage:
    """Send exactly one GET through nba_api and read the page, of any status.

    Args:
        http: a new NBALiveHTTP or NBAStatsHTTP, with its `base_url`.
        session: the session to use.
        endpoint: path of the endpoint below the base URL.
        parameters: the query.
        timeout: seconds to wait for a connection, and for each chunk of the page.
        limit: seconds that the whole page may take.
        max_bytes: maximum size of the page, decompressed, in bytes.

    Raises:
        FeedUnavailable: if no whole page is received.
    """
    import requests  # noqa: PLC0415 - comes with nba_api
    import urllib3.exceptions  # noqa: PLC0415 - comes with requests

    reader = BoundedReader(session, limit, max_bytes)
    http.nba_response = dict  # its own response class hides the status; the reader has the page
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
        raise FeedUnavailable(f"no connection to {_without_user(http.base_url)}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # An invalid URL, for example of a redirect, raises a ValueError.
        raise FeedUnavailable(f"no whole answer: {type(error).__name__}") from error
    assert reader.page is not None  # noqa: S101 - a successful request has read its page
    return reader.page
