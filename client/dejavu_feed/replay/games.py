"""Games for a replay: from a file of recorded plays, or simulated; and extended into overtime."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dejavu_feed.eligibility import exclusion_reason
from dejavu_feed.errors import DataError, FeedNotInstalled
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, REGULATION_MINUTES, Score
from dejavu_feed.replay.simulate import simulate_game
from dejavu_feed.teams import TEAMS, team_code

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SIMULATED: Final = len(TEAMS) // 2
_COLUMNS: Final = ("game_id", "home", "away", "elapsed_s", "home_score", "away_score")
_DATE: Final = "game_date"
_IDLE_SECONDS: Final = 12.0
"""Typical maximum number of seconds of play between two plays of a feed."""
_HOME_EDGE: Final = (2.5, 5.0)
"""Mean and standard deviation of a home team's expected margin, in points."""
_END: Final = 4 * QUARTER_SECONDS
_THREE_QUARTERS: Final = 3 * QUARTER_SECONDS


@dataclass(frozen=True, slots=True)
class ReplayGame:
    """A recorded or simulated game.

    Attributes:
        source: identifier of the game in its source.
        home, away: NBA codes.
        scores: every change of the score in chronological order; rows without a change are plays without points.
        day: local date of the game; None: the day on which it is replayed.
    """

    source: str
    home: str
    away: str
    scores: tuple[Score, ...]
    day: date | None = None


def draw_matchups(rng: random.Random, count: int) -> tuple[tuple[str, str], ...]:
    """Draw the matchups of an evening of `count` games as (home, away) NBA codes; no team plays twice.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    if not 1 <= count <= MOST_SIMULATED:
        raise ValueError(f"{count} games requested; an evening of {len(TEAMS)} teams has 1 to {MOST_SIMULATED}")
    teams = rng.sample(sorted(TEAMS), 2 * count)
    return tuple(zip(teams[::2], teams[1::2], strict=True))


def draw_home_edge(rng: random.Random) -> float:
    """Draw a home team's expected final margin in points, independent of the teams' real strength."""
    return rng.gauss(*_HOME_EDGE)


def simulated_game(
    rng: random.Random, number: int, home: str, away: str, edge: float, day: date | None = None
) -> ReplayGame:
    """Simulate one game of an evening.

    Args:
        rng: random number generator.
        number: number of the game, from 1.
        home: NBA code of the home team.
        away: NBA code of the away team.
        edge: the home team's expected final margin, in points.
        day: local date of the game; None: the day on which it is replayed.
    """
    return ReplayGame(f"simulated {number}", home, away, fill_idle_plays(simulate_game(rng, home_edge=edge)), day)


def simulated_evening(rng: random.Random, count: int, day: date | None = None) -> tuple[ReplayGame, ...]:
    """Simulate `count` games in which no team plays twice. Team strengths are random.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    return tuple(
        simulated_game(rng, number, home, away, draw_home_edge(rng), day)
        for number, (home, away) in enumerate(draw_matchups(rng, count), 1)
    )


def recorded_evening(path: Path, day: date) -> tuple[tuple[ReplayGame, ...], tuple[str, ...]]:
    """Read the games of a day from a file of plays (.parquet or .csv; format in docs/training.md), in the file's order.

    The rows of a game may be in pages that overlap, in any order of the pages.

    Returns:
        The games, and the reasons why other games of that day are excluded: not eligible (dejavu_feed.eligibility), an
        unknown team, or a missing value.

    Raises:
        DataError: if the file cannot be read, lacks a column, or no game of that day can be replayed.
        FeedNotInstalled: if pyarrow is missing.
    """
    games: list[ReplayGame] = []
    excluded: list[str] = []
    by_game: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(path, f"{day:%Y%m%d}"):
        by_game.setdefault(str(row["game_id"]), []).append(row)
    for source, of_game in by_game.items():
        try:
            games.append(_game_of(source, of_game, day))
        except ValueError as error:
            excluded.append(f"{source}: {error}")
    if not games:
        raise DataError(f"{path}: no game of {day} to replay" + "".join(f"; {reason}" for reason in excluded))
    return tuple(games), tuple(excluded)


def _game_of(source: str, rows: Sequence[dict[str, Any]], day: date) -> ReplayGame:
    """Build a game from its rows. Raise a ValueError that says why, if it cannot be replayed."""
    if missing := {column for row in rows for column in _COLUMNS if row[column] is None}:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    home, away = team_code(rows[0]["home"]), team_code(rows[0]["away"])
    scores = tuple(Score(float(row["elapsed_s"]), row["home_score"], row["away_score"]) for row in rows)
    if any(after.elapsed < before.elapsed for before, after in itertools.pairwise(scores)):
        scores = tuple(sorted(dict.fromkeys(scores), key=lambda score: score.elapsed))  # pages that overlap
    if scores[0].elapsed < 0:
        raise ValueError("a row is before tip-off")
    if reason := exclusion_reason(away, scores):
        raise ValueError(reason)
    return ReplayGame(source, home, away, fill_idle_plays(scores), day)


