"""The season and the part of a season that an NBA game id names."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dejavu_feed.game_ids import (
    COMPETITIVE,
    game_id_of,
    is_of_season,
    is_playoffs,
    season_days,
    season_of,
)


@pytest.mark.parametrize(
    ("game_id", "day"),
    [
        ("0022400061", date(2024, 10, 22)),
        ("0012600001", date(2026, 9, 30)),
        ("0041900406", date(2020, 10, 11)),  # the last game of the season that was interrupted
        ("0022000001", date(2020, 12, 22)),
        ("0042000406", date(2021, 7, 20)),
        ("0024600001", date(1946, 11, 1)),
        ("0029900001", date(1999, 11, 2)),
    ],
)
def test_a_game_fits_the_season_in_which_it_was_played(game_id: str, day: date) -> None:
    assert is_of_season(game_id, day)


@pytest.mark.parametrize("game_id", ["0024500061", "0024600061", "0022700061", "0022500061", "0012400061"])
def test_an_id_of_another_season_fits_no_day_of_november(game_id: str) -> None:
    assert not is_of_season(game_id, date(2026, 11, 20))


@pytest.mark.parametrize(
    ("game_id", "due"),
    [("0042300401", True), ("0052300101", True), ("0022300001", False), ("0062300001", False), ("9904230001", False)],
)
def test_an_id_says_whether_a_game_is_of_the_playoffs(game_id: str, due: bool) -> None:
    assert is_playoffs(game_id) is due
    assert not is_playoffs("")


def test_a_season_goes_from_august_to_the_october_of_the_next_year() -> None:
    first, last = season_days(2025)
    assert (first, last) == (date(2024, 8, 1), date(2025, 10, 31))
    fits = [is_of_season("0022400061", day) for day in (first - timedelta(1), first, last, last + timedelta(1))]
    assert fits == [False, True, True, False]


@pytest.mark.parametrize(
    ("given", "game_id"),
    [
        (22400061, "0022400061"),
        (22400061.0, "0022400061"),
        ("0022400061", "0022400061"),
        ("202410220BOS", "202410220BOS"),
        (None, "None"),
    ],
)
def test_a_numeric_id_has_its_leading_zeros(given: object, game_id: str) -> None:
    assert game_id_of(given) == game_id


def test_the_final_of_the_cup_counts_and_preseason_and_all_star_games_do_not() -> None:
    assert set(COMPETITIVE) == {"002", "004", "005", "006"}
    assert season_of("0062400001") == 2025
