"""The completed games of a ledger: data to train on, minute by minute.

The ledger stores differentials, the live inputs of a minute if its forecast was requested with them, and the total
points at the end if they were reported with the outcome. The scores are the lowest ones with these differentials: the
home score rises by each rise of the differential, the away score by each fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from dejavu_feed.files.plays_format import MAX_SCORE
from dejavu_feed.game_ids import COMPETITIVE, is_league_id, is_replay, season_of
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_feed.pattern import REGULATION_MINUTES, Score
from dejavu_feed.teams import team_code
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_models.scorecard.doubtful import MAX_CORRECTION
from dejavu_models.types import MAX_SLOTS, Horizon


@dataclass(frozen=True, slots=True)
class CompletedGame:
    """A game with forecasts and a final outcome.

    Attributes:
        game_id: NBA game id, or that of a replay.
        season: year in which the season ends.
        day: local date of the game.
        phase: RS (regular season), PI (play-in) or PO (playoffs); RS for replays.
        home, away: NBA codes.
        scores: at tip-off, at the end of each known minute, and the final score, dated at the end of regulation.
        live: minute → live inputs at its end, of the minutes for which any was recorded. The total points of the last
            minute of regulation are those of the whole game.
    """

    game_id: str
    season: int
    day: date
    phase: str
    home: str
    away: str
    scores: tuple[Score, ...]
    live: Mapping[int, LiveInputs]


@dataclass(frozen=True, slots=True)
class SkippedGame:
    """A game that ended but can't be used for training."""

    game_id: str
    reason: str


def completed_games(
    connection: Connection, *, min_minutes: int = MAX_SLOTS, include_replays: bool = False
) -> Iterator[CompletedGame | SkippedGame]:
    """Yield the games with a final outcome, in the order in which these outcomes were first reported.

    Uses the pattern of the owner's forecast, in time when it was recorded and of the outcome's sides, that covers the
    most minutes; among those, the last one recorded. A reported halftime outcome replaces the pattern's differential
    at the half.

    Args:
        connection: a read connection.
        min_minutes: minutes that a pattern must cover, 37 to 47, so that it reaches the last quarter; later minutes are
            carried forward.
        include_replays: also yield games of replays and simulated seasons.
    """
    for row in sql.rows(connection, _FINALS, half=Horizon.HALFTIME.value, final=Horizon.FINAL.value):
        final = _Final(*row)
        if include_replays or not is_replay(final.game_id):
            try:
                yield _completed(connection, final, min_minutes)
            except _Unfit as reason:
                yield SkippedGame(final.game_id, str(reason))


class _Unfit(Exception):
    """Why a game can't be used for training."""


class _Final(NamedTuple):
    """A standing final outcome, the halftime outcome, and the forecast that covers the most minutes; None if none.

    Attributes:
        sequence: sequence of the final outcome.
        since: sequence from which models learn from forecasts of the game.
    """

    sequence: int
    game_id: str
    differential: int
    total_points: int | None
    home_team: str
    away_team: str
    half: int | None
    pattern: str | None
    day: int | None
    forecast_home: str | None
    forecast_away: str | None
    since: int


