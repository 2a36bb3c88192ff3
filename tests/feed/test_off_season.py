"""Days between games, without the summers."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.game_ids import seasons_on
from dejavu_feed.off_season import days_with_games, is_over, playing_days, season_on, summer

DAYS = st.dates(date(1990, 1, 1), date(2046, 7, 31))
FINALS = {
    2020: (date(2020, 10, 11), date(2020, 12, 22)),
    2021: (date(2021, 7, 20), date(2021, 10, 19)),
    2025: (date(2025, 6, 22), date(2025, 10, 21)),
    2011: (date(2011, 6, 12), date(2011, 12, 25)),
    1998: (date(1998, 6, 14), date(1999, 2, 5)),
}
"""Last game of a season, and first game of the next."""


@given(DAYS)
def test_a_day_is_of_a_season_that_may_have_games_on_it(day: date) -> None:
    assert season_on(day) in seasons_on(day) or date(2020, 11, 1) <= day <= date(2020, 11, 15)  # the latest summer
    assert season_on(day + timedelta(1)) - season_on(day) in {0, 1}


def test_days_of_a_season_count_one_by_one() -> None:
    assert playing_days(date(2023, 1, 10), date(2023, 1, 10)) == 0
    assert playing_days(date(2023, 1, 10), date(2023, 2, 10)) == 31
    assert playing_days(date(2023, 2, 10), date(2023, 1, 10)) == 0
    assert playing_days(date(2023, 6, 12), date(2026, 11, 21)) == 2 + 3 * (365 - 128) + 1 + 32 == 746


def test_a_pause_within_a_season_is_no_summer() -> None:
    assert playing_days(date(2020, 3, 11), date(2020, 7, 30)) == 141
    assert days_with_games(date(2020, 3, 11), date(2020, 7, 30)) == 1


@given(DAYS, st.integers(0, 1500))
def test_it_counts_the_days_outside_of_summers(after: date, length: int) -> None:
    until = after + timedelta(length)
    days = [after + timedelta(number) for number in range(1, length + 1)]
    summers = [summer(year) for year in range(after.year - 1, until.year + 1)]
    assert playing_days(after, until) == sum(not any(first <= d <= last for first, last in summers) for d in days)


@pytest.mark.parametrize(("season", "last", "first"), [(each, *days) for each, days in FINALS.items()])
def test_a_season_is_over_with_its_finals_and_the_next_is_a_few_days_away(season: int, last: date, first: date) -> None:
    assert (season_on(last), season_on(first)) == (season, season + 1)
    assert is_over(season, last)
    assert not is_over(season, last - timedelta(days=30))
    assert not is_over(season + 1, last)
    assert playing_days(last, first) <= 12
    assert playing_days(last, first + timedelta(60)) >= 55
