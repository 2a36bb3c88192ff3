"""The NBA's statistics service, asked through nba_api; every fault leaves as a `FeedError`.

nba_api (extras `live` and `trainer`) brings pandas, so it is imported on first use.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import urlsplit

from dejavu_feed.errors import FeedNotInstalled, FeedUnavailable, MalformedFeed
from dejavu_feed.nba.http import LOOPBACK, BoundedReader, HttpAnswer, HttpPage

if TYPE_CHECKING:
    import requests

STATS_URL: Final = "https://stats.nba.com"
STATS_PATH: Final = "/stats/"
_PASSING: Final = frozenset({403, 408, 425, 429})
"""Statuses besides 5xx that pass: stats.nba.com answers 403 to whom it holds for a robot, for a while."""


class StatsUnavailable(FeedUnavailable):
    """The service gave no answer worth reading.

    Attributes:
        passing: whether asking again later may help.
        retry_after: seconds after which the service says to ask again; None if it does not say.
    """

    def __init__(self, message: str, *, passing: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.passing = passing
        self.retry_after = retry_after


class Stats(Protocol):
    """Where seasons come from. Methods block and raise `FeedError`."""

    def game_log(self, season: str, season_type: str) -> Any:
        """The payload of LeagueGameLog: the games of a season such as "2024-25" and a type such as "Playoffs"."""
        ...

    def plays(self, game_id: str) -> Any:
        """The payload of PlayByPlayV3: all plays of a game."""
        ...


class NbaStats:
    """stats.nba.com, or what stands in for it. For one thread.

    Args:
        url: scheme, host and port; None: what nba_api has.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        limit: seconds that the whole of an answer may take, give or take `timeout`.

    Raises:
        ValueError: if the address is not one of http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 20.0, limit: float = 60.0) -> None:
        try:
            import requests  # noqa: PLC0415 - comes with nba_api
            from nba_api.stats.library.http import NBAStatsHTTP  # noqa: PLC0415 - pulls in pandas
        except ImportError as error:
            raise FeedNotInstalled(
                f"{error.name} is missing; games are fetched with the extra trainer:"
                " pip install 'dejavu-forecast[trainer]'"
            ) from error
        self._base_url: str = NBAStatsHTTP.base_url if url is None else url.rstrip("/") + STATS_PATH + "{endpoint}"
        parts = urlsplit(self._base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a service; expected something like {STATS_URL}")
        self._host = parts.netloc
        self._timeout = timeout
        self._limit = limit
        self._session: requests.Session = requests.Session()
        # One request for a question: whoever asks keeps count of them.
        self._session.max_redirects = 0
        self._session.trust_env = parts.hostname not in LOOPBACK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def game_log(self, season: str, season_type: str) -> Any:
        """The payload of LeagueGameLog.

        Raises:
            StatsUnavailable, MalformedFeed: as their names say.
        """
        from nba_api.stats.endpoints.leaguegamelog import LeagueGameLog  # noqa: PLC0415 - pulls in pandas

        return self._ask(
            LeagueGameLog(season=season, season_type_all_star=season_type, sorter="DATE", get_request=False)
        )

    def plays(self, game_id: str) -> Any:
        """The payload of PlayByPlayV3.

        Raises:
            StatsUnavailable, MalformedFeed: as their names say.
        """
        from nba_api.stats.endpoints.playbyplayv3 import PlayByPlayV3  # noqa: PLC0415 - pulls in pandas

        return self._ask(PlayByPlayV3(game_id=game_id, get_request=False))

    def _ask(self, question: Any) -> Any:
        page = self._page(question)
        if page.status_code != 200:
            raise StatsUnavailable(
                f"status {page.status_code}",
                passing=page.status_code in _PASSING or page.status_code >= 500,
                retry_after=_seconds(page.headers.get("Retry-After")),
            )
        try:
            return json.loads(page.text)
        except (ValueError, RecursionError) as error:
            raise MalformedFeed(f"not JSON: begins with {page.text[:40].strip()!r}") from error

    def _page(self, question: Any) -> HttpPage:
        """One request, made of nba_api's question but with a reader of our own: its answers hide the headers."""
        import requests  # noqa: PLC0415 - comes with nba_api
        import urllib3.exceptions  # noqa: PLC0415 - comes with requests
        from nba_api.stats.library.http import NBAStatsHTTP  # noqa: PLC0415 - pulls in pandas

        http = NBAStatsHTTP()
        http.base_url = self._base_url
        http.nba_response = HttpAnswer
        reader = BoundedReader(self._session, self._limit)
        http.get_session = lambda: reader
        # nba_api's Host is stats.nba.com, whoever is asked; its encodings hold one that urllib3 may not know.
        headers = {name: value for name, value in NBAStatsHTTP.headers.items() if name.lower() != "host"}
        headers["Accept-Encoding"] = "gzip, deflate"
        try:
            http.send_api_request(
                endpoint=question.endpoint, parameters=question.parameters, headers=headers, timeout=self._timeout
            )
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise StatsUnavailable(f"no answer within {self._timeout:g} s") from error
        except TimeoutError as error:
            raise StatsUnavailable(str(error)) from error
        except requests.ConnectionError as error:
            raise StatsUnavailable(f"no connection to {self._host}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            # A ValueError is what a redirect to something that is no address makes.
            raise StatsUnavailable(f"no whole answer: {type(error).__name__}") from error
        assert reader.page is not None  # noqa: S101 - a request that returns has read its page
        return reader.page


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After, which says so many or a date (RFC 9110, 10.2.3); None if it is neither."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
