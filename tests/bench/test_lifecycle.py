"""Measurements of what shadows cost, of what the schedule adds, and of chance between seasons."""

from __future__ import annotations

import numpy as np
import pytest
from bench.lifecycle import schedule_terms, shadow
from bench.lifecycle.season_chance import factors, spreads
from tests.support.builders.bundles import simulated_seasons


def test_the_interval_of_a_median_is_between_the_order_statistics_of_the_sign_test() -> None:
    values = [float(value) for value in range(1, 21)]
    assert shadow.interval(values[::-1]) == (6.0, 15.0), "at most 5 of 20 coins fall on one side with p = 0.021"
    assert shadow.interval([2.0, 1.0, 3.0]) == (1.0, 3.0), "three are too few: all of them"


@pytest.mark.nightly
def test_every_forecast_of_a_run_has_its_shadow(capsys: pytest.CaptureFixture[str]) -> None:
    loose = ("--most-p50", "100", "--most-cpu", "100")
    assert shadow.main(["--pairs", "2", "--seconds", "1", "--rate", "50", *loose]) == 0
    assert "2 pairs of blocks" in capsys.readouterr().out


@pytest.mark.nightly
def test_expected_margins_are_compared_with_and_without_the_schedule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--data", f"{simulated_seasons()}", "--first", "2031", "--test", "2032", "--steps", "1")
    assert schedule_terms.main([*options]) == 0
    _, season, every = capsys.readouterr().out.splitlines()
    assert season.split()[:5] == ["2032", *every.split()[1:5]]
    assert "back_to_back" in season
    assert "altitude" in season


def test_following_a_season_takes_back_part_of_what_chance_gives() -> None:
    rng = np.random.default_rng(1)
    found = np.square([spreads(rng) for _ in range(8)]).mean(axis=0)
    assert 0 < found[1] < 0.6 * found[0]


def test_the_factor_is_of_the_days_before() -> None:
    squares = np.ones(1250)
    squares[7:] = 1.2
    found = factors(squares)
    assert (found[:14] == 1.0).all()
    assert (np.diff(found[14::7]) > 0).all()
