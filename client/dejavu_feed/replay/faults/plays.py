"""Faults of a game's plays that are mended while it goes on: scores that are corrected, plays that are withdrawn.

Such a mistake stands from its play on until it is mended; then every play that it had touched is marked as edited.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.payloads import Json, LiveGame, clock_text
from dejavu_feed.replay.timeline import PACE, TimedPlay, Timeline, period_end

_CORRECTED_AFTER: Final = (30.0, 200.0)
"""Life seconds that a mistake stands, at least and at most."""
_SHARE_CORRECTED: Final = 0.08
"""Of made shots."""
_SHARE_WITHDRAWN: Final = 0.02
"""Of all plays, the share that is followed by one that never was."""
_SOON: Final = 25.0
"""Life seconds within which the mistakes are mended that the last pattern of a half, or of regulation, rests on."""
_TURNS: Final = ((2, 360.0), (2, 60.0), (4, 60.0))
"""Period and seconds left where each game's pattern is wrong, and complete too early, for a while: at 6:00 of the
second quarter, and at the ends of the last minutes from which the half and the end are forecast."""


@dataclass(frozen=True, slots=True)
class ScoringError:
    """Something wrong in a game's plays, for a while.

    Attributes:
        index: the play that is wrong, or after which there is one that never was.
        until: when it is mended, in life seconds since tip-off.
        home, away: points too many (or too few) from that play on.
        false: period and clock (seconds left) of a play that never was; None where a play is only wrong.
    """

    index: int
    until: float
    home: int
    away: int
    false: tuple[int, float] | None = None

    @property
    def first(self) -> int:
        """The first play whose score it touches."""
        return self.index if self.false is None else self.index + 1


def draw_scoring_errors(
    timeline: Timeline, kinds: frozenset[FeedFaultKind], rng: random.Random
) -> tuple[ScoringError, ...]:
    """The mistakes of a game.

    The last shot before 6:00 of the second quarter is always among those that are corrected, and a shot just past 6:00
    among those that never were, so that each game's pattern is wrong, and complete too early, for a while. So it is
    with 1:00 of the second and of the fourth quarter.
    """
    plays = timeline.plays
    last = {
        turn: max(index for index, play in enumerate(plays) if (play.period, -play.clock) <= (turn[0], -turn[1]))
        for turn in _TURNS
    }
    shots = [index for index, play in enumerate(plays) if play.points]
    found: list[ScoringError] = []
    if FeedFaultKind.CORRECTED in kinds:
        wrong = {index for index in shots if rng.random() < _SHARE_CORRECTED}
        wrong |= {max((shot for shot in shots if shot <= index), default=shots[0]) for index in last.values()}
        found += [_wrong_shot(plays[index], index, rng) for index in sorted(wrong)]
    if FeedFaultKind.WITHDRAWN in kinds:
        false = {
            index: (play.period, play.clock)
            for index, play in enumerate(plays[:-1])
            if rng.random() < _SHARE_WITHDRAWN and index not in last.values()
        }
        for (period, left), index in last.items():
            false[index] = (period, left - rng.choice([1.0, 5.0, 20.0]))
        found += [_false_shot(plays[index], index, moment, rng) for index, moment in sorted(false.items())]
    return tuple(found)


def apply_scoring_errors(payload: Json, game: LiveGame, wrong: Sequence[ScoringError]) -> None:
    """Puts a game's mistakes into the payload of its plays, in place, as they stand at the moment of the payload."""
    actions: list[dict[str, Any]] = payload["game"]["actions"]
    of_plays = list(actions)
    for mistake in wrong:
        if mistake.index >= len(of_plays):
            continue
        if game.at >= mistake.until:
            _mark_edited(of_plays, mistake, game)
            continue
        if mistake.false is not None:
            actions.append(_false_action(of_plays[mistake.index], mistake, *mistake.false))
        for action in of_plays[mistake.first :]:
            add_points(action, mistake.home, mistake.away)


def add_points(action: dict[str, Any], home: int, away: int) -> None:
    """Alters the score of a play in place."""
    action["scoreHome"] = str(max(0, int(action["scoreHome"]) + home))
    action["scoreAway"] = str(max(0, int(action["scoreAway"]) + away))


def _wrong_shot(play: TimedPlay, index: int, rng: random.Random) -> ScoringError:
    """A shot that counts a point too few or too many, or for the other team."""
    until = _corrected(play, rng)
    own, other = rng.choice([(-1, 0), (1, 0), (-play.points, play.points)])
    return ScoringError(index, until, *((own, other) if play.by_home else (other, own)))


def _false_shot(play: TimedPlay, index: int, moment: tuple[int, float], rng: random.Random) -> ScoringError:
    """A shot of two or three points that never was."""
    points = rng.choice([2, 3])
    home, away = rng.choice([(points, 0), (0, points)])
    return ScoringError(index, _corrected(play, rng), home, away, moment)


def _corrected(play: TimedPlay, rng: random.Random) -> float:
    """When a mistake at a play is mended: soon, if the last pattern of the half or of regulation could rest on it."""
    until = play.at + rng.uniform(*_CORRECTED_AFTER)
    last_minutes = (period_end(period) - 60 * PACE for period in (2, 4))
    return min(until, *(begin + _SOON for begin in last_minutes if play.at <= begin), math.inf)


def _false_action(before: dict[str, Any], mistake: ScoringError, period: int, clock: float) -> dict[str, Any]:
    action = before | {
        "actionNumber": before["actionNumber"] + 1_000,
        "orderNumber": before["orderNumber"] + 5_000,
        "clock": clock_text(clock),
        "period": period,
        "actionType": f"{mistake.home + mistake.away}pt",
        "subType": "Jump Shot",
        "shotResult": "Made",
        "isFieldGoal": 1,
    }
    add_points(action, mistake.home, mistake.away)
    return action


def _mark_edited(actions: Sequence[dict[str, Any]], mistake: ScoringError, game: LiveGame) -> None:
    edited = f"{game.wall_time(mistake.until).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for action, play in zip(actions[mistake.first :], game.plays[mistake.first :], strict=True):
        if play.at < mistake.until:
            action["edited"] = max(action["edited"], edited)
