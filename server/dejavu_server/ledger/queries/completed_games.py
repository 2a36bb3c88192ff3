"""The games that a ledger has seen to their end, minute by minute: enough to train on.

The ledger knows differentials. Of the scores that have them it gives the least: the home team's rise by what the
differential rises, the away team's by what it falls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from dejavu_feed.names import is_replay, season_of, team_code
from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, Score
from dejavu_models.types import MAX_SLOTS, Horizon
from dejavu_server.ledger.database.schema import forecasts, outcomes

MIN_MINUTES = 37
"""The fewest minutes that a pattern may cover: into the last quarter; a game with a quarter without a row is none."""

MAX_SCORE = 400
"""Bound of one team's score in a file of plays, in points."""

_PAGE = 500

_TYPES = {"2": "RS", "4": "PO", "5": "PI", "6": "RS"}
"""By the third digit of an id of the NBA; 6 is the final of its cup."""


@dataclass(frozen=True, slots=True)
class CompletedGame:
    """A game that was forecast and ended.

    Attributes:
        game_id: the NBA's id, or a replay's.
        season: the year in which its season ends.
        day: its local date.
        phase: RS (regular season), PI (play-in) or PO (playoffs); of replays RS.
        home, away: NBA codes.
        scores: at tip-off, at the end of each minute that is known, and at the end, which counts as that of regulation.
    """

    game_id: str
    season: int
    day: date
    phase: str
    home: str
    away: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class SkippedGame:
    """A game that ended and can't be given."""

    game_id: str
    reason: str


def completed_games(
    connection: Connection, *, least_minutes: int = MAX_SLOTS, include_replays: bool = False
) -> Iterator[CompletedGame | SkippedGame]:
    """The games with a final outcome, in the order in which these were first reported.

    Of a game's forecasts it takes the pattern that covers most minutes, and of those the one recorded last. The half is
    as it was reported, if it was.

    Args:
        connection: one that reads.
        least_minutes: how many minutes a pattern must cover, LEAST_MINUTES to 47; those after it are carried forward.
        include_replays: whether games of replays and simulated seasons count too.
    """
    place = 0
    while page := connection.execute(_FINALS.where(outcomes.c.first_sequence > place).limit(_PAGE)).all():
        for row in page:
            if include_replays or not is_replay(row.game_id):
                yield _game(row, least_minutes)
        place = page[-1].first_sequence


def _game(row: Row[Any], least_minutes: int) -> CompletedGame | SkippedGame:
    def left_out(reason: str) -> SkippedGame:
        return SkippedGame(row.game_id, reason)

    if row.pattern is None:
        return left_out("it was not forecast")
    phase = "RS" if is_replay(row.game_id) else _TYPES.get(row.game_id[2])
    if phase is None:
        return left_out("it is of no regular season, play-in or playoffs")
    try:
        home, away = team_code(row.home_team or row.told_home), team_code(row.away_team or row.told_away)
    except ValueError:
        return left_out("its teams are not known")
    differentials: list[float] = json.loads(row.pattern)
    if len(differentials) < least_minutes:
        return left_out(f"its minutes are known up to {len(differentials)}; expected {least_minutes}")
    if row.half is not None:
        differentials[HALFTIME_MINUTES - 1] = row.half
    if any(value != int(value) for value in differentials):
        return left_out("a differential of it is not a whole number of points")
    scores = _least_scores([int(value) for value in differentials], row.differential)
    if max(scores[-1].home, scores[-1].away) > MAX_SCORE:
        return left_out(f"its differentials move by more than {MAX_SCORE} points")
    day = date.fromordinal(row.day)
    return CompletedGame(row.game_id, _season(row.game_id, day), day, phase, home, away, scores)


def _least_scores(differentials: list[int], final: int) -> tuple[Score, ...]:
    scores = [Score(0.0, 0, 0)]
    minutes = [*range(1, len(differentials) + 1), REGULATION_MINUTES]
    for minute, (before, after) in zip(minutes, pairwise([0, *differentials, final]), strict=True):
        _, home, away = scores[-1]
        scores.append(Score(60.0 * minute, home + max(after - before, 0), away + max(before - after, 0)))
    return tuple(scores)


def _season(game_id: str, day: date) -> int:
    """By the id; that of a replay, which does not tell, by its date: seasons begin in October."""
    return season_of(game_id) or day.year + (day.month >= 9)


_later = outcomes.alias("later")
_half = outcomes.alias("half")
_best = forecasts.alias("best")

_FINALS: Select[Any] = (
    select(
        outcomes.c.first_sequence,
        outcomes.c.game_id,
        outcomes.c.differential,
        outcomes.c.home_team,
        outcomes.c.away_team,
        forecasts.c.pattern,
        forecasts.c.day,
        forecasts.c.home_team.label("told_home"),
        forecasts.c.away_team.label("told_away"),
        select(_half.c.differential)
        .where(_half.c.game_id == outcomes.c.game_id, _half.c.horizon == Horizon.HALFTIME.value)
        .order_by(_half.c.revision.desc())
        .limit(1)
        .scalar_subquery()
        .label("half"),
    )
    .select_from(outcomes)
    .outerjoin(
        forecasts,
        forecasts.c.sequence
        == select(_best.c.sequence)
        .where(_best.c.game_id == outcomes.c.game_id)
        .order_by(_best.c.minute.desc(), _best.c.sequence.desc())
        .limit(1)
        .scalar_subquery(),
    )
    .where(
        outcomes.c.horizon == Horizon.FINAL.value,
        ~select(_later.c.sequence)
        .where(
            _later.c.game_id == outcomes.c.game_id,
            _later.c.horizon == outcomes.c.horizon,
            _later.c.revision > outcomes.c.revision,
        )
        .exists(),
    )
    .order_by(outcomes.c.first_sequence)
)
