"""What is shown of entries: as records, which the compiled models read too."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.point.dejavu import Entries
from dejavu_models.point.shown_entries import records_of, shown

DAYS = st.dates(date(1946, 8, 1), date(2046, 7, 31))


def entries(days: list[date], home: str = "BOS") -> Entries:
    """Returns entries of games on some days."""
    count = len(days)
    numbers = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return Entries(
        home=np.array([home] * count),
        away=np.array(["NYK"] * count),
        date=np.array(days, dtype="M8[D]"),
        games=np.arange(1, count + 1, dtype=np.int32),
        increments=numbers,
        spreads=numbers + 0.5,
        residuals=np.zeros((count, 2, 2), dtype=np.float32),
    )


@given(st.lists(DAYS, min_size=1, max_size=20))
def test_an_entry_is_shown_as_its_columns_have_it(days: list[date]) -> None:
    columns = entries(days)
    records = records_of(columns.home, columns.away, columns.date, columns.games, columns.increments, columns.spreads)
    for row, entry in enumerate(shown(records, np.arange(len(days)))):
        assert (entry.home_team, entry.away_team, entry.date, entry.games) == ("BOS", "NYK", days[row], row + 1)
        assert entry.increments == columns.increments[row].tolist()
        assert entry.spreads == columns.spreads[row].tolist()


def test_a_team_code_is_ascii_and_a_game_has_a_date() -> None:
    columns = entries([date(2024, 11, 5)], home="Ökö")
    with pytest.raises(ValueError, match="ascii"):
        records_of(columns.home, columns.away, columns.date, columns.games, columns.increments, columns.spreads)
    with pytest.raises(ValueError, match="date"):
        replace(columns, date=np.array(["NaT"], dtype="M8[D]"))
