"""The measurement of what the schedule adds to expected margins runs, and pairs its differences."""

from __future__ import annotations

import numpy as np
import pytest
from bench.lifecycle import schedule_terms
from tests.support.builders.bundles import simulated_seasons


def test_it_compares_both_on_the_same_games(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", f"{simulated_seasons()}", "--first", "2031", "--test", "2032", "--steps", "1")
    assert schedule_terms.main([*options]) == 0
    _, season, every = capsys.readouterr().out.splitlines()
    assert season.split()[:5] == ["2032", *every.split()[1:5]]
    assert "back_to_back" in season
    assert "altitude" in season


def test_a_difference_is_that_of_the_errors_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(1)
    error = rng.normal(0, 13, 1000)
    name, games, *values = schedule_terms.row("all", error, 0.99 * error).replace("[", "").replace("]", "").split()
    without, with_, difference, low, high = (float(value.strip(",")) for value in values)
    assert (name, games) == ("all", "1,000")
    assert with_ == pytest.approx(0.99 * without, abs=1e-3)
    assert difference == pytest.approx(-0.01 * without, abs=1e-3)
    assert low < difference < high < 0
