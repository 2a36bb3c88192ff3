"""Reads the NBA's live feed through nba_api. Every failure is raised as a `FeedError`.

nba_api (extra `live`) imports pandas, so it is imported on first use. It has one base URL and one session per process;
here each feed has its own URL, and each read in progress its own connection.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from dejavu_common.build import install
from dejavu_feed.errors import FeedError, FeedNotInstalled, FeedUnavailable
from dejavu_feed.lines import SidedLine
from dejavu_feed.nba.http import MAX_LIVE_PAGE, host_of, read_page
from dejavu_feed.nba.live_payloads import (
    BoxScore,
    GameState,
    PlayByPlay,
    Scoreboard,
    read_box_score,
    read_boxscore,
    read_plays,
    read_scoreboard,
)
from dejavu_feed.nba.odds import ODDS_PATH, read_odds

if TYPE_CHECKING:  # comes with nba_api
    from dejavu_feed.nba.session import FeedSession

NBA_URL: Final = "https://cdn.nba.com"
LIVE_PATH: Final = "/static/json/liveData/"


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
        timeout: seconds to wait for a connection, and for each chunk of a response.
        limit: seconds that a whole response may take.

    Raises:
        ValueError: if the URL is not http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str = NBA_URL, *, timeout: float = 5.0, limit: float = 15.0) -> None:
        self._host = host_of(url, NBA_URL)
        try:
            from nba_api.live.nba.endpoints import boxscore, playbyplay, scoreboard  # noqa: PLC0415 - pulls in pandas
        except ImportError as error:
            raise FeedNotInstalled(
                f"{error.name} is missing; the live feed needs the extra live: {install('live')}"
            ) from error
        self._scoreboard_path: str = scoreboard.ScoreBoard.endpoint_url
        self._plays_path: str = playbyplay.PlayByPlay.endpoint_url
        self._boxscore_path: str = boxscore.BoxScore.endpoint_url
        self._base_url = url.rstrip("/") + LIVE_PATH + "{endpoint}"
        self._timeout = timeout
        self._limit = limit
        self._idle: list[FeedSession] = []
        self._closed = False
        self._lock = threading.Lock()

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
        return read_boxscore(self._read(self._boxscore_path.format(game_id=game_id)), game_id)

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
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _read(self, path: str) -> Any:
        from nba_api.live.nba.library.http import NBALiveHTTP  # noqa: PLC0415 - pulls in pandas

        http = NBALiveHTTP()
        http.base_url = self._base_url
        try:
            with self._session() as session:
                page = read_page(http, session, path, {}, self._timeout, self._limit, MAX_LIVE_PAGE)
            if page.status_code != HTTPStatus.OK:
                raise FeedUnavailable(f"status {page.status_code}")
            return page.json()
        except FeedError as error:
            raise type(error)(f"{path}: {error}") from error

    @contextmanager
    def _session(self) -> Iterator[FeedSession]:
        """Yield a session for one read, an idle one if available: sessions of requests are not thread-safe."""
        from dejavu_feed.nba.session import FeedSession  # noqa: PLC0415 - comes with nba_api

        with self._lock:
            if self._closed:
                raise FeedUnavailable("the feed is closed")
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = FeedSession(self._host)
        try:
            yield session
        finally:
            with self._lock:
                pooled = not self._closed
                if pooled:
                    self._idle.append(session)
            if not pooled:
                session.close()
