"""A local replacement for the NBA's live feed, with the same paths and JSON, faster than real time.

A replay is stateless: its responses depend only on the clock. Tests step the clock instead of waiting, and any number
of clients see the same evening. After the last game it continues to serve the final states.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

from dejavu_common.clock import utc_now
from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.odds import ODDS_PATH
from dejavu_feed.replay import payloads
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.timeline import Timeline

_SCOREBOARD: Final = LIVE_PATH + "scoreboard/todaysScoreboard_00.json"
_ODDS: Final = LIVE_PATH + ODDS_PATH
_GAME: Final = re.compile(
    re.escape(LIVE_PATH) + r"(?P<kind>playbyplay|boxscore)/(?P=kind)_(?P<game_id>[0-9]{10})\.json"
)


class File(NamedTuple):
    """A file of the feed."""

    kind: Literal["scoreboard", "playbyplay", "boxscore"]
    game_id: str = ""
    """Game of the plays or box score; "" for the scoreboard."""


def file_at(path: str) -> File | None:
    """Return the file at a path; None if the path does not match any file of the feed."""
    if path == _SCOREBOARD:
        return File("scoreboard")
    match = _GAME.fullmatch(path)
    if match is None:
        return None
    return File("boxscore" if match["kind"] == "boxscore" else "playbyplay", match["game_id"])


class Replay:
    """Replays the games of an evening by a clock.

    Args:
        games: the games in the order of their tip-offs.
        speed: speed relative to real time; at speed 1 a game takes about two hours and a quarter.
        delay: wall-clock seconds from now until the first tip-off.
        stagger: game-day seconds between two tip-offs.
        now: the clock; returns aware datetimes.

    Attributes:
        start: tip-off of the first game.
        speed: speed relative to real time.
        now: the clock.

    Raises:
        ValueError: if there are no games, speed is not positive, or a duration is negative.
    """

    def __init__(
        self,
        games: Sequence[ReplayGame],
        *,
        speed: float = 1.0,
        delay: float = 0.0,
        stagger: float = 0.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if not games:
            raise ValueError("a replay needs at least one game")
        if not speed > 0 or delay < 0 or stagger < 0:
            raise ValueError("speed must be positive; delay and stagger must not be negative")
        self.now = now
        self.speed = speed
        self.start = first = now() + timedelta(seconds=delay)
        # Draw eight random digits per run, so that two runs do not share ids and a ledger does not confuse their games.
        first_id = secrets.randbelow(10**8 - len(games))
        self._games = {
            f"{REPLAY_PREFIX}{first_id + index:08d}": (
                Timeline(game),
                first + timedelta(seconds=index * stagger / speed),
            )
            for index, game in enumerate(games)
        }

    @property
    def games(self) -> dict[str, ReplayGame]:
        """Generated game id → game, in the order of their tip-offs."""
        return {game_id: timeline.game for game_id, (timeline, _) in self._games.items()}

    @property
    def end(self) -> datetime:
        """Wall-clock time at which the last game becomes final."""
        return max(
            tip_off + timedelta(seconds=timeline.length / self.speed) for timeline, tip_off in self._games.values()
        )

    def respond(self, path: str) -> Response:
        """Respond to the GET of a path now. Files that the NBA would not have yet get a 404."""
        return self.respond_at(path, self.now())

    def respond_at(self, path: str, now: datetime) -> Response:
        """Respond to the GET of a path at a given time; the odds are those before tip-off at any time."""
        if path == _ODDS and any(game.line is not None for game in self.games.values()):
            return json_response(payloads.odds(self.games))
        file = file_at(path)
        if file is None or (file.game_id and file.game_id not in self._games):
            return Response(HTTPStatus.NOT_FOUND, b"no such file")
        if file.kind == "scoreboard":
            return json_response(payloads.scoreboard([self.game_at(game_id, now) for game_id in self._games], now))
        game = self.game_at(file.game_id, now)
        if file.kind == "boxscore":
            return json_response(payloads.boxscore(game, now))
        if not game.plays:
            return Response(HTTPStatus.NOT_FOUND, b"not tipped off yet")
        return json_response(payloads.playbyplay(game, now))

    def game_at(self, game_id: str, now: datetime) -> payloads.LiveGame:
        """Return a game's state at a given time.

        Raises:
            KeyError: if the game is not part of the evening.
        """
        timeline, tip_off = self._games[game_id]
        at = (now - tip_off).total_seconds() * self.speed
        return payloads.LiveGame(game_id, timeline, tip_off, self.speed, at)


def json_response(payload: payloads.Json) -> Response:
    """Return the feed's HTTP response for a payload."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    return Response(HTTPStatus.OK, body, {"Content-Type": "application/json", "Cache-Control": "no-store"})
