"""Faults of the NBA's live feed in a replay. Like the replay they are stateless: by its clock, the kinds and a seed.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.payloads import Json, LiveGame, clock_text, team_fields
from dejavu_feed.replay.replay import File, Replay, file_at, json_response
from dejavu_feed.replay.timeline import PACE, TimedPlay, Timeline, period_end
from dejavu_feed.teams import TEAMS

_CORRECTED_AFTER: Final = (30.0, 200.0)
"""Minimum and maximum duration of a scoring error, in game-day seconds."""
_SHARE_CORRECTED: Final = 0.08
"""Share of made shots that have a scoring error."""
_SHARE_WITHDRAWN: Final = 0.02
"""Share of plays that are followed by a play that did not happen."""
_SOON: Final = 25.0
"""Game-day seconds within which errors that affect the last pattern of the half or of regulation are corrected."""
_ERROR_CLOCKS: Final = ((2, 360.0), (2, 60.0), (4, 60.0))
"""Periods and seconds left at which every game's pattern is temporarily wrong, and complete too early: at 6:00 of the
second quarter, and at the ends of the last minutes from which the half and the final are forecast."""


@dataclass(frozen=True, slots=True)
class ScoringError:
    """A temporary error in a game's plays.

    Attributes:
        index: index of the wrong play, or of the predecessor of a false one.
        until: time of its correction, in game-day seconds since tip-off.
        home, away: points added to (or, if negative, removed from) the score from that play on.
        false_play_at: period and clock (seconds left) of a play that did not happen; None for a wrong play.
    """

    index: int
    until: float
    home: int
    away: int
    false_play_at: tuple[int, float] | None = None

    @property
    def first(self) -> int:
        """Index of the first play whose score is affected."""
        return self.index if self.false_play_at is None else self.index + 1


def draw_scoring_errors(
    timeline: Timeline, rng: random.Random, *, corrected: bool, withdrawn: bool
) -> tuple[ScoringError, ...]:
    """Draw the scoring errors of a game: shots that are corrected, and false shots that are withdrawn.

    The last shot before each of _ERROR_CLOCKS always has an error, and there is always a false shot just past it.
    """
    plays = timeline.plays
    last = {
        clock: max(index for index, play in enumerate(plays) if (play.period, -play.clock) <= (clock[0], -clock[1]))
        for clock in _ERROR_CLOCKS
    }
    errors: list[ScoringError] = []
    if corrected:
        shots = [index for index, play in enumerate(plays) if play.points]
        wrong = {index for index in shots if rng.random() < _SHARE_CORRECTED}
        wrong |= {max((shot for shot in shots if shot <= index), default=shots[0]) for index in last.values()}
        for index in sorted(wrong):
            play, until = plays[index], _corrected(plays[index], rng)
            own, other = rng.choice([(-1, 0), (1, 0), (-play.points, play.points)])
            errors.append(ScoringError(index, until, *((own, other) if play.by_home else (other, own))))
    if withdrawn:
        false = {
            index: (play.period, play.clock)
            for index, play in enumerate(plays[:-1])
            if rng.random() < _SHARE_WITHDRAWN and index not in last.values()
        }
        for (period, left), index in last.items():
            false[index] = (period, left - rng.choice([1.0, 5.0, 20.0]))
        for index, clock in sorted(false.items()):
            points = rng.choice([2, 3])
            home, away = rng.choice([(points, 0), (0, points)])
            errors.append(ScoringError(index, _corrected(plays[index], rng), home, away, clock))
    return tuple(errors)


def apply_scoring_errors(payload: Json, game: LiveGame, wrong: Sequence[ScoringError]) -> None:
    """Apply a game's scoring errors to the payload of its plays, in place, as of the time of the payload."""
    actions: list[dict[str, Any]] = payload["game"]["actions"]
    of_plays = list(actions)
    for error in wrong:
        if error.index >= len(of_plays):
            continue
        if game.at >= error.until:
            edited = f"{game.wall_time(error.until).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            for action, play in zip(of_plays[error.first :], game.plays[error.first :], strict=True):
                if play.at < error.until:
                    action["edited"] = max(action["edited"], edited)
            continue
        if error.false_play_at is not None:
            actions.append(_false_action(of_plays[error.index], error, *error.false_play_at))
        for action in of_plays[error.first :]:
            add_points(action, error.home, error.away)