def extend_to_overtime(game: ReplayGame) -> ReplayGame:
    """Extend a game: the losing team ties it in the last quarter and loses in overtime.

    Earlier quarters are unchanged. A game that already has an overtime is returned unchanged.
    """
    if game.scores[-1].elapsed > _END:
        return game
    final = game.scores[-1]
    behind = abs(final.home - final.away)
    threes = math.ceil(behind / 3)
    home_behind = final.home < final.away
    # The threes are spread over the last quarter; the last one is in its last second.
    times = [_THREE_QUARTERS + (QUARTER_SECONDS - 1.0) * number / threes for number in range(1, threes + 1)]

    def caught_up(score: Score) -> Score:
        added = min(behind, 3 * sum(time <= score.elapsed for time in times))
        home, away = (added, 0) if home_behind else (0, added)
        return Score(score.elapsed, score.home + home, score.away + away)

    inserted = [Score(time, *_at(game.scores, time)) for time in times]
    timeline = sorted([*game.scores, *inserted], key=lambda score: score.elapsed)
    scores = [caught_up(score) for score in timeline]
    level = scores[-1]
    for minute in range(1, OVERTIME_SECONDS // 60):
        home, away = scores[-1].home, scores[-1].away
        winner_scores = minute != 2
        home_scores = home_behind != winner_scores
        scores.append(Score(level.elapsed + 1 + 60.0 * minute, home + 2 * home_scores, away + 2 * (not home_scores)))
    return replace(game, scores=tuple(scores))


def _at(scores: tuple[Score, ...], time: float) -> tuple[int, int]:
    return max(((score.home, score.away) for score in scores if score.elapsed <= time), key=sum, default=(0, 0))


def fill_idle_plays(scores: Sequence[Score]) -> tuple[Score, ...]:
    """Return the same timeline with a row at least every `_IDLE_SECONDS` seconds of play.

    Recorded and simulated games contain only score changes. A real feed also lists rebounds, fouls and turnovers, so
    the end of each minute becomes visible soon after it. Without such plays a poller would wait for the next basket.
    """
    end = max(60.0 * REGULATION_MINUTES, scores[-1].elapsed)
    rows: list[Score] = []
    for score, then in itertools.pairwise([*scores, scores[-1]._replace(elapsed=end)]):
        gap = then.elapsed - score.elapsed
        parts = math.ceil(gap / _IDLE_SECONDS)
        rows.append(score)
        rows += [score._replace(elapsed=round(score.elapsed + gap * number / parts, 1)) for number in range(1, parts)]
    return tuple(rows)


def _rows(path: Path, day: str) -> list[dict[str, Any]]:
    """Read the rows of a day's games, in the file's order."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.compute as pc  # noqa: PLC0415
    except ImportError as error:
        raise FeedNotInstalled(
            f"{error.name} is missing; a file of games needs the extra live: pip install 'dejavu-forecast[live]'"
        ) from error
    try:
        table = _table(path)
        if _DATE in table.column_names:  # NBA game ids do not start with the date
            days = pc.strftime(table[_DATE].cast(pa.date32()), format="%Y%m%d")
        else:
            days = pc.utf8_slice_codeunits(table["game_id"].cast(pa.string()), 0, 8)
        rows: list[dict[str, Any]] = table.filter(pc.equal(days, day)).to_pylist()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"{path}: not a file of plays: {error}") from error
    if not rows:
        covered = pc.min_max(days).as_py()
        raise DataError(f"{path}: no game of {day}; it covers {covered['min']} to {covered['max']}")
    return rows


def _table(path: Path) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import csv, parquet  # noqa: PLC0415

    if path.suffix.lower() == ".csv":
        types = dict.fromkeys(("game_id", "home", "away"), pa.string()) | dict.fromkeys(_COLUMNS[4:], pa.int64())
        options = csv.ConvertOptions(
            column_types=types | {"elapsed_s": pa.float64(), _DATE: pa.date32()}, strings_can_be_null=True
        )
        table = csv.read_csv(path, convert_options=options)
        return table.select([*_COLUMNS, *_dates(table.column_names)])
    return parquet.read_table(path, columns=[*_COLUMNS, *_dates(parquet.read_schema(path).names)])


def _dates(columns: Sequence[str]) -> list[str]:
    """Return the date column, if the file has one."""
    return [_DATE] if _DATE in columns else []
