"""Results of the readers of files: games, problems and the games that are left out.

Also the rule that decides which recorded games are eligible, for both training and replays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_feed.events import Event
from dejavu_feed.pattern import QUARTER_MINUTES, Score, elapsed_seconds, period_of, slots

MAX_PROBLEMS: Final = 1_000
"""Number of problems after which no more rows are read: a problem takes a hundred times the memory of a short row."""

QUARTERS = frozenset({1, 2, 3, 4})

LARGEST_CHANGE: Final = 18
"""Largest plausible change of the differential in one minute, in points; the largest of 14,151 real games is 12."""

LONGEST_END: Final = 240
"""Largest plausible number of seconds without a score at the end of a game; the largest of 14,151 real ones is 190."""


@dataclass(frozen=True, slots=True)
class GameInFiles:
    """A game of one or several files.

    Attributes:
        game_id: the NBA's ten digits, or date and home team.
        phase: RS, PI or PO.
        day: local date.
        home, away: codes of the teams, as the files name them; `away` is None for a game that was never played.
        scores: every change of the score in chronological order.
        events: every play in chronological order; empty if the files have only scores.
        neutral_site: whether it is at a neutral site; None if no list of games says.
    """

    game_id: str
    phase: str
    day: date
    home: str
    away: str | None
    scores: tuple[Score, ...]
    events: tuple[Event, ...] = ()
    neutral_site: bool | None = None


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem in one row.

    Attributes:
        row: number of the data row, from 1.
        line: line of the file on which the row ends; None unless the file is text.
        column: name of the column; empty if the problem concerns the whole row.
        message: the invalid value and the expected one.
        file: the file, where there may be several; empty if there is one.
    """

    row: int
    line: int | None
    column: str
    message: str
    file: str = ""

    def located(self, file: Path) -> str:
        """Return the problem with its place in `file`, or in its own file."""
        if not self.file:
            return f"{file}: {self}"
        return f"{self.file} {f'row {self.row}' if self.line is None else f'line {self.line}'}: {self.message}"

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        column = f", {self.column}" if self.column else ""
        return f"row {self.row}{line}{column}: {self.message}"


@dataclass(frozen=True, slots=True)
class LeftOutGame:
    """A game of another project's files that cannot be used.

    Attributes:
        game_id: its id in the source.
        reason: why.
    """

    game_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckedGames:
    """Result of reading and validating files.

    Attributes:
        games: the games; empty if there are problems.
        problems: the problems, by row: all of them, or if there are MAX_PROBLEMS or more, those of the first rows.
        left_out: games that cannot be used.
        unlisted: ids, made of date and home team, of the games that a given list of games does not have.
    """

    games: tuple[GameInFiles, ...]
    problems: tuple[RowProblem, ...] = ()
    left_out: tuple[LeftOutGame, ...] = ()
    unlisted: tuple[str, ...] = ()

    @property
    def at_least(self) -> str:
        """Text before the number of problems: "at least " if there may be more."""
        return "at least " if len(self.problems) >= MAX_PROBLEMS else ""


def no_game_of(day: date, path: Path, days: Collection[date]) -> DataError:
    """Return the error for files without a game of a day; it says which days they cover.

    Args:
        day: the local date.
        path: file or folder to name.
        days: local dates of the games that the files have.
    """
    if not days:
        return DataError(f"{path}: no game of {day}; no date of its games is known")
    first, last = min(days), max(days)
    covered = f"of {first}" if first == last else f"from {first} to {last}"
    return DataError(f"{path}: no game of {day}; its games are {covered}")


def exclusion_reason(away: str | None, scores: Sequence[Score]) -> str:
    """Return why a game is excluded; "" if it is eligible.

    Some sources list games that were never played (without an away team), truncate games, or mix up the rows of a game.
    A game is eligible if it has an away team, a row in each quarter (a row at tip-off counts for the first), a last row
    at most LONGEST_END seconds before the end, and a winner. Its differential must change by at most LARGEST_CHANGE in
    every minute but the last: an export of a ledger puts all points that were not followed live into the last minute.

    Args:
        away: the away team; None if it is missing in a row.
        scores: every change of the score in chronological order; at least one.
    """
    if away is None:
        return "away is missing"
    if empty := QUARTERS - {period_of(score.elapsed) for score in scores}:
        return f"quarter {min(empty)} has no row"
    last = scores[-1].elapsed
    if (left := elapsed_seconds(period_of(last), 0.0) - last) > LONGEST_END:
        return f"its scores end {left:.0f} s before the end of period {period_of(last)}"
    if scores[-1].home == scores[-1].away:
        return "it ends tied"
    levels = (0, *slots(scores, 4 * QUARTER_MINUTES - 1))
    largest, minute = max((abs(after - before), minute) for minute, (before, after) in enumerate(pairwise(levels), 1))
    if largest > LARGEST_CHANGE:
        return f"its differential changes by {largest} points in minute {minute}"
    return ""
