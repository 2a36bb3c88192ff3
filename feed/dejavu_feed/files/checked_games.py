"""Results of the readers of files: games, problems and the games that are left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_feed.events import Event
from dejavu_feed.pattern import Score

MAX_PROBLEMS: Final = 1_000
"""Number of problems after which no more rows are read: a problem takes a hundred times the memory of a short row."""


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
        contradicts: whether its rows contradict each other or the list of games; False for other reasons, such as
            another season.
    """

    game_id: str
    reason: str
    contradicts: bool = False


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
