"""The NBA's live JSON → typed games and plays: the only place that knows the feed's field names when reading.

What must be right (ids, status, periods, clocks of plays, scores) is checked and raises `MalformedFeed` by name; what
only decorates a table (the scoreboard's clock, tip-off times) is None when it cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from dejavu_feed.errors import MalformedFeed
from dejavu_feed.names import is_game_id, team_code
from dejavu_feed.nba.fields import brief, optional_text, required
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, elapsed_seconds

_CLOCK = re.compile(r"PT(?:([0-9]{1,2})M)?([0-9]{1,2}(?:\.[0-9]+)?)S", re.ASCII)


class GameStatus(IntEnum):
    """Where a game stands, with the feed's own numbers."""

    SCHEDULED = 1
    LIVE = 2
    FINAL = 3


@dataclass(frozen=True, slots=True)
class GameState:
    """A game as the scoreboard (or its box score) shows it.

    Attributes:
        game_id: the NBA's id, ten digits.
        home, away: NBA codes; as the feed has them for teams outside of the league.
        period: 1–4 the quarters, 5 and on the overtimes; 0 before tip-off.
        clock: seconds left in the period; None where the feed shows none.
        home_periods, away_periods: points of each period; those not yet played are 0.
        tip_off: when it begins or began, aware; None if the feed does not tell.
        text: the status in the feed's words, for instance "Q2 07:15" or "Final/OT".
    """

    game_id: str
    home: str
    away: str
    status: GameStatus
    period: int
    clock: float | None
    home_score: int
    away_score: int
    home_periods: tuple[int, ...] = ()
    away_periods: tuple[int, ...] = ()
    tip_off: datetime | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The games of a day, and what was wrong with those of its games that could not be read."""

    date: str
    games: tuple[GameState, ...]
    faults: tuple[MalformedFeed, ...] = ()


@dataclass(frozen=True, slots=True)
class Play:
    """Something that happened in a game, with the score after it.

    Attributes:
        order: its place among the game's plays (`orderNumber`); a play that is edited keeps it.
        elapsed: game seconds since tip-off.
        clock: seconds left in the period.
        action, detail: the feed's `actionType` and `subType`, for instance "period" and "end".
        scoring: whether a shot or a free throw was made.
        actual: when it happened by the feed's wall clock, aware; it may run back from play to play; None if not told.
        edited: when it was last written or corrected, aware; None if not told.
    """

    order: int
    period: int
    clock: float
    elapsed: float
    home: int
    away: int
    action: str
    detail: str = ""
    scoring: bool = False
    actual: datetime | None = None
    edited: datetime | None = None


def clock_seconds(text: str) -> float | None:
    """Seconds of a clock such as "PT06M05.00S"; None for anything else, the "" before and after a game included."""
    match = _CLOCK.fullmatch(text)
    return None if match is None else 60 * int(match[1] or 0) + float(match[2])


def read_scoreboard(payload: object) -> Scoreboard:
    """The games of a scoreboard payload. A game that cannot be read becomes a fault and does not hide the others.

    Raises:
        MalformedFeed: if the payload is no scoreboard at all.
    """
    board = required(payload, "scoreboard", dict, "payload")
    games: list[GameState] = []
    faults: list[MalformedFeed] = []
    for index, entry in enumerate(required(board, "games", list, "scoreboard")):
        try:
            games.append(_game_state(entry, f"games[{index}]"))
        except MalformedFeed as fault:
            faults.append(fault)
    return Scoreboard(date=optional_text(board, "gameDate"), games=tuple(games), faults=tuple(faults))


def read_boxscore(payload: object, game_id: str) -> GameState:
    """The state of one game, from its box score.

    Raises:
        MalformedFeed: if the payload is not the box score of this game.
    """
    return _own(_game_state(required(payload, "game", dict, "payload"), "game"), game_id)


def read_plays(payload: object, game_id: str) -> tuple[Play, ...]:
    """A game's plays in their order (`orderNumber`: neither `actionNumber` nor `timeActual` is monotone).

    Of a play that is listed twice the version that was edited last counts.

    Raises:
        MalformedFeed: if the payload is not the play-by-play of this game, or one of its plays lacks its place, clock
            or score: a pattern is not guessed from what is left.
    """
    game = required(payload, "game", dict, "payload")
    found = required(game, "gameId", str, "game")
    if found != game_id:
        raise MalformedFeed(f"asked for the plays of {game_id}, got those of {found[:20]!r}")
    plays: dict[tuple[int, object], Play] = {}
    for index, action in enumerate(required(game, "actions", list, "game")):
        play = _play(action, f"actions[{index}]")
        number = action.get("actionNumber")
        key = (play.order, number if isinstance(number, int) else None)
        listed = plays.get(key)
        if listed is None or _edited(listed) <= _edited(play):
            plays[key] = play
    return tuple(sorted(plays.values(), key=lambda play: play.order))


def _edited(play: Play) -> datetime:
    return play.edited or datetime.min.replace(tzinfo=UTC)


def _own(state: GameState, game_id: str) -> GameState:
    if state.game_id != game_id:
        raise MalformedFeed(f"asked for the box score of {game_id}, got that of {state.game_id}")
    return state


def _game_state(record: object, where: str) -> GameState:
    game_id = required(record, "gameId", str, where)
    if not is_game_id(game_id):
        raise MalformedFeed(f"{where}.gameId is {game_id[:20]!r}, expected ten digits")
    where = f"game {game_id}"
    home = required(record, "homeTeam", dict, where)
    away = required(record, "awayTeam", dict, where)
    number = required(record, "gameStatus", int, where)
    if number not in tuple(GameStatus):
        raise MalformedFeed(f"{where}.gameStatus is {number}, expected 1, 2 or 3")
    return GameState(
        game_id=game_id,
        home=_team(home, f"{where}.homeTeam"),
        away=_team(away, f"{where}.awayTeam"),
        status=GameStatus(number),
        period=required(record, "period", int, where),
        clock=clock_seconds(optional_text(record, "gameClock")),
        home_score=_points(home, "score", f"{where}.homeTeam"),
        away_score=_points(away, "score", f"{where}.awayTeam"),
        home_periods=_period_scores(home, f"{where}.homeTeam"),
        away_periods=_period_scores(away, f"{where}.awayTeam"),
        tip_off=_time(optional_text(record, "gameTimeUTC")),
        text=optional_text(record, "gameStatusText").strip(),
    )


def _play(record: object, where: str) -> Play:
    order = required(record, "orderNumber", int, where)
    where = f"play {order}"
    period = required(record, "period", int, where)
    text = required(record, "clock", str, where)
    clock = clock_seconds(text)
    if period < 1 or clock is None or clock > (QUARTER_SECONDS if period <= 4 else OVERTIME_SECONDS):
        raise MalformedFeed(f"{where} is at {text[:20]!r} of period {period}, which is no moment of a game")
    return Play(
        order=order,
        period=period,
        clock=clock,
        elapsed=elapsed_seconds(period, clock),
        home=_points(record, "scoreHome", where),
        away=_points(record, "scoreAway", where),
        action=required(record, "actionType", str, where),
        detail=optional_text(record, "subType"),
        scoring=optional_text(record, "shotResult") == "Made",
        actual=_time(optional_text(record, "timeActual")),
        edited=_time(optional_text(record, "edited")),
    )


def _points(record: object, key: str, where: str) -> int:
    """A score: an int on the scoreboard, a string of digits in the play-by-play."""
    value = record.get(key) if isinstance(record, Mapping) else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 999:
        return value
    raise MalformedFeed(f"{where}.{key} is {brief(value)}, expected points")


def _period_scores(team: Mapping[str, object], where: str) -> tuple[int, ...]:
    periods = team.get("periods")
    return (
        tuple(_points(period, "score", f"{where}.periods") for period in periods) if isinstance(periods, list) else ()
    )


def _team(record: Mapping[str, object], where: str) -> str:
    code = required(record, "teamTricode", str, where)
    try:
        return team_code(code)
    except ValueError:
        return code.strip().upper()


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
