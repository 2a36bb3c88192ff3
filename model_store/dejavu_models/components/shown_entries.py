"""Data that explanations show of the entries of a minute's database: teams, date, number of games, increments.

There is one record per entry instead of one array per column: a look-up takes a fifth of the time, and the compiled
models read the records in place.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Integers, Singles

Records = NDArray[np.void]
"""(entries,), read-only, displayed data of each: team codes as ASCII, dates as numbers, packed fields."""


class ShownEntry(NamedTuple):
    """Displayed data of an entry; see `Entries`.

    Attributes:
        increments, spreads: by horizon, in points.
    """

    home_team: str
    away_team: str
    date: date
    games: int
    increments: list[float]
    spreads: list[float]


def records_of(
    home: NDArray[np.str_],
    away: NDArray[np.str_],
    days: NDArray[np.datetime64],
    games: NDArray[np.int32],
    increments: Singles,
    spreads: Singles,
) -> Records:
    """Return the records of entries, given their columns; see `Entries`.

    Raises:
        ValueError: if a team code is not ASCII.
    """
    months = days.astype("M8[M]")
    of_month = (days - months).astype("m8[D]").astype(np.int32) + 1
    months_since = months.astype(np.int32)  # 1970
    dates = ((months_since // 12 + 1970) * 100 + months_since % 12 + 1) * 100 + of_month
    columns = {
        "home": home.astype("S"),
        "away": away.astype("S"),
        "date": dates.astype(np.int32),
        "games": games.astype(np.int32),
        "increments": increments.astype(np.float32),
        "spreads": spreads.astype(np.float32),
    }
    records = np.empty(len(games), dtype=[(name, each.dtype, each.shape[1:]) for name, each in columns.items()])
    for name, column in columns.items():
        records[name] = column
    records.flags.writeable = False  # the compiled models read them in place
    return records


def shown(records: Records, rows: Integers) -> list[ShownEntry]:
    """Return the displayed data of entries.

    Args:
        records: the records of a database.
        rows: positions in it.
    """
    return [
        # tolist() leaves NumPy arrays in the subarray fields; float() makes plain numbers of them.
        ShownEntry(home.decode(), away.decode(), date_of(day), games, list(map(float, ends)), list(map(float, spreads)))
        for home, away, day, games, ends, spreads in records[rows].tolist()
    ]


def date_of(number: int) -> date:
    """Return a date that is written as a number: 20241105 is 5 November 2024."""
    return date(number // 10_000, number // 100 % 100, number % 100)
