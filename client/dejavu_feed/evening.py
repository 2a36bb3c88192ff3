"""The games of an evening, to be played again: from a file of recorded plays, or out of chance."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dejavu_feed.errors import BadGamesFile, FeedNotInstalled
from dejavu_feed.names import TEAMS, team_code
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, Score
from dejavu_feed.simulate import simulate_game

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SIMULATED: Final = len(TEAMS) // 2
_COLUMNS: Final = ("game_id", "home", "away", "elapsed_s", "home_score", "away_score")
_HOME_EDGE: Final = (2.5, 5.0)
"""Mean and standard deviation of a home team's expected margin, in points."""


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """A game that was played, or might have been.

    Attributes:
        source: what it is called where it comes from.
        home, away: NBA codes.
        scores: every change of the score, in order of time.
    """

    source: str
    home: str
    away: str
    scores: tuple[Score, ...]


def period_of(elapsed: float) -> int:
    """The period (1–4, overtimes from 5 on) of a moment; the moment at which one ends is its own."""
    regulation = 4 * QUARTER_SECONDS
    if elapsed <= regulation:
        return max(1, -int(-elapsed // QUARTER_SECONDS))
    return 4 - int(-(elapsed - regulation) // OVERTIME_SECONDS)


def simulated_evening(rng: random.Random, count: int) -> tuple[PlayedGame, ...]:
    """`count` simulated games in which no team plays twice.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    if not 1 <= count <= MOST_SIMULATED:
        raise ValueError(f"{count} games asked for; an evening of {len(TEAMS)} teams has 1 to {MOST_SIMULATED}")
    teams = rng.sample(sorted(TEAMS), 2 * count)
    return tuple(
        PlayedGame(
            source=f"simulated {number}",
            home=home,
            away=away,
            scores=tuple(simulate_game(rng, home_edge=rng.gauss(*_HOME_EDGE))),
        )
        for number, (home, away) in enumerate(zip(teams[::2], teams[1::2], strict=True), 1)
    )


def recorded_evening(path: Path, day: date) -> tuple[tuple[PlayedGame, ...], tuple[str, ...]]:
    """The games of a day in a file of plays (.parquet or .csv; docs/data.md gives the format), in the file's order.

    Returns:
        The games, and why others of that day are left out: no away team or an unknown one, tied at the end, a quarter
        without a row, rows that run back in time.

    Raises:
        BadGamesFile: if the file cannot be read, lacks a column, or no game of that day can be played again.
        FeedNotInstalled: if pyarrow is missing.
    """
    games: list[PlayedGame] = []
    left_out: list[str] = []
    rows = _rows(path, f"{day:%Y%m%d}")
    for source, of_game in itertools.groupby(rows, key=lambda row: str(row["game_id"])):
        played = list(of_game)
        why = _not_playable(played)
        if why:
            left_out.append(f"{source}: {why}")
            continue
        scores = tuple(Score(float(row["elapsed_s"]), row["home_score"], row["away_score"]) for row in played)
        games.append(PlayedGame(source, team_code(played[0]["home"]), team_code(played[0]["away"]), scores))
    if not games:
        raise BadGamesFile(f"{path}: no game of {day} to play again" + "".join(f"; {reason}" for reason in left_out))
    return tuple(games), tuple(left_out)


def _not_playable(rows: Sequence[dict[str, Any]]) -> str:
    """Why a game is left out; "" if it is not."""
    if missing := {column for row in rows for column in _COLUMNS if row[column] is None}:
        return f"{', '.join(sorted(missing))} is missing"
    for code in (rows[0]["home"], rows[0]["away"]):
        try:
            team_code(code)
        except ValueError as error:
            return str(error)
    moments = [row["elapsed_s"] for row in rows]
    if moments != sorted(moments) or moments[0] < 0:
        return "its rows run back in time"
    if empty := {1, 2, 3, 4} - {period_of(moment) for moment in moments if moment > 0}:
        return f"quarter {min(empty)} has no row"
    if rows[-1]["home_score"] == rows[-1]["away_score"]:
        return "it ends tied"
    return ""


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
            column_types=types | {"elapsed_s": pa.float64()},
            include_columns=list(_COLUMNS),
            strings_can_be_null=True,
        )
        return csv.read_csv(path, convert_options=options)
    return parquet.read_table(path, columns=list(_COLUMNS))