def add_points(action: dict[str, Any], home: int, away: int) -> None:
    """Add points to the score of a play, in place."""
    action["scoreHome"] = str(max(0, int(action["scoreHome"]) + home))
    action["scoreAway"] = str(max(0, int(action["scoreAway"]) + away))


def _corrected(play: TimedPlay, rng: random.Random) -> float:
    """Return when an error at a play is corrected: early if it could affect the last pattern of a half."""
    until = play.at + rng.uniform(*_CORRECTED_AFTER)
    last_minutes = (period_end(period) - 60 * PACE for period in (2, 4))
    return min([until, *(begin + _SOON for begin in last_minutes if play.at <= begin)])


def _false_action(before: dict[str, Any], error: ScoringError, period: int, clock: float) -> dict[str, Any]:
    action = before | {
        "actionNumber": before["actionNumber"] + 1_000,
        "orderNumber": before["orderNumber"] + 5_000,
        "clock": clock_text(clock),
        "period": period,
        "actionType": f"{error.home + error.away}pt",
        "subType": "Jump Shot",
        "shotResult": "Made",
        "isFieldGoal": 1,
    }
    add_points(action, error.home, error.away)
    return action


class FeedFaultKind(StrEnum):
    """A kind of fault. Nearly all were observed in the NBA's feed; the others are common network faults."""

    FORBIDDEN_PAGE = "403-html"  # status 403 with an HTML page, as from a firewall
    FORBIDDEN_JSON = "403-json"  # status 403 with the requested JSON
    SERVER_ERROR = "500"
    TIMEOUT = "timeout"  # no response until the client times out
    TRUNCATED = "truncated"  # with or without the original Content-Length
    EMPTY = "empty"  # status 200 without a body
    HOLLOW = "hollow"  # {} or []
    STALE = "stale"  # a file that is some minutes old, as from a stale cache
    INCOMPLETE = "incomplete"  # a play or a game that lacks a field
    DAMAGED = "damaged"  # plays with an empty or impossible clock, period, order, score or action
    SILENCE = "silence"  # no response for any file for minutes
    AHEAD = "ahead"  # a scoreboard whose clock runs ahead of the plays
    DUPLICATED = "duplicated"  # plays listed twice
    DISORDERED = "disordered"  # plays listed and numbered out of order; only their orderNumber is right
    CORRECTED = "corrected"  # shots with wrong points or credited to the wrong team, corrected within minutes
    WITHDRAWN = "withdrawn"  # plays that did not happen, some just past the end of a minute, removed within minutes
    TECHNICAL = "technical"  # games that start at 1–1 because of technical fouls before tip-off
    POSTPONED = "postponed"  # an additional game that never starts
    MIDNIGHT = "midnight"  # a scoreboard that changes to the next day and drops games still in progress


EPISODE_SECONDS: Final = 300.0
FAULTY_SECONDS: Final = 180.0
"""Game-day seconds at the start of an episode in which faults may occur."""
QUIET_SECONDS: Final = 60 * PACE + 30.0
"""Game-day seconds before the half, and before the end of regulation, without transient faults."""
_HOLD: Final = 30.0
"""Game-day seconds after which a connection without a response is closed."""
_SHORTEST: Final = 20.0
_STALE: Final = (60.0, 240.0)
"""Minimum and maximum age of a stale file, in game-day seconds."""
_AHEAD: Final = (5.0, 40.0)
"""Minimum and maximum game-day seconds by which a scoreboard is ahead of the plays."""
_MIDNIGHT: Final = (1200.0, 4800.0)
"""Minimum and maximum game-day seconds from the first tip-off until the scoreboard changes to the next day."""
_SHARE_SILENT: Final = 0.2
"""Share of the faulty episodes in which the whole feed is silent."""

