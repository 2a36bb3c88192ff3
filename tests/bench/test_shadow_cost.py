"""The measurement of what shadows cost: how far its ratios can be trusted, and one short run."""

from __future__ import annotations

import pytest
from bench.lifecycle import shadow


def test_the_interval_of_a_median_is_between_the_order_statistics_of_the_sign_test() -> None:
    values = [float(value) for value in range(1, 21)]
    assert shadow.interval(values[::-1]) == (6.0, 15.0), "at most 5 of 20 coins fall on one side with p = 0.021"
    assert shadow.interval([2.0, 1.0, 3.0]) == (1.0, 3.0), "three are too few: all of them"


@pytest.mark.nightly
def test_every_forecast_of_a_run_has_its_shadow(capsys: pytest.CaptureFixture[str]) -> None:
    loose = ("--most-p50", "100", "--most-cpu", "100")
    assert shadow.main(["--pairs", "2", "--seconds", "1", "--rate", "50", *loose]) == 0
    assert "2 pairs of blocks" in capsys.readouterr().out
