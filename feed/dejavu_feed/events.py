"""Events of a game: one form for the plays of all sources, with the possession after each.

docs/data.md describes the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from dejavu_feed.live_inputs import POSSESSION_FROM, Possession, Side
from dejavu_feed.pattern import REGULATION_MINUTES, Score


class EventKind(StrEnum):
    """Kind of an event; the value is its name in files."""

    PERIOD_START = "period_start"
    PERIOD_END = "period_end"
    JUMP_BALL = "jump_ball"
    SHOT = "shot"
    FREE_THROW = "free_throw"
    REBOUND = "rebound"
    TURNOVER = "turnover"
    STEAL = "steal"
    BLOCK = "block"
    FOUL = "foul"
    VIOLATION = "violation"
    SUBSTITUTION = "substitution"
    TIMEOUT = "timeout"
    OTHER = "other"


class Event(NamedTuple):
    """An event of a game.

    Attributes:
        period: 1–4 for quarters, from 5 for overtimes.
        elapsed: game seconds since tip-off.
        order: place in the source's order of entry.
        kind: its kind.
        team: NBA code of the acting team; of a jump ball, the team that gains the ball; empty if there is none.
        home, away: the score after it, in points.
        made: of a shot or a free throw, whether it was made.
        value: points of a shot if made, 2 or 3; 0 for other events, or if the source does not say.
        distance: distance of a shot in feet; None if not reported.
        attempt, attempts: number of a free throw and of all in a row (1 of 2); of a foul, the free throws that it gives
            are `attempts`, if the source says so; 0 for other events.
        detail: kind of foul, turnover or violation, offensive or defensive for a rebound, in or out for a substitution;
            in lower case, as the source names it.
        player: NBA id of the acting player; 0 if there is none.
        other_player: NBA id of the passer of a made shot, or of the fouled player; 0 if not reported.
        possession: NBA code of the team that has the ball after it; empty while that is not known.
        shot_in_air: whether a shot of that team missed, and nobody has the rebound yet.
        after_gap: whether an event between the one before and this one could not be read.
    """

    period: int
    elapsed: float
    order: int
    kind: EventKind
    team: str = ""
    home: int = 0
    away: int = 0
    made: bool | None = None
    value: int = 0
    distance: float | None = None
    attempt: int = 0
    attempts: int = 0
    detail: str = ""
    player: int = 0
    other_player: int = 0
    possession: str = ""
    shot_in_air: bool = False
    after_gap: bool = False

    @property
    def points(self) -> int:
        """Points that it scores."""
        if not self.made:
            return 0
        return 1 if self.kind is EventKind.FREE_THROW else self.value


_SPECIAL_FREE_THROWS: Final = ("technical", "flagrant", "clear path")
"""Parts of the names of free throws after which the ball stays with the team that has it."""


def complete_events(
    events: Iterable[tuple[Event, tuple[int, int] | None]], scores: Sequence[Score], teams: Sequence[str]
) -> tuple[Event, ...]:
    """Return the events of a game in chronological order, with the score and the possession after each.

    A game without missed shots gets no possessions, because its source has only scores.

    Args:
        events: events in any order, with the score (home, away) of their rows; None if the row has none.
        scores: every change of the score in chronological order; the score of a row that is not among the scores of its
            second is not used.
        teams: NBA codes of both teams.
    """
    valid = {score[:3] for score in scores}
    by_second = {score.elapsed: (score.home, score.away) for score in scores}  # the last score of each second
    rows = sorted(
        ((event, score if score is not None and (event.elapsed, *score) in valid else None) for event, score in events),
        key=lambda row: (row[0].elapsed, row[0].order, sum(row[1] or (0, 0))),
    )
    current = (0, 0)
    result: list[Event] = []
    for place, (event, score) in enumerate(rows):
        current = score or current
        ends = place + 1 == len(rows) or rows[place + 1][0].elapsed != event.elapsed
        if ends:  # a row with points may have no score, or stand before another one of its second
            current = by_second.get(event.elapsed, current)
        result.append(event._replace(home=current[0], away=current[1]))
    # Scores alone do not show the possession between them.
    misses = any(event.kind is EventKind.SHOT and not event.made for event in result)
    return with_possession(result, teams) if misses else tuple(result)


_NEED_THE_BALL: Final = frozenset({EventKind.SHOT, EventKind.TURNOVER})
_NEUTRAL_FOULS: Final = ("technical", "double", "defensive 3 second", "offensive")
"""Parts of the names of fouls that leave the ball where it was; a turnover follows an offensive foul."""
_KEEPING_FOULS: Final = ("clear path", "flagrant")
"""Parts of the names of fouls after whose free throws the fouled team keeps the ball."""
_KEEPING_SINGLE_FOULS: Final = (*_NEUTRAL_FOULS, "away from play", "take")
"""The same for fouls with one free throw; a take foul with two free throws is that of a team in the penalty."""


def with_possession(events: Iterable[Event], teams: Sequence[str]) -> tuple[Event, ...]:
    """Return events with the team that has the ball after each, and whether a shot of that team is in the air.

    After a steal, a missed shot, a rebound of such a shot, a free throw that is not the last, or a won jump ball, the
    acting team has the ball; after a turnover, a made shot, the last free throw if made, or a foul, the other team.
    Technical and double fouls, and free throws of technical, flagrant and clear path fouls, leave the ball where it
    was; so do single free throws of fouls away from the play and take fouls. The team that gains the opening jump ball
    begins the fourth quarter, the other team the second and the third; overtimes begin with a jump ball. Other events
    change nothing. Next to an event that could not be read, the possession is unknown.

    Args:
        events: events in order.
        teams: NBA codes of both teams.
    """
    result: list[Event] = []
    ball = first = foul = ""
    loose = False
    for event in events:
        if event.after_gap:
            ball, loose = "", False
            result[-1:] = [before._replace(possession="", shot_in_air=False) for before in result[-1:]]
        if event.kind is EventKind.PERIOD_START:
            ball, loose = _begins(event.period, first, teams), False
        else:
            if event.kind is EventKind.FOUL:
                foul = event.detail.replace("-", " ")
            ball, loose = _after(event, ball, loose, foul, teams)
        first = first or (event.team if event.kind in _NEED_THE_BALL else ball)
        result.append(event._replace(possession=ball, shot_in_air=loose))
    return tuple(result)


def free_throws_to_come(events: Sequence[Event]) -> tuple[int | None, ...]:
    """Return how many free throws the team that has the ball has after each event, before the clock runs again.

    The number is None while it is not known: after a foul whose number of free throws neither it nor the next free
    throw says, and around free throws after which the ball stays with the team that has it.

    Args:
        events: events in order, with the possession after each.
    """
    result: list[int | None] = []
    coming: int | None = 0
    foul = ""
    for place, event in enumerate(events):
        if place and not _is_same_time(events[place - 1], event):
            coming = 0
        if event.kind is EventKind.FOUL:
            foul = event.detail.replace("-", " ")
            given = event.attempts or _next_attempts(events, place)
            if given:
                coming = None if _keeps_the_ball(foul, given) else given
            elif "shooting" in foul:
                coming = None
        elif event.kind is EventKind.FREE_THROW:
            coming = None if _leaves_the_ball(event, foul) else event.attempts - event.attempt
        result.append(coming if event.possession or not coming else None)
    return tuple(result)


def _next_attempts(events: Sequence[Event], place: int) -> int:
    """Return the number of free throws in a row that follow a foul; 0 if none follows."""
    foul = events[place]
    for event in events[place + 1 :]:
        if not _is_same_time(foul, event) or event.kind is EventKind.FOUL:
            return 0
        if event.kind is EventKind.FREE_THROW:
            return event.attempts
    return 0


def _is_same_time(one: Event, other: Event) -> bool:
    return (one.period, one.elapsed) == (other.period, other.elapsed)


def possessions(balls: Iterable[tuple[float, str, bool]], minutes: int, home: str) -> tuple[Possession | None, ...]:
    """Return the possession at the end of each of the first `minutes` minutes; None if not known.

    It is also None before minute POSSESSION_FROM, and at the end of the game.

    Args:
        balls: of each event, in order, its time in game seconds, the team that has the ball after it, and whether a
            shot of that team is in the air.
        minutes: number of minutes.
        home: NBA code of the home team.
    """
    last: list[Possession | None] = [None] * (minutes + 1)
    for elapsed, team, shot_in_air in balls:
        minute = max(1, -int(-elapsed // 60))
        if minute <= minutes:
            last[minute:] = [Possession(Side.HOME if team == home else Side.AWAY, shot_in_air) if team else None] * (
                minutes + 1 - minute
            )
    told = range(POSSESSION_FROM, REGULATION_MINUTES)
    return tuple(last[minute] if minute in told else None for minute in range(1, minutes + 1))


def _begins(period: int, first: str, teams: Sequence[str]) -> str:
    if not first or period not in (2, 3, 4):
        return ""
    return first if period == 4 else _opponent(first, teams)


def _after(event: Event, ball: str, loose: bool, foul: str, teams: Sequence[str]) -> tuple[str, bool]:
    """Return the team that has the ball after an event, and whether a shot of it is in the air.

    Args:
        event: the event.
        ball: the team that had it before.
        loose: whether a shot of that team was in the air.
        foul: kind of the last foul.
        teams: NBA codes of both teams.
    """
    team, other = event.team, _opponent(event.team, teams)
    match event.kind:
        case EventKind.JUMP_BALL:
            return team, False  # empty if the source does not name the winner
        case EventKind.REBOUND if not loose and ball and not event.player:
            return ball, False  # a team rebound: of a dead ball between free throws
        case EventKind.REBOUND | EventKind.STEAL:
            return team or ball, False
        case EventKind.TURNOVER:
            return other or ball, False
        case EventKind.FOUL if not any(each in foul for each in _NEUTRAL_FOULS):
            return other or ball, False
        case EventKind.FREE_THROW if event.attempt < event.attempts and not _leaves_the_ball(event, foul):
            return team, False
        case EventKind.SHOT | EventKind.FREE_THROW if not _leaves_the_ball(event, foul):
            return (other, False) if event.made else (team, True)
    return ball, loose


def _leaves_the_ball(event: Event, foul: str) -> bool:
    """Return whether an event is a free throw after which the ball stays with the team that has it."""
    special = _keeps_the_ball(foul, event.attempts) or any(each in event.detail for each in _SPECIAL_FREE_THROWS)
    return event.kind is EventKind.FREE_THROW and special


def _keeps_the_ball(foul: str, free_throws: int) -> bool:
    """Return whether the team that has the ball keeps it after the free throws of a foul."""
    keeping = (*_KEEPING_FOULS, *_KEEPING_SINGLE_FOULS) if free_throws == 1 else _KEEPING_FOULS
    return any(each in foul for each in keeping)


def _opponent(team: str, teams: Sequence[str]) -> str:
    return next((other for other in teams if team and other != team), "")
