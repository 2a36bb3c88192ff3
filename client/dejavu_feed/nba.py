"""The NBA's live feed, asked through nba_api; every fault leaves as a `FeedError`.

nba_api (extra `live`) brings pandas, so it is imported on first use. It keeps its base address and its session for the
whole process; here each feed has an address of its own, and each thread a connection of its own.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from dejavu_feed.errors import FeedNotInstalled, FeedUnavailable, MalformedFeed
from dejavu_feed.live import GameState, Play, Scoreboard, read_boxscore, read_plays, read_scoreboard

if TYPE_CHECKING:
    import requests

NBA_URL: Final = "https://cdn.nba.com"
LIVE_PATH: Final = "/static/json/liveData/"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """What nba_api makes of an HTTP response; in place of its own class, which hides the status."""

    response: str
    status_code: int
    url: str


class NbaFeed:
    """The NBA's live scoreboard, play-by-play and box scores, or a replay's.

    Args:
        url: scheme, host and port of the feed.
        timeout: seconds to wait for a connection, and for each piece of an answer.

    Raises:
        ValueError: if the address is not one of http or https.
        FeedNotInstalled: if nba_api is missing.
    """

    def __init__(self, url: str = NBA_URL, *, timeout: float = 5.0) -> None:
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
        self._through_proxy = parts.hostname not in _LOOPBACK
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

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
        """Closes every connection; call it when no other thread reads any more."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _read(self, path: str) -> Any:
        import requests  # noqa: PLC0415 - comes with nba_api
        from nba_api.live.nba.library.http import NBALiveHTTP  # noqa: PLC0415 - pulls in pandas

        http = NBALiveHTTP()
        http.base_url = self._base_url
        http.nba_response = _Answer
        http.get_session = self._session
        # The Host of nba_api's headers is cdn.nba.com; without it requests names the host that is asked.
        headers = {name: value for name, value in NBALiveHTTP.headers.items() if name.lower() != "host"}
        try:
            answer: _Answer = http.send_api_request(
                endpoint=path, parameters={}, headers=headers, timeout=self._timeout
            )
        except requests.Timeout as error:
            raise FeedUnavailable(f"{path}: no answer within {self._timeout:g} s") from error
        except requests.ConnectionError as error:
            raise FeedUnavailable(f"{path}: no connection to {urlsplit(self._base_url).netloc}") from error
        except requests.RequestException as error:
            raise FeedUnavailable(f"{path}: {type(error).__name__}") from error
        if answer.status_code != requests.codes.ok:
            raise FeedUnavailable(f"{path}: status {answer.status_code}")
        try:
            return json.loads(answer.response)
        except ValueError as error:
            start = answer.response[:40].strip()
            raise MalformedFeed(f"{path}: not JSON ({error}): begins with {start!r}") from error

    def _session(self) -> requests.Session:
        """The session of the calling thread: requests does not promise that one can be shared."""
        import requests  # noqa: PLC0415 - comes with nba_api

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = self._through_proxy
            session.hooks["response"].append(_is_utf8)
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session


def _is_utf8(response: requests.Response, *_: object, **__: object) -> None:
    """JSON is UTF-8; left to itself, requests guesses, which takes longer than parsing."""
    response.encoding = "utf-8"