_PAGE: Final = b"<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1></BODY></HTML>\n"
_PLAY_FIELDS: Final = (
    *("actionType", "clock", "orderNumber", "period"),
    *("scoreAway", "scoreHome", "subType", "timeActual"),
)
_GAME_FIELDS: Final = (
    *("awayTeam", "gameClock", "gameId", "gameStatus"),
    *("gameStatusText", "gameTimeUTC", "homeTeam", "period"),
)
"""Fields of a play and of a game that an incomplete payload may lack."""
_DAMAGES: Final[tuple[Json, ...]] = (
    {"clock": ""},
    {"clock": "PT12M00.00S", "period": 5},
    {"period": 0},
    {"scoreHome": "", "scoreAway": ""},
    {"scoreAway": None},
    {"scoreHome": "0", "scoreAway": "0"},
    {"orderNumber": None},
    {"orderNumber": 0},
    {"actionType": None, "timeActual": "0001-01-01T00:00:00Z"},
)
_MOST_DAMAGED: Final = 3


def _truncated(response: Response, rng: random.Random) -> Response:
    body = response.body[: rng.randrange(1, max(2, len(response.body)))]
    original = {} if rng.random() < 0.5 else {"Content-Length": str(len(response.body)), "Connection": "close"}
    return Response(response.status, body, {**response.headers, **original})


RESPONSE_FAULTS: Final[dict[FeedFaultKind, Callable[[Response, random.Random], Response]]] = {
    FeedFaultKind.FORBIDDEN_PAGE: lambda _, __: Response(HTTPStatus.FORBIDDEN, _PAGE, {"Content-Type": "text/html"}),
    FeedFaultKind.FORBIDDEN_JSON: lambda response, _: Response(HTTPStatus.FORBIDDEN, response.body, response.headers),
    FeedFaultKind.SERVER_ERROR: lambda _, __: Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal Server Error"),
    FeedFaultKind.TRUNCATED: _truncated,
    FeedFaultKind.EMPTY: lambda response, _: Response(response.status, b"", response.headers),
    FeedFaultKind.HOLLOW: lambda response, rng: Response(response.status, rng.choice([b"{}", b"[]"]), response.headers),
}
"""Faults that replace a response."""


def _duplicated(payload: Json, rng: random.Random) -> None:
    actions = payload["game"]["actions"]
    for action in rng.sample(actions, min(len(actions), 10)):
        actions.insert(rng.randrange(len(actions) + 1), dict(action))


def _disordered(payload: Json, rng: random.Random) -> None:
    actions = payload["game"]["actions"]
    numbers = [action["actionNumber"] for action in actions]
    rng.shuffle(numbers)
    for action, number in zip(actions, numbers, strict=True):
        action["actionNumber"] = number
    rng.shuffle(actions)


def _incomplete(payload: Json, rng: random.Random) -> None:
    """Remove a field from a play, or from a game of the scoreboard or a box score."""
    if "scoreboard" in payload:
        games, fields = payload["scoreboard"]["games"], _GAME_FIELDS
    elif "actions" in payload["game"]:
        games, fields = payload["game"]["actions"], _PLAY_FIELDS
    else:
        games, fields = [payload["game"]], _GAME_FIELDS
    if games:
        rng.choice(games).pop(rng.choice(fields), None)


