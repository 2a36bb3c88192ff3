"""Calibration takes the newest seasons with enough games; the backtest takes those that have enough seasons before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.errors import DataError
from dejavu_trainer.retraining.settings import plan_seasons


def test_after_a_season_the_two_newest_are_calibrated_on_and_the_two_newest_tested() -> None:
    plan = plan_seasons(dict.fromkeys(range(2015, 2024), 1300))
    assert plan.train == tuple(range(2015, 2022))
    assert plan.calibrate == (2022, 2023)
    assert (plan.test, plan.calibrate_seasons) == ((2022, 2023), 2)


def test_the_season_in_play_is_calibrated_on_beside_as_many_whole_ones_as_are_needed() -> None:
    seasons = dict.fromkeys(range(2015, 2024), 1300)
    assert plan_seasons({**seasons, 2024: 400}).calibrate == (2022, 2023, 2024)
    assert plan_seasons({**seasons, 2024: 800}).calibrate == (2023, 2024)
    assert plan_seasons({**seasons, 2024: 200}).test == (2022, 2023)


def test_with_few_seasons_one_season_calibrates_a_fold_or_nothing_is_tested() -> None:
    three = plan_seasons(dict.fromkeys(range(2021, 2024), 1300), calibration_games=1000)
    assert (three.test, three.calibrate_seasons) == ((2023,), 1)
    assert plan_seasons({2022: 1300, 2023: 1300}, calibration_games=1000).test == ()
    assert plan_seasons(dict.fromkeys(range(2015, 2024), 1300), test_seasons=0).test == ()


def test_a_season_after_a_gap_is_not_tested() -> None:
    assert plan_seasons(dict.fromkeys((2015, 2016, 2017, 2018, 2023), 1300)).test == (2018,)


def test_too_few_games_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match=r"1,900 games of 2 seasons; expected 2,000 to calibrate on"):
        plan_seasons({2022: 1300, 2023: 600})


@given(st.dictionaries(st.integers(2000, 2030), st.integers(1, 1400), min_size=2), st.integers(1, 3000))
def test_every_season_is_trained_or_calibrated_on_once_in_order(games: dict[int, int], calibration: int) -> None:
    try:
        plan = plan_seasons(games, calibration_games=calibration)
    except DataError:
        return
    assert [*plan.train, *plan.calibrate] == sorted(games)
    assert sum(games[season] for season in plan.calibrate) >= calibration
    assert sum(games[season] for season in plan.calibrate[1:]) < calibration
    for season in plan.test:
        assert {season - span for span in range(plan.calibrate_seasons + 1)} <= games.keys()
