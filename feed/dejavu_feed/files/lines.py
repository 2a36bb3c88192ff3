"""Reads the lines of betting markets from a table: the market's expectation of each game.

There is one row per game. It names the game by `game_id`, or by date, home and away team. It gives the margin as
`pregame_margin`, as the home team's `spread`, or as two moneylines; and the `total`. Numbers are as books print them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from dejavu_feed.errors import DataError
from dejavu_feed.files.game_list import day_of
from dejavu_feed.files.tables import MAX_BYTES, in_column, is_missing, read_rows
from dejavu_feed.game_ids import game_id_of
from dejavu_feed.lines import MAX_MARGIN, NO_LINE, TOTALS, Line, SidedLine, margin_of
from dejavu_feed.printed_numbers import LEAST_AMERICAN, decimal_of, number, price, spread
from dejavu_feed.teams import team_code

_NAMES: Final = {
    "game": ("game_id", "gameId", "GAME_ID"),
    "date": ("date", "game_date", "GAME_DATE"),
    "home": ("home", "home_team"),
    "away": ("away", "away_team"),
    "margin": ("pregame_margin",),
    "spread": ("spread", "home_spread"),
    "home_price": ("moneyline_home", "home_moneyline"),
    "away_price": ("moneyline_away", "away_moneyline"),
    "total": ("total",),
}
"""Accepted names of each column."""

_FAVORED: Final = ("whos_favored", "favored", "favorite", "favourite")
"""Names of a column with the team that a spread without a sign favors."""

_LONGEST_SHOWN: Final = 40

Key = str | tuple[date, str, str]
"""A game by its id, or by date, home and away team."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of games.

    Attributes:
        rows: each line with the number of its row and the teams that it names; a game may have one by each of its two
            keys.
        skipped: text on the first row that was skipped for its teams, and the number of other such rows; empty if there
            are none.
    """

    rows: Mapping[Key, tuple[int, SidedLine]] = field(default_factory=dict)
    skipped: str = ""

    def of(self, game_id: str, day: date | None, home: str, away: str) -> Line | None:
        """Return the line of a game; None if it has no row.

        If it has one row by its id and one by date and teams, the later row counts. A row of its id can have its teams
        the other way round; one of other teams does not count. `day` is None if the date is not known.
        """
        keys: tuple[Key, ...] = (game_id,) if day is None else (game_id, (day, home, away))
        rows = [self.rows[key] for key in keys if key in self.rows]
        found = [(number, line) for number, sided in rows if (line := sided.of(home, away)) is not None]
        return max(found, key=itemgetter(0))[1] if found else None

    def of_others(self, game_id: str, home: str, away: str) -> str:
        """Return an error text if the row of a game's id has other teams than the game, otherwise ""."""
        _, sided = self.rows.get(game_id, (0, SidedLine(NO_LINE)))
        teams = sided.teams_instead_of(home, away)
        return f"the row of game {game_id} is of {teams}; it is not used" if teams else ""


def read_lines(path: Path, most: int = MAX_BYTES) -> Lines:
    """Read a table of lines.

    Args:
        path: a table, as `read_rows` reads it. A row without numbers says that a game has no line. A row of teams that
            are not of the NBA is skipped, whatever else it has (`Lines.skipped`), and so is one without any value.
        most: largest size in bytes, of parquet also when decompressed.

    Raises:
        DataError: if the file can't be read, is too large, lacks columns, or has an invalid value, or two rows of a
            game; the message names the line.
        FeedNotInstalled: if the file is parquet, and pyarrow is missing.
    """
    rows: dict[Key, tuple[int, SidedLine]] = {}
    skipped: list[str] = []
    every = (*_FAVORED, *(name for names in _NAMES.values() for name in names))
    present, spreads = set[str](), list[float]()
    for each in read_rows(path, (), every, most=most):
        where, values = each.place(path), each.values
        present.update(map(str, values))
        try:
            row = {key: text for key, names in _NAMES.items() if (text := _value(values, names))}
            if None in values:  # e.g. a decimal comma in a file with commas, which cuts off the decimals
                raise ValueError("there are more values than columns")
            if not row:
                continue
            teams = _teams(row)
            if teams is None:
                named = " against ".join(repr(str(row[side])[:_LONGEST_SHOWN]) for side in ("home", "away"))
                skipped.append(f"{where} is skipped: {named}; expected two teams of the NBA, such as BOS or Celtics")
                continue
            line = _line(row)
            _add(rows, _keys(row, teams), (each.number, SidedLine(line, *teams)))
            if "spread" in row and "margin" not in row and line.margin is not None:
                spreads.append(-line.margin)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
    if present:
        _check_columns(path, present)
    favored = present.intersection(_FAVORED)
    if favored and spreads and min(spreads) >= 0 < max(spreads):
        raise DataError(
            f"{path}: {favored.pop()} says whom spread favors, and no spread has a sign; expected spread of the home "
            "team, below 0 if it is favored"
        )
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return Lines(rows, f"{skipped[0]}{more}" if skipped else "")