def _damaged(payload: Json, rng: random.Random) -> None:
    """Damage fields of a few plays, but of no two neighbors."""
    actions = payload["game"]["actions"]
    for place in rng.sample(range(0, len(actions), 2), min(_MOST_DAMAGED, (len(actions) + 1) // 2)):
        actions[place].update(rng.choice(_DAMAGES))


PAYLOAD_FAULTS: Final[dict[FeedFaultKind, Callable[[Json, random.Random], None]]] = {
    FeedFaultKind.INCOMPLETE: _incomplete,
    FeedFaultKind.DUPLICATED: _duplicated,
    FeedFaultKind.DISORDERED: _disordered,
    FeedFaultKind.DAMAGED: _damaged,
}
"""Faults that alter a payload in place. `DUPLICATED`, `DISORDERED` and `DAMAGED` apply only to plays."""

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

    Args:
        replay: the replay without faults.
        kinds: kinds of faults to inject.
        seed: the same seed gives the same faults at the same times.
        rate: share of a file's episodes that have a fault, 0 … 1.

    Attributes:
    """

    def __init__(self, replay: Replay, kinds: Iterable[FeedFaultKind], *, seed: int = 0, rate: float = 0.5) -> None:
        self._replay, self._kinds, self._seed, self._rate = replay, frozenset(kinds), seed, rate
        self._indices = {game_id: index for index, game_id in enumerate(replay.games)}
        self._scoring_errors = {
            game_id: draw_scoring_errors(
                Timeline(game),
                self._rng("mistakes", self._indices[game_id]),
                corrected=FeedFaultKind.CORRECTED in self._kinds,
                withdrawn=FeedFaultKind.WITHDRAWN in self._kinds,
            )
            for game_id, game in replay.games.items()
        }
        self._fault_of_episode = cache(self._draw_fault)
        self._midnight = replay.start + self._wall(self._rng("midnight").uniform(*_MIDNIGHT))

    def respond(self, path: str) -> Response:
        """Respond to the GET of a path now."""
        now = time = self._replay.now()
        file = file_at(path)
        if file is None or (file.game_id and file.game_id not in self._indices):
            return self._replay.respond_at(path, now)
        kind, rng = self.fault(file, now), self._rng("details", *self._key(file), self._episode(now)[0])
        if kind in {FeedFaultKind.TIMEOUT, FeedFaultKind.SILENCE}:
            return Response(HTTPStatus.GATEWAY_TIMEOUT, b"", hold=self._wall(_HOLD).total_seconds())
        if kind is FeedFaultKind.STALE:
            time -= self._wall(rng.uniform(*_STALE))
        elif kind is FeedFaultKind.AHEAD:
            time += self._wall(rng.uniform(*_AHEAD))
        response = self._replay.respond_at(path, time)
        if response.status != HTTPStatus.OK:
            return response
        payload = json.loads(response.body)
        self._apply_lasting_faults(payload, file, time)
        if kind in PAYLOAD_FAULTS:
            PAYLOAD_FAULTS[kind](payload, rng)
        response = json_response(payload)
        return RESPONSE_FAULTS[kind](response, rng) if kind in RESPONSE_FAULTS else response

    def fault(self, file: File, now: datetime) -> FeedFaultKind | None:
        """Return the transient fault of a file at a given time; None if there is none."""
        if self._in_quiet_window(file, now):
            return None
        episode, into = self._episode(now)
        kind, begin, end = self._fault_of_episode(file, episode)
        return kind if begin <= into < end else None

    def _draw_fault(self, file: File, episode: int) -> tuple[FeedFaultKind | None, float, float]:
        """Draw the fault of a file in an episode, and the seconds of the episode at which it begins and ends."""
        silence = self._rng("silence", episode)
        if FeedFaultKind.SILENCE in self._kinds and silence.random() < self._rate * _SHARE_SILENT:
            return FeedFaultKind.SILENCE, 0.0, FAULTY_SECONDS
        rng = self._rng("fault", *self._key(file), episode)
        candidates = sorted(self._kinds & _KINDS_BY_FILE[file.kind])
        if not candidates or rng.random() >= self._rate:
            return None, 0.0, 0.0
        begin = rng.uniform(0.0, FAULTY_SECONDS - _SHORTEST)
        end = rng.uniform(begin + _SHORTEST, FAULTY_SECONDS)
        return rng.choice(candidates), begin, end

    def _apply_lasting_faults(self, payload: Json, file: File, time: datetime) -> None:
        """Apply the faults that outlast an episode or are permanent, in place."""
        technical = FeedFaultKind.TECHNICAL in self._kinds
        if file.kind == "playbyplay":
            for action in payload["game"]["actions"] if technical else ():
                add_points(action, 1, 1)
            apply_scoring_errors(payload, self._replay.game_at(file.game_id, time), self._scoring_errors[file.game_id])
            return
        board = file.kind == "scoreboard"
        for game in (payload["scoreboard"]["games"] if board else [payload["game"]]) if technical else ():
            _add_technical_fouls(game)
        if board and FeedFaultKind.POSTPONED in self._kinds:
            payload["scoreboard"]["games"].append(_scheduled(payload, 1, "PPD", timedelta(0)))
        if board and FeedFaultKind.MIDNIGHT in self._kinds and time >= self._midnight:
            _turn_day(payload, self._midnight)

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

    def _rng(self, *about: object) -> random.Random:
        """Return a random number generator seeded by the seed and the arguments."""
        return random.Random(f"{self._seed} {about}")


def _add_technical_fouls(game: Json) -> None:
    """Add a technical foul of each team before tip-off, in place: one free throw for both."""
    if game["gameStatus"] != GameStatus.SCHEDULED:
        for team in (game["homeTeam"], game["awayTeam"]):
            team["score"] += 1
            team["periods"][0]["score"] += 1


def _turn_day(board: Json, at: datetime) -> None:
    """Change a scoreboard to the next day, in place: remove games that began by `at` and add one of tomorrow."""
    inner = board["scoreboard"]
    tomorrow = _scheduled(board, 2, "7:30 pm ET", timedelta(days=1))
    inner["gameDate"] = f"{date.fromisoformat(inner['gameDate']) + timedelta(days=1)}"
    inner["games"] = [game for game in inner["games"] if datetime.fromisoformat(game["gameTimeUTC"]) > at]
    inner["games"].append(tomorrow)


def _scheduled(board: Json, number: int, text: str, later: timedelta) -> Json:
    """Return a game of teams that do not play tonight, whose id is the evening's last id plus `number`."""
    games = board["scoreboard"]["games"]
    first = min(games, key=lambda game: str(game["gameTimeUTC"]))
    busy = {game[team]["teamTricode"] for game in games for team in ("homeTeam", "awayTeam")}
    home, away = sorted(TEAMS, key=lambda code: (code in busy, code))[:2]
    last = max(int(game["gameId"][len(REPLAY_PREFIX) :]) for game in games)
    tip_off = datetime.fromisoformat(first["gameTimeUTC"]).astimezone(UTC) + later
    day = datetime.strptime(first["gameCode"].partition("/")[0], "%Y%m%d").replace(tzinfo=UTC) + later
    return {
        **first,
        "gameCode": f"{day:%Y%m%d}/{away}{home}",
        "gameId": f"{REPLAY_PREFIX}{(last + number) % 10**8:08d}",
        "gameStatus": int(GameStatus.SCHEDULED),
        "gameStatusText": text,
        "period": 0,
        "gameClock": "",
        "gameTimeUTC": f"{tip_off:%Y-%m-%dT%H:%M:%SZ}",
        "homeTeam": _idle(first["homeTeam"], home),
        "awayTeam": _idle(first["awayTeam"], away),
    }


def _idle(team: Json, code: str) -> Json:
    periods = [{**period, "score": 0} for period in team["periods"][:4]]
    return {**team, **team_fields(code), "score": 0, "periods": periods}
