"""Injects faults into a replay. Like the replay it is stateless: faults depend only on its clock, the kinds and a seed.

Response faults are transient. They occur in *episodes* of five game-day minutes: each file of the feed may have one in
the first three minutes of an episode, and none in the last two. Scoring errors in plays are corrected within minutes.
The last minute of the first half and of regulation is a *quiet window*: the game's files and the scoreboard have no
transient faults, and earlier scoring errors are corrected early in it. A client that polls every ten game-day seconds,
and less often after failures, therefore ends with the same newest forecasts as on a day without faults. (A feed that
stays silent until the end would cause missed forecasts; this is not simulated.)
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Final

from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.faults.plays import add_points, apply_scoring_errors, draw_scoring_errors
from dejavu_feed.replay.faults.responses import (
    PAYLOAD_FAULTS,
    RESPONSE_FAULTS,
    add_postponed,
    add_technical_fouls,
    turn_day,
)
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.payloads import Json
from dejavu_feed.replay.replay import File, Replay, file_at, json_response
from dejavu_feed.replay.timeline import PACE, Timeline, period_end

EPISODE_SECONDS: Final = 300.0
FAULTY_SECONDS: Final = 180.0
"""Game-day seconds at the start of an episode in which faults may occur."""
QUIET_SECONDS: Final = 60 * PACE + 30.0
"""Game-day seconds before the half, and before the end of regulation, without transient faults."""
_SHORTEST: Final = 20.0
_STALE: Final = (60.0, 240.0)
"""Minimum and maximum age of a stale file, in game-day seconds."""
_AHEAD: Final = (5.0, 40.0)
"""Minimum and maximum game-day seconds by which a scoreboard is ahead of the plays."""
_MIDNIGHT: Final = (1200.0, 4800.0)
"""Minimum and maximum game-day seconds from the first tip-off until the scoreboard changes to the next day."""
_SHARE_SILENT: Final = 0.2
"""Share of the faulty episodes in which the whole feed is silent."""

_RESPONSE_KINDS: Final = frozenset(
    {*RESPONSE_FAULTS, FeedFaultKind.TIMEOUT, FeedFaultKind.STALE, FeedFaultKind.INCOMPLETE}
)
_KINDS_BY_FILE: Final[dict[str, frozenset[FeedFaultKind]]] = {
    "scoreboard": _RESPONSE_KINDS | {FeedFaultKind.AHEAD},
    "playbyplay": _RESPONSE_KINDS | {FeedFaultKind.DUPLICATED, FeedFaultKind.DISORDERED, FeedFaultKind.DAMAGED},
    "boxscore": _RESPONSE_KINDS,
}


class FaultyReplay:
    """A replay with injected faults.

    Does not handle `FeedFaultKind.OVERTIME`, which changes the game itself: see `dejavu_feed.replay.games`.

    Args:
        replay: the replay without faults.
        kinds: kinds of faults to inject.
        seed: the same seed gives the same faults at the same times.
        rate: share of a file's episodes that have a fault, 0 … 1.
        hold: game-day seconds after which a connection without a response is closed.

    Attributes:
        kinds: the kinds of faults to inject.
        scoring_errors: scoring errors of each game, by id.
        midnight: when the scoreboard changes to the next day, if this fault is injected.

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
            raise ValueError(f"the rate is {rate:g}, expected 0 to 1")
        self._replay = replay
        self.kinds = frozenset(kinds)
        self._seed = seed
        self._rate = rate
        self._hold = hold
        self._indices = {game_id: index for index, game_id in enumerate(replay.games)}
        self.scoring_errors = {
            game_id: draw_scoring_errors(Timeline(game), self.kinds, self._chance("mistakes", self._indices[game_id]))
            for game_id, game in replay.games.items()
        }
        self._fault_of_episode = cache(self._draw_fault)
        self.midnight = replay.start + self._wall(self._chance("midnight").uniform(*_MIDNIGHT))

    def respond(self, path: str) -> Response:
        """Respond to the GET of a path now."""
        now = self._replay.now()
        file = file_at(path)
        if file is None or (file.game_id and file.game_id not in self.scoring_errors):
            return self._replay.respond_at(path, now)
        kind, time, rng = self.served(file, now)
        if kind in {FeedFaultKind.TIMEOUT, FeedFaultKind.SILENCE}:
            return Response(HTTPStatus.GATEWAY_TIMEOUT, b"", hold=self._wall(self._hold).total_seconds())
        response = self._with_lasting_faults(path, file, time)
        if response.status != HTTPStatus.OK:
            return response
        if kind in PAYLOAD_FAULTS:
            payload = json.loads(response.body)
            PAYLOAD_FAULTS[kind](payload, rng)
            return json_response(payload)
        return RESPONSE_FAULTS[kind](response, rng) if kind in RESPONSE_FAULTS else response

    def served(self, file: File, now: datetime) -> tuple[FeedFaultKind | None, datetime, random.Random]:
        """Return a file's transient fault, the time whose state it shows, and a random generator for the details."""
        kind = self.fault(file, now)
        rng = self._chance("details", *self._key(file), self._episode(now)[0])
        if kind is FeedFaultKind.STALE:
            return kind, now - self._wall(rng.uniform(*_STALE)), rng
        if kind is FeedFaultKind.AHEAD:
            return kind, now + self._wall(rng.uniform(*_AHEAD)), rng
        return kind, now, rng

    def fault(self, file: File, now: datetime) -> FeedFaultKind | None:
        """Return the transient fault of a file at a given time; None if there is none."""
        if self._in_quiet_window(file, now):
            return None
        episode, into = self._episode(now)
        kind, begin, end = self._fault_of_episode(file, episode)
        return kind if begin <= into < end else None

    def _draw_fault(self, file: File, episode: int) -> tuple[FeedFaultKind | None, float, float]:
        """Draw the fault of a file in an episode, and the seconds of the episode at which it begins and ends."""
        silence = self._chance("silence", episode)
        if FeedFaultKind.SILENCE in self.kinds and silence.random() < self._rate * _SHARE_SILENT:
            return FeedFaultKind.SILENCE, 0.0, FAULTY_SECONDS
        rng = self._chance("fault", *self._key(file), episode)
        candidates = sorted(self.kinds & _KINDS_BY_FILE[file.kind])
        if not candidates or rng.random() >= self._rate:
            return None, 0.0, 0.0
        begin = rng.uniform(0.0, FAULTY_SECONDS - _SHORTEST)
        end = rng.uniform(begin + _SHORTEST, FAULTY_SECONDS)
        return rng.choice(candidates), begin, end

    def _with_lasting_faults(self, path: str, file: File, time: datetime) -> Response:
        """Respond at a given time, with the faults that outlast an episode or are permanent."""
        response = self._replay.respond_at(path, time)
        if response.status != HTTPStatus.OK:
            return response
        payload = json.loads(response.body)
        if file.kind == "scoreboard":
            self._alter_scoreboard(payload, time)
        elif file.kind == "playbyplay":
            if FeedFaultKind.TECHNICAL in self.kinds:
                for action in payload["game"]["actions"]:
                    add_points(action, 1, 1)
            apply_scoring_errors(payload, self._replay.game_at(file.game_id, time), self.scoring_errors[file.game_id])
        elif FeedFaultKind.TECHNICAL in self.kinds:
            add_technical_fouls(payload["game"])
        return json_response(payload)

    def _alter_scoreboard(self, payload: Json, time: datetime) -> None:
        if FeedFaultKind.TECHNICAL in self.kinds:
            for entry in payload["scoreboard"]["games"]:
                add_technical_fouls(entry)
        if FeedFaultKind.POSTPONED in self.kinds:
            add_postponed(payload)
        if FeedFaultKind.MIDNIGHT in self.kinds and time >= self.midnight:
            turn_day(payload, self.midnight)

    def _in_quiet_window(self, file: File, now: datetime) -> bool:
        """Return whether a game in the file is in the last minute of its first half or of regulation."""
        game_ids = [file.game_id] if file.game_id else self._indices
        times = (self._replay.game_at(game_id, now).at for game_id in game_ids)
        return any(0 <= period_end(period) - at <= QUIET_SECONDS for at in times for period in (2, 4))

    def _episode(self, now: datetime) -> tuple[int, float]:
        """Return the number of the episode, and game-day seconds since its start."""
        number, into = divmod((now - self._replay.start).total_seconds() * self._replay.speed, EPISODE_SECONDS)
        return int(number), into

    def _wall(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds / self._replay.speed)

    def _key(self, file: File) -> tuple[str, int]:
        """Identify a file by its kind and its game's index in the evening, since game ids differ in every run."""
        return file.kind, self._indices.get(file.game_id, 0)

    def _chance(self, *about: object) -> random.Random:
        """Return a random number generator seeded by the seed and the arguments."""
        return random.Random(f"{self._seed} {about}")  # noqa: S311 - faults, not secrets
