"""Scoring errors in a game's plays that are corrected during the game: wrong scores and plays that did not happen.

A scoring error affects the scores from its play on until it is corrected; then all affected plays are marked as edited.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from dejavu_feed.replay.payloads import Json, LiveGame, clock_text
from dejavu_feed.replay.timeline import PACE, TimedPlay, Timeline, period_end

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
