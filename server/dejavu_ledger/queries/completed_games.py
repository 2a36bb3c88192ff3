"""Completed games of a ledger, minute by minute, as data to train on.

The ledger stores differentials, the live inputs of a minute if its forecast was requested with
them, and the total points at the end if they were reported with the outcome. The scores are the lowest ones with these
differentials: the home score rises by each rise of the differential, the away score by each fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from dejavu_feed.game_ids import COMPETITIVE, is_league_id, is_replay, season_of
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs, from_json
from dejavu_feed.pattern import REGULATION_MINUTES, Score
from dejavu_feed.teams import team_code
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_models.scorecard.doubtful import MAX_CORRECTION
from dejavu_models.types import MAX_SLOTS, Horizon

MIN_MINUTES = 37
"""Minimum minutes of a pattern, so that it reaches the last quarter: games with an empty quarter don't count."""

MAX_SCORE = 400
"""Highest score of one team in a file of plays, in points."""

_PAGE = 500


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
    live: Mapping[int, LiveInputs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedGame:
    """A game that ended but can't be used for training."""

    game_id: str
    reason: str


def completed_games(
    connection: Connection, *, min_minutes: int = MAX_SLOTS, include_replays: bool = False
) -> Iterator[CompletedGame | SkippedGame]:
    """Yield the games with a final outcome, in the order in which these outcomes were first reported.

    Uses the pattern of the game's forecast that covers the most minutes; among those, the last one recorded. A reported
    halftime outcome replaces the pattern's differential at the half.

    Args:
        connection: a read connection.
        min_minutes: minutes that a pattern must cover, MIN_MINUTES to 47; later minutes are carried forward.
        include_replays: also yield games of replays and simulated seasons.
    """
    bounds = {"half": Horizon.HALFTIME.value, "final": Horizon.FINAL.value, "most": _PAGE}
    after = 0
    while page := [_Final(*row) for row in sql.rows(connection, _FINALS, **bounds, after=after)]:
        for final in page:
            if include_replays or not is_replay(final.game_id):
                game = _game(final, min_minutes)
                yield game if isinstance(game, SkippedGame) else _with_live_inputs(connection, game, final)
        after = page[-1].first_sequence


class _Final(NamedTuple):
    """A standing final outcome, the halftime outcome, and the forecast that covers the most minutes; None if none."""

    first_sequence: int
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


def _game(row: _Final, min_minutes: int) -> CompletedGame | SkippedGame:
    def skipped(reason: str) -> SkippedGame:
        return SkippedGame(row.game_id, reason)

    if row.pattern is None or row.day is None:
        return skipped("it was not forecast")
    if not is_replay(row.game_id) and not is_league_id(row.game_id):
        return skipped("the NBA gives no game such an id")
    phase = "RS" if is_replay(row.game_id) else COMPETITIVE.get(row.game_id[:3])
    if phase is None:
        return skipped("it is of no regular season, play-in or playoffs")
    teams = row.home_team or row.forecast_home, row.away_team or row.forecast_away
    try:
        home, away = (team_code(team or "") for team in teams)
    except ValueError:
        return skipped("its teams are not known")
    differentials: list[float] = json.loads(row.pattern)
    if len(differentials) < min_minutes:
        return skipped(f"its minutes are known up to {len(differentials)}; expected {min_minutes}")
    if row.half is not None:
        differentials[Horizon.HALFTIME.minutes - 1] = row.half
    if any(value != int(value) for value in differentials):
        return skipped("a differential of it is not a whole number of points")
    scores = _lowest_scores([int(value) for value in differentials], row.differential)
    if max(scores[-1].home, scores[-1].away) > MAX_SCORE:
        return skipped(f"its differentials move by more than {MAX_SCORE} points")
    day = date.fromordinal(row.day)
    # The ids of replays have no season: take that of the date, from September on the next one.
    season = season_of(row.game_id) or day.year + (day.month >= 9)
    return CompletedGame(row.game_id, season, day, phase, home, away, scores)


def _with_live_inputs(connection: Connection, game: CompletedGame, row: _Final) -> CompletedGame | SkippedGame:
    """Add the newest recorded inputs of each minute, from forecasts with the differential of the game's scores.

    Skips a game if a forecast of it has other differentials: then one of the callers describes another game.
    """
    differentials = [score.home - score.away for score in game.scores[1:-1]]
    found: dict[int, LiveInputs] = {}
    for minute, text_of_pattern, canonical in sql.rows(connection, _REQUESTS, game_id=game.game_id):
        live, pattern = from_json(json.loads(canonical)["payload"]["request"]), json.loads(text_of_pattern)
        for number, pair in enumerate(zip(pattern, differentials, strict=False), 1):
            if abs(pair[0] - pair[1]) > MAX_CORRECTION:
                told = f"{pair[0]:+g} and {pair[1]:+g}"
                return SkippedGame(game.game_id, f"its forecasts differ about minute {number}: {told}")
        if live != NO_LIVE_INPUTS and pattern[-1:] == differentials[minute - 1 : minute]:
            found[minute] = live
    if row.total_points is not None:
        found[REGULATION_MINUTES] = LiveInputs(total_points=row.total_points)
    return replace(game, live=found)


def _lowest_scores(differentials: list[int], final: int) -> tuple[Score, ...]:
    scores = [Score(0.0, 0, 0)]
    minutes = [*range(1, len(differentials) + 1), REGULATION_MINUTES]
    for minute, (before, after) in zip(minutes, pairwise([0, *differentials, final]), strict=True):
        _, home, away = scores[-1]
        scores.append(Score(60.0 * minute, home + max(after - before, 0), away + max(before - after, 0)))
    return tuple(scores)


_REQUESTS: Final = """
    SELECT f.minute, f.pattern, e.canonical FROM forecasts f JOIN entries e ON e.sequence = f.sequence
    WHERE f.game_id = :game_id AND f.late = '' AND f.at_moment = FALSE ORDER BY f.sequence
"""

_FINALS: Final = """
    SELECT s.first_sequence, o.game_id, o.differential, o.total_points, o.home_team, o.away_team,
      (SELECT CASE WHEN h.withdrawn THEN NULL ELSE h.differential END FROM outcomes h
        WHERE h.game_id = o.game_id AND h.horizon = :half ORDER BY h.revision DESC LIMIT 1),
      f.pattern, f.day, f.home_team, f.away_team
    FROM scores s JOIN outcomes o ON o.sequence = s.outcome LEFT JOIN forecasts f ON f.sequence = (
      SELECT b.sequence FROM forecasts b WHERE b.game_id = o.game_id AND b.late = ''
      ORDER BY b.minute DESC, b.sequence DESC LIMIT 1)
    WHERE s.first_sequence > :after AND s.horizon = :final ORDER BY s.first_sequence LIMIT :most
"""
