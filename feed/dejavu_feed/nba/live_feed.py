"""Reads the NBA's live feed through nba_api. Every failure is raised as a `FeedError`.

nba_api (extra `live`) imports pandas, so it is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from dejavu_feed.errors import FeedError, not_installed
from dejavu_feed.lines import SidedLine
from dejavu_feed.nba.live_payloads import (
    BoxScore,
    GameState,
    PlayByPlay,
    Scoreboard,
    read_box_score,
    read_game_state,
    read_plays,
    read_scoreboard,
)
from dejavu_feed.nba.odds import ODDS_PATH, read_odds

NBA_URL: Final = "https://cdn.nba.com"
LIVE_PATH: Final = "/static/json/liveData/"
MAX_PAGE: Final = 2 * 1024 * 1024
"""Maximum size of a page, decompressed, in bytes; many are read at once, and the plays of a game have less than a third
of it."""


def host_of(url: str, example: str) -> str:
    """Return the host of a service's URL.

    Raises:
        ValueError: if the URL is not http or https; the message names the example.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a service; expected something like {example}")
    return parts.hostname


class Feed(Protocol):
    """Source of games. Methods block, are called from several threads, and raise `FeedError`."""

    def scoreboard(self) -> Scoreboard:
        """Return today's games."""
        ...

    def game(self, game_id: str) -> GameState:
        """Return one game, even if the scoreboard no longer shows it."""
        ...

    def plays(self, game_id: str) -> PlayByPlay:
        """Return all plays of a game so far, in order."""
        ...


class NbaFeed:
    """Reads the live scoreboard, play-by-play and box scores of the NBA or of a replay.

    Thread-safe. After `close` no new read starts, and reads in progress close their connection when they end.

    Args:
        url: scheme, host and port of the feed.
        timeout: seconds to wait for a connection, and for the next bytes of a response.
        limit: seconds that a response may take in all.

    Raises:
        ValueError: if the URL is not http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str = NBA_URL, *, timeout: float = 5.0, limit: float = 15.0) -> None:
        host = host_of(url, NBA_URL)
        try:
            from nba_api.live.nba.endpoints import boxscore, playbyplay, scoreboard  # noqa: PLC0415 - pulls in pandas
            from nba_api.live.nba.library.http import NBALiveHTTP  # noqa: PLC0415

            from dejavu_feed.nba.session import FeedSession, NbaService  # noqa: PLC0415 - needs nba_api
        except ImportError as error:
            raise not_installed(error, "the live feed needs") from error
        self._scoreboard_path: str = scoreboard.ScoreBoard.endpoint_url
        self._plays_path: str = playbyplay.PlayByPlay.endpoint_url
        self._boxscore_path: str = boxscore.BoxScore.endpoint_url
        session = FeedSession(host, timeout=timeout, limit=limit, max_bytes=MAX_PAGE)
        self._service = NbaService(NBALiveHTTP, url.rstrip("/") + LIVE_PATH + "{endpoint}", session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scoreboard(self) -> Scoreboard:
        """Return today's games.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response cannot be parsed.
        """
        return read_scoreboard(self._read(self._scoreboard_path))

    def game(self, game_id: str) -> GameState:
        """Return the state of one game, from its box score.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response cannot be parsed.
        """
        return read_game_state(self._read(self._boxscore_path.format(game_id=game_id)), game_id)

    def box_score(self, game_id: str) -> BoxScore:
        """Return the players of a game so far.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response cannot be parsed.
        """
        return read_box_score(self._read(self._boxscore_path.format(game_id=game_id)), game_id)

    def plays(self, game_id: str) -> PlayByPlay:
        """Return all plays of a game so far, in order.

        Raises:
            FeedUnavailable: if there is no usable response; also before tip-off, when the NBA has no file.
            MalformedFeed: if the response cannot be parsed.
        """
        return read_plays(self._read(self._plays_path.format(game_id=game_id)), game_id)

    def odds(self) -> Mapping[str, SidedLine]:
        """Return the odds of today's games by game id, as the feed lists them.

        Raises:
            FeedUnavailable: if there is no usable response.
            MalformedFeed: if the response cannot be parsed.
        """
        return read_odds(self._read(ODDS_PATH))

    def close(self) -> None:
        """Close all idle connections without waiting for those in use."""
        self._service.close()

    def _read(self, path: str) -> Any:
        try:
            return self._service.read(path, {})
        except FeedError as error:
            error.add_place(path)
            raise
