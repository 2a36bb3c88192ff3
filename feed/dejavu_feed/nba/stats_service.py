"""Client of the NBA's statistics service through nba_api. Every failure is raised as a `FeedError`.

nba_api (extras `live` and `trainer`) imports pandas, so it is imported on first use.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, Protocol, Self

from dejavu_common.build import install
from dejavu_feed.errors import FeedNotInstalled, FeedUnavailable
from dejavu_feed.nba.http import host_of, read_page

STATS_URL: Final = "https://stats.nba.com"
STATS_PATH: Final = "/stats/"
_PASSING: Final = frozenset({403, 408, 425, 429})
"""Transient statuses in addition to 5xx. stats.nba.com temporarily returns 403 to clients that it takes for bots."""


class StatsUnavailable(FeedUnavailable):
    """The service returned no usable response.

    Attributes:
        transient: whether the error is transient, so that a later retry may succeed.
        retry_after: seconds to wait according to Retry-After; None if there is none.
    """

    def __init__(self, message: str, *, transient: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class Stats(Protocol):
    """Source of seasons. Methods block and raise `FeedError`."""

    def game_log(self, season: str, season_type: str) -> Any:
        """Return the LeagueGameLog payload: the games of a season ("2024-25") and a season type ("Playoffs")."""
        ...

    def plays(self, game_id: str) -> Any:
        """Return the PlayByPlayV3 payload: all plays of a game."""
        ...


class NbaStats:
    """Client of stats.nba.com or a replacement. Not thread-safe.

    Args:
        url: scheme, host and port; None uses nba_api's default.
        timeout: seconds to wait for a connection, and for each chunk of a response.
        limit: seconds that a whole response may take.

    Raises:
        ValueError: if the URL is not http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 20.0, limit: float = 60.0) -> None:
        try:
            from nba_api.stats.library.http import NBAStatsHTTP  # noqa: PLC0415 - pulls in pandas

            from dejavu_feed.nba.session import FeedSession  # noqa: PLC0415 - needs requests, which comes with it
        except ImportError as error:
            raise FeedNotInstalled(
                f"{error.name} is missing; games are fetched with the extra trainer: {install('trainer')}"
            ) from error
        self._http = NBAStatsHTTP
        self._base_url: str = NBAStatsHTTP.base_url if url is None else url.rstrip("/") + STATS_PATH + "{endpoint}"
        host = host_of(STATS_URL if url is None else url, STATS_URL)
        self._timeout = timeout
        self._limit = limit
        self._session = FeedSession(host)
        # Send exactly one request per call, because callers count requests.
        self._session.max_redirects = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def game_log(self, season: str, season_type: str) -> Any:
        """Return the LeagueGameLog payload.

        Raises:
            StatsUnavailable: if there is no usable response.
            MalformedFeed: if the response is not JSON.
        """
        from nba_api.stats.endpoints.leaguegamelog import LeagueGameLog  # noqa: PLC0415 - pulls in pandas

        return self._fetch(
            LeagueGameLog(season=season, season_type_all_star=season_type, sorter="DATE", get_request=False)
        )

    def plays(self, game_id: str) -> Any:
        """Return the PlayByPlayV3 payload.

        Raises:
            StatsUnavailable: if there is no usable response.
            MalformedFeed: if the response is not JSON.
        """
        from nba_api.stats.endpoints.playbyplayv3 import PlayByPlayV3  # noqa: PLC0415 - pulls in pandas

        return self._fetch(PlayByPlayV3(game_id=game_id, get_request=False))

    def _fetch(self, endpoint: Any) -> Any:
        http = self._http()
        http.base_url = self._base_url
        try:
            page = read_page(http, self._session, endpoint.endpoint, endpoint.parameters, self._timeout, self._limit)
        except FeedUnavailable as error:
            raise StatsUnavailable(str(error)) from error
        if page.status_code != HTTPStatus.OK:
            raise StatsUnavailable(
                f"status {page.status_code}",
                transient=page.status_code in _PASSING or page.status_code >= 500,
                retry_after=_seconds(page.headers.get("Retry-After")),
            )
        return page.json()


def _seconds(retry_after: str | None) -> float | None:
    """Parse a Retry-After of seconds or a date (RFC 9110, 10.2.3) into seconds; None if it is neither."""
    from urllib3 import Retry  # noqa: PLC0415 - comes with requests
    from urllib3.exceptions import InvalidHeader  # noqa: PLC0415 - comes with requests

    try:
        return float(Retry().parse_retry_after(retry_after or ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None
