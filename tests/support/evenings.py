"""An evening for tests of what watches games: a replay on a stepped clock, with room for faults and corrections."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.support.clock import SteppedClock

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_feed.clock import utc_now
from dejavu_feed.errors import FeedError
from dejavu_feed.evening import PlayedGame
from dejavu_feed.live import GameState, Play, Scoreboard, read_boxscore, read_plays, read_scoreboard
from dejavu_feed.nba import LIVE_PATH
from dejavu_feed.pattern import Score, elapsed_seconds
from dejavu_feed.replay import Replay
from dejavu_feed.timeline import Timeline

Edit = Callable[[tuple[Play, ...]], tuple[Play, ...]]


def game(home: str = "BOS", away: str = "LAL", *, lead: int = 3, run: int = 0) -> PlayedGame:
    """A game with a basket one second into each minute, away and home in turn.

    At 6:00 of the second quarter the home team leads by `lead`; at the half, and at the end, by `lead` + `run`.
    """
    scores = [Score(0.0, 0, 0), Score(1.0, lead + 2, 0)]
    for minute in range(1, 48):
        home_points = lead + 2 + 2 * (minute // 2) + (run if minute >= 20 else 0)
        scores.append(Score(60.0 * minute + 1, home_points, 2 * ((minute + 1) // 2)))
    return PlayedGame("test", home, away, tuple(scores))


class Evening:
    """Games on a clock at life speed; a `Feed` that reads them, as it is or with what the test puts in between.

    Attributes:
        fault: what the next reads of a source ("scoreboard" or a game's id) raise, until it is removed.
        stalled: sources whose reads wait until `release` is set.
        edit: corrections of a game's plays.
        hidden: ids of games that the scoreboard does not show.
        reads: how often each source was read.
    """

    def __init__(self, games: Sequence[PlayedGame], *, stagger: float = 0.0) -> None:
        # A program that reads it goes by the machine's own clock. The feed tells tip-offs to the second.
        self.clock = SteppedClock(utc_now().replace(microsecond=0))
        self.replay = Replay(games, stagger=stagger, now=self.clock)
        self.start = self.clock.now
        self.fault: dict[str, FeedError] = {}
        self.stalled = set[str]()
        self.release = threading.Event()
        self.edit: dict[str, Edit] = {}
        self.hidden = set[str]()
        self.reads = Counter[str]()

    @property
    def ids(self) -> list[str]:
        return list(self.replay.games)

    def go_to(self, elapsed: float, index: int = 0) -> None:
        """Moves the clock to game seconds since the tip-off of a game, and half a second more."""
        plays = Timeline(self.replay.games[self.ids[index]]).plays
        at = next(play.at for play in plays if elapsed_seconds(play.period, play.clock) >= elapsed)
        tip_off = read_scoreboard(self._get("scoreboard/todaysScoreboard_00.json")).games[index].tip_off
        assert tip_off is not None
        self.clock.now = tip_off
        self.clock.step(at + 0.5)

    def scoreboard(self) -> Scoreboard:
        self._arrive("scoreboard")
        board = read_scoreboard(self._get("scoreboard/todaysScoreboard_00.json"))
        return replace(board, games=tuple(state for state in board.games if state.game_id not in self.hidden))

    def game(self, game_id: str) -> GameState:
        self._arrive(f"box score of {game_id}")
        return read_boxscore(self._get(f"boxscore/boxscore_{game_id}.json"), game_id)

    def plays(self, game_id: str) -> tuple[Play, ...]:
        self._arrive(game_id)
        plays = read_plays(self._get(f"playbyplay/playbyplay_{game_id}.json"), game_id)
        edit = self.edit.get(game_id)
        return plays if edit is None else edit(plays)

    def _arrive(self, source: str) -> None:
        self.reads[source] += 1
        if source in self.stalled:
            assert self.release.wait(20)
        if source in self.fault:
            raise self.fault[source]

    def _get(self, path: str) -> object:
        response = self.replay.respond(LIVE_PATH + path)
        assert response.status == 200, path
        return json.loads(response.body)


@dataclass(frozen=True)
class Asked:
    """A call of a predictor."""

    game_id: str
    pattern: tuple[float, ...]
    home_team: str
    away_team: str


class StoringPredictor:
    """Repeats the lead, and keeps what it said as a server's ledger does.

    Attributes:
        asked: every call so far.
        failures: errors for the next calls, the first one first.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.failures: list[Exception] = []
        self.sequence = 0
        self._newest: dict[str, tuple[Asked, Forecast]] = {}

    def newest(self) -> list[Asked]:
        """What the newest revision of each game rests on."""
        return [of_game[0] for of_game in self._newest.values()]

    async def predict(self, pattern: Sequence[float], *, game_id: str, home_team: str, away_team: str) -> Forecast:
        asked = Asked(game_id, tuple(pattern), home_team, away_team)
        self.asked.append(asked)
        if self.failures:
            raise self.failures.pop(0)
        stored = self._newest.get(game_id)
        if stored is not None and stored[0].pattern == asked.pattern:
            return stored[1]
        self.sequence += 1
        lead = float(pattern[-1])
        forecast = Forecast(
            game_id=game_id,
            elapsed_minutes=len(pattern),
            point_forecast=lead + 0.5,
            interval_lower=lead - 3,
            interval_upper=lead + 3,
            coverage_probability=0.95,
            home_lead_probability=0.75,
            sequence=self.sequence,
            revision=0 if stored is None else stored[1].revision + 1,
        )
        self._newest[game_id] = (asked, forecast)
        return forecast
