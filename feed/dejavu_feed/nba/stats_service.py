"""Client of the NBA's statistics service through nba_api. Every failure is raised as a `FeedError`.

nba_api (extras `live` and `trainer`) imports pandas, so it is imported on first use.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, Self

from dejavu_feed.errors import not_installed
from dejavu_feed.nba.live_feed import host_of

STATS_URL: Final = "https://stats.nba.com"
STATS_PATH: Final = "/stats/"
MAX_PAGE: Final = 8 * 1024 * 1024
"""Maximum size of a page, decompressed, in bytes: the largest, the games of a season, has less than a tenth of it."""


class Stats(Protocol):
    """Source of seasons. Methods block and raise `FeedError`."""

    def game_log(self, season: str, season_type: str) -> Any:
        """Return the LeagueGameLog payload: the games of a season ("2024-25") and a season type ("Playoffs")."""
        ...

    def plays(self, game_id: str) -> Any:
        """Return the PlayByPlayV3 payload: all plays of a game."""
        ...


class NbaStats:
    """Client of stats.nba.com or a replacement.

    Args:
        url: scheme, host and port; None uses nba_api's default.
        timeout: seconds to wait for a connection, and for the next bytes of a response.
        limit: seconds that a response may take in all.

    Raises:
        ValueError: if the URL is not http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 20.0, limit: float = 60.0) -> None:
        try:
            from nba_api.stats.library.http import NBAStatsHTTP  # noqa: PLC0415 - pulls in pandas

            from dejavu_feed.nba.session import FeedSession, NbaService  # noqa: PLC0415 - needs nba_api
        except ImportError as error:
            raise not_installed(error, "games are fetched with", "trainer") from error
        host = host_of(STATS_URL if url is None else url, STATS_URL)
        # No redirects, because callers count requests.
        session = FeedSession(host, timeout=timeout, limit=limit, max_bytes=MAX_PAGE, max_redirects=0)
        base_url = None if url is None else url.rstrip("/") + STATS_PATH + "{endpoint}"
        self._service = NbaService(NBAStatsHTTP, base_url, session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._service.close()

    def game_log(self, season: str, season_type: str) -> Any:
        """Return the LeagueGameLog payload.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response is not JSON.
        """
        from nba_api.stats.endpoints.leaguegamelog import LeagueGameLog  # noqa: PLC0415 - pulls in pandas

        return self._fetch(
            LeagueGameLog(season=season, season_type_all_star=season_type, sorter="DATE", get_request=False)
        )

    def plays(self, game_id: str) -> Any:
        """Return the PlayByPlayV3 payload.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response is not JSON.
        """
        from nba_api.stats.endpoints.playbyplayv3 import PlayByPlayV3  # noqa: PLC0415 - pulls in pandas

        return self._fetch(PlayByPlayV3(game_id=game_id, get_request=False))

    def _fetch(self, endpoint: Any) -> Any:
        return self._service.read(endpoint.endpoint, endpoint.parameters)
