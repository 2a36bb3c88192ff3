"""Faults over a replay. As the replay itself they keep no state: they follow from its clock, the kinds and a seed.

Faults of answers come and go by *episodes* of five minutes of life: each file of the feed may have one in the first
three minutes of an episode, and none has in the last two. Mistakes in plays are mended within minutes. The last minute
of a half, and that of regulation, is *calm*: its game's files and the scoreboard have no fault that comes and goes, and
mistakes of before are mended early in it. So whoever asks every ten seconds of life, and less often after failures,
ends with the newest forecasts of a good day. (Of a feed that says nothing to the end, forecasts are missed: not here.)
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from dejavu_feed.nba.live import GameStatus
from dejavu_feed.replay.faults import scoreboard
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.faults.plays import add_points, apply_scoring_errors, draw_scoring_errors
from dejavu_feed.replay.faults.responses import PAYLOAD_FAULTS, RESPONSE_FAULTS
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.payloads import Json
from dejavu_feed.replay.replay import File, Replay, file_at, json_response
from dejavu_feed.replay.timeline import PACE, Timeline, period_end

EPISODE_SECONDS: Final = 300.0
FAULTY_SECONDS: Final = 180.0
"""Life seconds at the beginning of an episode in which faults may be."""
QUIET_SECONDS: Final = 60 * PACE + 30.0
"""Life seconds before the half, and before the end of regulation, in which nothing comes and goes."""
_SHORTEST: Final = 20.0
_STALE: Final = (60.0, 240.0)
"""Life seconds by which a stale file is old."""
_AHEAD: Final = (5.0, 40.0)
"""Life seconds by which a scoreboard is ahead of the plays."""
_MIDNIGHT: Final = (1200.0, 4800.0)
"""Life seconds after the first tip-off, in which the day may end."""
_SHARE_SILENT: Final = 0.2
"""Of the episodes that have faults, those in which the whole feed says nothing."""

_OF_ANSWERS: Final = frozenset({*RESPONSE_FAULTS, FeedFaultKind.TIMEOUT, FeedFaultKind.STALE, FeedFaultKind.INCOMPLETE})
_OF_FILES: Final[dict[str, frozenset[FeedFaultKind]]] = {
    "scoreboard": _OF_ANSWERS | {FeedFaultKind.AHEAD},
    "playbyplay": _OF_ANSWERS | {FeedFaultKind.DUPLICATED, FeedFaultKind.DISORDERED},
    "boxscore": _OF_ANSWERS,
}


class FaultyReplay:
    """A replay whose answers are those of a feed on a bad day.

    `Kind.OVERTIME` is none of its doing: that is how a game was played, see `dejavu_feed.replay.faults.overtime`.

    Args:
        replay: what answers otherwise.
        kinds: which faults there are.
        seed: the same one makes the same faults at the same moments.
        rate: the share of a file's episodes that have a fault, 0 … 1.
        hold: life seconds after which a connection that gets no answer is closed.

    Attributes:
        midnight: when the scoreboard turns to the next day, if it does.

    Raises:
        ValueError: if `rate` is not 0 … 1.
    """

    def __init__(
        self,
        replay: Replay,
        kinds: Iterable[FeedFaultKind] = tuple(FeedFaultKind),
        *,
        seed: int = 0,
        rate: float = 0.5,
        hold: float = 30.0,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"a rate of {rate:g}; expected 0 to 1")
        self._replay = replay
        self._kinds = frozenset(kinds)
        self._seed = seed
        self._rate = rate
        self._hold = hold
        self._indices = {game_id: index for index, game_id in enumerate(replay.games)}
        self._mistakes = {
            game_id: draw_scoring_errors(Timeline(game), self._kinds, self._chance("mistakes", self._indices[game_id]))
            for game_id, game in replay.games.items()
        }
        self.midnight = replay.start + self._wall(self._chance("midnight").uniform(*_MIDNIGHT))

    def respond(self, path: str) -> Response:
        """The answer to the GET of a path at this moment."""
        now = self._replay.now()
        file = file_at(path)
        if file is None or (file.game_id and file.game_id not in self._mistakes):
            return self._replay.respond_at(path, now)
        kind = self.fault(file, now)
        if kind in {FeedFaultKind.TIMEOUT, FeedFaultKind.SILENCE}:
            return Response(HTTPStatus.GATEWAY_TIMEOUT, b"", hold=self._wall(self._hold).total_seconds())
        rng = self._chance("details", *self._number(file), self._episode(now)[0])
        moment = now
        if kind is FeedFaultKind.STALE:
            moment -= self._wall(rng.uniform(*_STALE))
        elif kind is FeedFaultKind.AHEAD:
            moment += self._wall(rng.uniform(*_AHEAD))
        response = self._lasting(path, file, moment)
        if response.status != HTTPStatus.OK:
            return response
        if kind in PAYLOAD_FAULTS:
            payload = json.loads(response.body)
            PAYLOAD_FAULTS[kind](payload, rng)
            return json_response(payload)
        return RESPONSE_FAULTS[kind](response, rng) if kind in RESPONSE_FAULTS else response

    def fault(self, file: File, now: datetime) -> FeedFaultKind | None:
        """What is wrong with the answers for a file at a moment, apart from faults that last."""
        if self._in_quiet_window(file, now):
            return None
        episode, into = self._episode(now)
        silence = self._chance("silence", episode)
        if FeedFaultKind.SILENCE in self._kinds and silence.random() < self._rate * _SHARE_SILENT:
            return FeedFaultKind.SILENCE if into < FAULTY_SECONDS else None
        rng = self._chance("fault", *self._number(file), episode)
        may_be = sorted(self._kinds & _OF_FILES[file.kind])
        if not may_be or rng.random() >= self._rate:
            return None
        begin = rng.uniform(0.0, FAULTY_SECONDS - _SHORTEST)
        end = rng.uniform(begin + _SHORTEST, FAULTY_SECONDS)
        return rng.choice(may_be) if begin <= into < end else None

    def _lasting(self, path: str, file: File, moment: datetime) -> Response:
        """The answer at a moment, with what is wrong for longer than an episode or for good."""
        response = self._replay.respond_at(path, moment)
        if response.status != HTTPStatus.OK:
            return response
        payload = json.loads(response.body)
        if file.kind == "scoreboard":
            self._spoil_scoreboard(payload, moment)
        elif file.kind == "playbyplay":
            if FeedFaultKind.TECHNICAL in self._kinds:
                for action in payload["game"]["actions"]:
                    add_points(action, 1, 1)
            apply_scoring_errors(payload, self._replay.game_at(file.game_id, moment), self._mistakes[file.game_id])
        elif FeedFaultKind.TECHNICAL in self._kinds:
            _before_tip_off(payload["game"])
        return json_response(payload)

    def _spoil_scoreboard(self, payload: Json, moment: datetime) -> None:
        if FeedFaultKind.TECHNICAL in self._kinds:
            for entry in payload["scoreboard"]["games"]:
                _before_tip_off(entry)
        if FeedFaultKind.POSTPONED in self._kinds:
            scoreboard.add_postponed(payload)
        if FeedFaultKind.MIDNIGHT in self._kinds and moment >= self.midnight:
            scoreboard.turn_day(payload, self.midnight)

    def _in_quiet_window(self, file: File, now: datetime) -> bool:
        """Whether a game that a file tells of is in the last minute of its half, or of its regulation."""
        of_file = [file.game_id] if file.game_id else self._indices
        lives = (self._replay.game_at(game_id, now).at for game_id in of_file)
        return any(0 <= period_end(period) - at <= QUIET_SECONDS for at in lives for period in (2, 4))

    def _episode(self, now: datetime) -> tuple[int, float]:
        """The number of the episode, and life seconds since it began."""
        number, into = divmod((now - self._replay.start).total_seconds() * self._replay.speed, EPISODE_SECONDS)
        return int(number), into

    def _wall(self, seconds: float) -> timedelta:
        """Life seconds as the clock counts them."""
        return timedelta(seconds=seconds / self._replay.speed)

    def _number(self, file: File) -> tuple[str, int]:
        """A file by its kind and its game's place in the evening: ids are minted anew for every run."""
        return file.kind, self._indices.get(file.game_id, 0)

    def _chance(self, *about: object) -> random.Random:
        """Chance, the same whenever the same is asked."""
        return random.Random(f"{self._seed} {about}")  # noqa: S311 - faults, not secrets


def _before_tip_off(entry: Json) -> None:
    """A technical foul of each team before tip-off: a free throw for both."""
    if entry["gameStatus"] != GameStatus.SCHEDULED:
        scoreboard.add_point(entry["homeTeam"])
        scoreboard.add_point(entry["awayTeam"])