def _completed(connection: Connection, final: _Final, min_minutes: int) -> CompletedGame:
    game_id = final.game_id
    if final.pattern is None or final.day is None:
        raise _Unfit("it was not forecast")
    if not is_replay(game_id) and not is_league_id(game_id):
        raise _Unfit("the NBA gives no game such an id")
    phase = "RS" if is_replay(game_id) else COMPETITIVE.get(game_id[:3])
    if phase is None:
        raise _Unfit("it is not of the regular season, play-in or playoffs")
    teams = final.home_team or final.forecast_home, final.away_team or final.forecast_away
    try:
        home, away = (team_code(team or "") for team in teams)
    except ValueError:
        raise _Unfit("its teams are not known") from None
    pattern: list[float] = json.loads(final.pattern)
    if len(pattern) < min_minutes:
        raise _Unfit(f"its minutes are known up to {len(pattern)}; expected {min_minutes}")
    if final.half is not None:
        pattern[Horizon.HALFTIME.minutes - 1] = final.half
    differentials = [int(value) for value in pattern]
    if differentials != pattern:
        raise _Unfit("one of its differentials is not a whole number of points")
    scores = _lowest_scores(differentials, final.differential)
    if max(scores[-1].home, scores[-1].away) > MAX_SCORE:
        raise _Unfit(f"its differentials move by more than {MAX_SCORE} points")
    live = _live_inputs(connection, final, differentials)
    if final.total_points is not None:
        live[REGULATION_MINUTES] = LiveInputs(total_points=final.total_points)
    day = date.fromordinal(final.day)
    # The ids of replays have no season: take that of the date, from September on the next one.
    season = season_of(game_id) or day.year + (day.month >= 9)
    return CompletedGame(game_id, season, day, phase, home, away, scores, live)


def _live_inputs(connection: Connection, final: _Final, differentials: Sequence[int]) -> dict[int, LiveInputs]:
    """Return the newest recorded inputs of each minute, from forecasts with the differential of the game.

    Raises:
        _Unfit: if a forecast of it has other differentials: then one of the callers describes another game.
    """
    found: dict[int, LiveInputs] = {}
    for minute, text_of_pattern, canonical in sql.rows(
        connection, _REQUESTS, outcome=final.sequence, since=final.since
    ):
        live, pattern = codec.parse(canonical, explanation=False).live, json.loads(text_of_pattern)
        for number, pair in enumerate(zip(pattern, differentials, strict=False), 1):
            if abs(pair[0] - pair[1]) > MAX_CORRECTION:
                raise _Unfit(f"its forecasts differ about minute {number}: {pair[0]:+g} and {pair[1]:+g}")
        if live != NO_LIVE_INPUTS and pattern[-1:] == differentials[minute - 1 : minute]:
            found[minute] = live
    return found


def _lowest_scores(differentials: Sequence[int], final: int) -> tuple[Score, ...]:
    scores = [Score(0.0, 0, 0)]
    minutes = [*range(1, len(differentials) + 1), REGULATION_MINUTES]
    for minute, (before, after) in zip(minutes, pairwise([0, *differentials, final]), strict=True):
        _, home, away = scores[-1]
        scores.append(Score(60.0 * minute, home + max(after - before, 0), away + max(before - after, 0)))
    return tuple(scores)


_USED: Final = """
    f.game_id = o.game_id AND f.owned AND f.late = ''
      AND NOT (o.home_team <> '' AND f.home_team = o.away_team AND f.away_team = o.home_team)"""
"""Condition of a row `f` of `forecasts`: of the owner, in time when recorded, and of the sides of the outcome `o`."""

_REQUESTS: Final = f"""
    SELECT f.minute, f.pattern, e.canonical
    FROM outcomes o JOIN forecasts f ON {_USED} JOIN entries e ON e.sequence = f.sequence
    WHERE o.sequence = :outcome AND f.sequence >= :since AND f.at_moment = FALSE
    ORDER BY f.sequence
"""  # noqa: S608

_FINALS: Final = f"""
    SELECT o.sequence, o.game_id, o.differential, o.total_points, o.home_team, o.away_team,
      (SELECT CASE WHEN h.withdrawn THEN NULL ELSE h.differential END FROM outcomes h
        WHERE h.game_id = o.game_id AND h.horizon = :half ORDER BY h.revision DESC LIMIT 1),
      best.pattern, best.day, best.home_team, best.away_team, s.since
    FROM scores s JOIN outcomes o ON o.sequence = s.outcome LEFT JOIN forecasts best ON best.sequence = (
      SELECT f.sequence FROM forecasts f WHERE {_USED} AND f.sequence >= s.since
      ORDER BY f.minute DESC, f.sequence DESC LIMIT 1)
    WHERE s.horizon = :final ORDER BY s.first_sequence
"""  # noqa: S608
