"""Dates of games and of seasons in files of plays."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.files.plays_format import season_of_day, season_window


@given(day=st.dates(date(1996, 1, 1), date(2046, 1, 1)))
def test_the_season_of_a_day_is_the_first_whose_window_contains_it(day: date) -> None:
    season = season_of_day(day)
    windows = {year: season_window(year) for year in (season - 1, season)}
    assert [first <= day <= last for first, last in windows.values()] == [False, True]


@pytest.mark.parametrize(
    ("day", "season"), [(date(2020, 10, 11), 2020), (date(2020, 12, 22), 2021), (date(2023, 10, 24), 2024)]
)
def test_the_last_game_of_a_season_and_the_first_of_the_next(day: date, season: int) -> None:
    assert season_of_day(day) == season
