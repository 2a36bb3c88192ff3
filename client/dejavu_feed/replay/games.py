"""The games of an evening, to be played again: from a file of recorded plays, or out of chance."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dejavu_feed.eligibility import exclusion_reason
from dejavu_feed.errors import BadGamesFile, FeedNotInstalled
from dejavu_feed.names import TEAMS, team_code
from dejavu_feed.pattern import REGULATION_MINUTES, Score
from dejavu_feed.replay.simulate import simulate_game

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SIMULATED: Final = len(TEAMS) // 2
_COLUMNS: Final = ("game_id", "home", "away", "elapsed_s", "home_score", "away_score")
_DATE: Final = "game_date"
_IDLE_SECONDS: Final = 12.0
"""Seconds of play in which a feed tells of something, as a rule."""
_HOME_EDGE: Final = (2.5, 5.0)
"""Mean and standard deviation of a home team's expected margin, in points."""


@dataclass(frozen=True, slots=True)
class ReplayGame:
    """A game that was played, or might have been.

    Attributes:
        source: what it is called where it comes from.
        home, away: NBA codes.
        scores: every change of the score, in order of time; rows without one stand for plays that score nothing.
    """

    source: str
    home: str
    away: str
    scores: tuple[Score, ...]


def draw_matchups(rng: random.Random, count: int) -> tuple[tuple[str, str], ...]:
    """Who plays whom on an evening of `count` games, home and away: NBA codes, no team twice.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    if not 1 <= count <= MOST_SIMULATED:
        raise ValueError(f"{count} games asked for; an evening of {len(TEAMS)} teams has 1 to {MOST_SIMULATED}")
    teams = rng.sample(sorted(TEAMS), 2 * count)
    return tuple(zip(teams[::2], teams[1::2], strict=True))


def draw_home_edge(rng: random.Random) -> float:
    """A home team's expected final margin in points, out of chance: teams here are as strong as it falls."""
    return rng.gauss(*_HOME_EDGE)


def simulated_game(rng: random.Random, number: int, home: str, away: str, edge: float) -> ReplayGame:
    """The evening's game of that number, simulated.

    Args:
        rng: where chance comes from.
        number: from 1 on.
        home: NBA code of the home team.
        away: the same of the away team.
        edge: the home team's expected final margin, in points.
    """
    return ReplayGame(f"simulated {number}", home, away, fill_idle_plays(simulate_game(rng, home_edge=edge)))


def simulated_evening(rng: random.Random, count: int) -> tuple[ReplayGame, ...]:
    """`count` simulated games in which no team plays twice; how strong a team is has nothing to do with its name.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    return tuple(
        simulated_game(rng, number, home, away, draw_home_edge(rng))
        for number, (home, away) in enumerate(draw_matchups(rng, count), 1)
    )


def recorded_evening(path: Path, day: date) -> tuple[tuple[ReplayGame, ...], tuple[str, ...]]:
    """The games of a day in a file of plays (.parquet or .csv; docs/data.md gives the format), in the file's order.

    Returns:
        The games, and why others of that day are left out: by the rule (dejavu_feed.eligibility), for an unknown team,
        a value that is missing, or rows that run back in time.

    Raises:
        BadGamesFile: if the file cannot be read, lacks a column, or no game of that day can be played again.
        FeedNotInstalled: if pyarrow is missing.
    """
    games: list[ReplayGame] = []
    left_out: list[str] = []
    rows = _rows(path, f"{day:%Y%m%d}")
    for source, of_game in itertools.groupby(rows, key=lambda row: str(row["game_id"])):
        try:
            games.append(_played(source, list(of_game)))
        except ValueError as error:
            left_out.append(f"{source}: {error}")
    if not games:
        raise BadGamesFile(f"{path}: no game of {day} to play again" + "".join(f"; {reason}" for reason in left_out))
    return tuple(games), tuple(left_out)


def _played(source: str, rows: Sequence[dict[str, Any]]) -> ReplayGame:
    """The game that its rows tell of.

    Raises:
        ValueError: if it can't be played again; says why.
    """
    if missing := {column for row in rows for column in _COLUMNS if row[column] is None}:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    home, away = team_code(rows[0]["home"]), team_code(rows[0]["away"])
    scores = tuple(Score(float(row["elapsed_s"]), row["home_score"], row["away_score"]) for row in rows)
    moments = [score.elapsed for score in scores]
    if moments != sorted(moments) or moments[0] < 0:
        raise ValueError("its rows run back in time")
    if why := exclusion_reason(away, scores):
        raise ValueError(why)
    return ReplayGame(source, home, away, fill_idle_plays(scores))


def fill_idle_plays(scores: Sequence[Score]) -> tuple[Score, ...]:
    """The same course with a row at least every `_IDLE_SECONDS` seconds of play.

    Files of games, and simulated ones, have scores alone. A feed tells of every rebound, foul and turnover too, and so
    of the end of every minute soon after it: a replay without those would keep a poller waiting for the next basket.
    """
    end = max(60.0 * REGULATION_MINUTES, scores[-1].elapsed)
    rows: list[Score] = []
    for score, then in itertools.pairwise([*scores, scores[-1]._replace(elapsed=end)]):
        quiet = then.elapsed - score.elapsed
        pieces = math.ceil(quiet / _IDLE_SECONDS)
        rows.append(score)
        rows += [
            score._replace(elapsed=round(score.elapsed + quiet * number / pieces, 1)) for number in range(1, pieces)
        ]
    return tuple(rows)


def _rows(path: Path, day: str) -> list[dict[str, Any]]:
    """The rows of a day's games, in the file's order."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.compute as pc  # noqa: PLC0415
    except ImportError as error:
        raise FeedNotInstalled(
            f"{error.name} is missing; a file of games needs the extra live: pip install 'dejavu-forecast[live]'"
        ) from error
    try:
        table = _table(path)
        if _DATE in table.column_names:  # ids of the NBA do not begin with the date
            days = pc.strftime(table[_DATE].cast(pa.date32()), format="%Y%m%d")
        else:
            days = pc.utf8_slice_codeunits(table["game_id"].cast(pa.string()), 0, 8)
        rows: list[dict[str, Any]] = table.filter(pc.equal(days, day)).to_pylist()
    except FileNotFoundError as error:
        raise BadGamesFile(f"{path}: no such file") from error
    except (OSError, pa.ArrowException, KeyError) as error:
        raise BadGamesFile(f"{path}: not a file of plays: {error}") from error
    if not rows:
        covered = pc.min_max(days).as_py()
        raise BadGamesFile(f"{path}: no game of {day}; its days run from {covered['min']} to {covered['max']}")
    return rows


def _table(path: Path) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import csv, parquet  # noqa: PLC0415

    if path.suffix.lower() == ".csv":
        types = dict.fromkeys(("game_id", "home", "away"), pa.string()) | dict.fromkeys(_COLUMNS[4:], pa.int64())
        options = csv.ConvertOptions(
            column_types=types | {"elapsed_s": pa.float64(), _DATE: pa.date32()},
            strings_can_be_null=True,
        )
        table = csv.read_csv(path, convert_options=options)
        return table.select([*_COLUMNS, *_dates(table.column_names)])
    return parquet.read_table(path, columns=[*_COLUMNS, *_dates(parquet.read_schema(path).names)])


def _dates(columns: Sequence[str]) -> list[str]:
    """The column of dates, if a file has one."""
    return [_DATE] if _DATE in columns else []