def _add(rows: dict[Key, tuple[int, SidedLine]], keys: Iterable[Key], line: tuple[int, SidedLine]) -> None:
    """Add the line of a row.

    Raises:
        ValueError: if a row before it is of the same game.
    """
    for key in keys:
        turned = key if isinstance(key, str) else (key[0], key[2], key[1])
        if (before := rows.get(key) or rows.get(turned)) is not None:
            raise ValueError(f"row {before[0]} is of the same game; expected one row for each game")
        rows[key] = line


def _value(values: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    """Return the value that is not missing; numbers of parquet as they are, texts without spaces around.

    Raises:
        ValueError: if columns of the same meaning have different values.
    """
    found: dict[str, Any] = {}
    for name in names:
        value = values.get(name)
        if not is_missing(value):
            found[name] = value.strip() if isinstance(value, str) else value
    if len(set(map(str, found.values()))) > 1:
        raise ValueError(f"{' and '.join(found)} differ; expected one of them")
    return next(iter(found.values()), None)


def _check_columns(path: Path, present: set[str]) -> None:
    has = {key for key, names in _NAMES.items() if present.intersection(names)}
    if not (has & {"margin", "spread", "total"} or {"home_price", "away_price"} <= has):
        raise DataError(f"{path}: lacks pregame_margin, spread, moneyline_home and moneyline_away, or total")


def _teams(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return home and away team of a row, both "" unless it names both; None if they are not of the NBA.

    Raises:
        ValueError: if they are the same.
    """
    if not {"home", "away"} <= row.keys():
        return "", ""
    try:
        home, away = team_code(str(row["home"])), team_code(str(row["away"]))
    except ValueError:
        return None
    if home == away:
        raise ValueError(f"away: {row['away']!r} is the home team too")
    return home, away


def _keys(row: Mapping[str, Any], teams: tuple[str, str]) -> Iterator[Key]:
    """Yield the keys of a row: the id, and date and teams if all are given."""
    if "game" in row:
        yield game_id_of(row["game"])
    if {"date", "home", "away"} <= row.keys():
        yield (day_of(row["date"]), *teams)
    elif "game" not in row:
        raise ValueError("the game is missing: expected game_id, or date, home and away")


def _line(row: Mapping[str, Any]) -> Line:
    margin = None
    if "spread" in row:
        margin = 0.0 - _number("spread", row["spread"])
    if "margin" in row:
        given = _number("pregame_margin", row["margin"])
        if margin not in (None, given):
            raise ValueError("pregame_margin and spread contradict each other: a home favorite's spread is below 0")
        margin = given
    if margin is None and {"home_price", "away_price"} <= row.keys():
        margin = margin_of(*(_price(name, row[name]) for name in ("home_price", "away_price")))
    if margin is not None and not abs(margin) <= MAX_MARGIN:
        raise ValueError(f"a margin of {margin:g}; expected at most {MAX_MARGIN:g} points")
    total = _number("total", row["total"]) if "total" in row else None
    if total is not None and not TOTALS[0] <= total <= TOTALS[1]:
        least, most = TOTALS
        raise ValueError(f"total is {total:g}; expected {least:g} to {most:g}")
    return Line(margin, total)


def _number(column: str, value: Any) -> float:
    return in_column(column, spread if column == "spread" else number, str(value))


def _price(column: str, value: Any) -> float:
    name = _NAMES[column][0]
    decimal = in_column(name, price, str(value).removesuffix(".0"))
    if decimal is None:
        raise ValueError(f"{name} is missing")
    return decimal if 1 < decimal < LEAST_AMERICAN else decimal_of(decimal)
