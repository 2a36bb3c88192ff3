"""The NBA's live feed, asked through nba_api; every fault leaves as a `FeedError`.

nba_api (extra `live`) brings pandas, so it is imported on first use. It keeps its base address and its session for the
whole process; here each feed has an address of its own, and each read under way a connection of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import urlsplit

from dejavu_feed.errors import FeedNotInstalled, FeedUnavailable, MalformedFeed
from dejavu_feed.nba.http import LOOPBACK, BoundedReader, HttpAnswer
from dejavu_feed.nba.live import GameState, Play, Scoreboard, read_boxscore, read_plays, read_scoreboard

if TYPE_CHECKING:
    import requests

NBA_URL: Final = "https://cdn.nba.com"
LIVE_PATH: Final = "/static/json/liveData/"


class Feed(Protocol):
    """Where games come from. Methods block, are called from several threads, and raise `FeedError`."""

    def scoreboard(self) -> Scoreboard:
        """Today's games."""
        ...

    def game(self, game_id: str) -> GameState:
        """One game, also when the scoreboard does not show it any more."""
        ...

    def plays(self, game_id: str) -> tuple[Play, ...]:
        """All plays of a game so far, in their order."""
        ...


class NbaFeed:
    """The NBA's live scoreboard, play-by-play and box scores, or a replay's.

    Safe among threads. Once it is closed no read begins, and one under way gives its connection back when it ends.

    Args:
        url: scheme, host and port of the feed.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        limit: seconds that the whole of an answer may take, give or take `timeout`.

    Raises:
        ValueError: if the address is not one of http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str = NBA_URL, *, timeout: float = 5.0, limit: float = 15.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a feed; expected something like {NBA_URL}")
        try:
            from nba_api.live.nba.endpoints import boxscore, playbyplay, scoreboard  # noqa: PLC0415 - pulls in pandas
        except ImportError as error:
            raise FeedNotInstalled(
                f"{error.name} is missing; the live feed needs the extra live: pip install 'dejavu-forecast[live]'"
            ) from error
        self._scoreboard_path: str = scoreboard.ScoreBoard.endpoint_url
        self._plays_path: str = playbyplay.PlayByPlay.endpoint_url
        self._boxscore_path: str = boxscore.BoxScore.endpoint_url
        self._base_url = url.rstrip("/") + LIVE_PATH + "{endpoint}"
        self._timeout = timeout
        self._limit = limit
        self._through_proxy = parts.hostname not in LOOPBACK
        self._idle: list[requests.Session] = []
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scoreboard(self) -> Scoreboard:
        """Today's games.

        Raises:
            FeedUnavailable, MalformedFeed: as their names say.
        """
        return read_scoreboard(self._read(self._scoreboard_path))

    def game(self, game_id: str) -> GameState:
        """The state of one game, from its box score.

        Raises:
            FeedUnavailable, MalformedFeed: as their names say.
        """
        return read_boxscore(self._read(self._boxscore_path.format(game_id=game_id)), game_id)

    def plays(self, game_id: str) -> tuple[Play, ...]:
        """All plays of a game so far, in their order. The NBA has none to give before tip-off: `FeedUnavailable`.

        Raises:
            FeedUnavailable, MalformedFeed: as their names say.
        """
        return read_plays(self._read(self._plays_path.format(game_id=game_id)), game_id)

    def close(self) -> None:
        """Closes every connection that is not in use, and waits for none that is."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _read(self, path: str) -> Any:
        import requests  # noqa: PLC0415 - comes with nba_api
        import urllib3.exceptions  # noqa: PLC0415 - comes with requests
        from nba_api.live.nba.library.http import NBALiveHTTP  # noqa: PLC0415 - pulls in pandas

        http = NBALiveHTTP()
        http.base_url = self._base_url
        http.nba_response = HttpAnswer
        # The Host of nba_api's headers is cdn.nba.com; without it requests names the host that is asked.
        headers = {name: value for name, value in NBALiveHTTP.headers.items() if name.lower() != "host"}
        try:
            with self._session() as session:
                http.get_session = lambda: BoundedReader(session, self._limit)
                answer: HttpAnswer = http.send_api_request(
                    endpoint=path, parameters={}, headers=headers, timeout=self._timeout
                )
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise FeedUnavailable(f"{path}: no answer within {self._timeout:g} s") from error
        except TimeoutError as error:
            raise FeedUnavailable(f"{path}: {error}") from error
        except requests.ConnectionError as error:
            raise FeedUnavailable(f"{path}: no connection to {urlsplit(self._base_url).netloc}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            # A ValueError is what a redirect to something that is no address makes.
            raise FeedUnavailable(f"{path}: {type(error).__name__}") from error
        if answer.status_code != requests.codes.ok:
            raise FeedUnavailable(f"{path}: status {answer.status_code}")
        try:
            return json.loads(answer.response)
        except (ValueError, RecursionError) as error:
            start = answer.response[:40].strip()
            raise MalformedFeed(f"{path}: not JSON ({error}): begins with {start!r}") from error

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session for one read, with a connection that stands if there is one: requests lets no two threads share."""
        import requests  # noqa: PLC0415 - comes with nba_api

        with self._lock:
            if self._closed:
                raise FeedUnavailable("the feed is closed")
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = requests.Session()
            session.trust_env = self._through_proxy
        try:
            yield session
        finally:
            with self._lock:
                kept = not self._closed
                if kept:
                    self._idle.append(session)
            if not kept:
                session.close()
