"""Coverage that makes a new model due: intervals with whole ends hold more often than stated, which is no reason."""

from __future__ import annotations

from statistics import NormalDist, fmean

import pytest

from dejavu_trainer.retraining.triggers import CoverageFigure, _figures


def whole_quantile(points: NormalDist, level: float) -> int:
    """Return the quantile at a level of the points after they are rounded to whole numbers."""
    return next(value for value in range(-100, 100) if points.cdf(value + 0.5) >= level)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("spread", [3.0, 5.5, 12.0])
def test_what_whole_ends_add_is_what_they_add_for_calibrated_forecasts(alpha: float, spread: float) -> None:
    coverages, widths = [], []
    for tenths in range(20):
        points = NormalDist(tenths / 20, spread)
        lower, upper = whole_quantile(points, alpha / 2), whole_quantile(points, 1 - alpha / 2)
        coverages.append(points.cdf(upper + 0.5) - points.cdf(lower - 0.5))
        widths.append(upper - lower)
    coverage = fmean(coverages)
    figure = CoverageFigure("final", alpha, 400, coverage, coverage, coverage, fmean(widths))
    assert figure.of_whole_ends == pytest.approx(coverage - (1 - alpha), rel=0.3)
    assert not figure.misses(0.01)


def test_a_coverage_beyond_what_whole_ends_add_is_missed_and_so_is_one_below_the_nominal() -> None:
    whole = {"alpha": 0.5, "games": 400, "coverage": 0.552, "meanWidth": 7.5}
    [fine] = _figures("halftime", {"coverage": [{**whole, "lower": 0.525, "upper": 0.58}]})
    [wide] = _figures("halftime", {"coverage": [{**whole, "lower": 0.59, "upper": 0.65}]})
    [narrow] = _figures("halftime", {"coverage": [{**whole, "lower": 0.42, "upper": 0.475}]})
    assert [each.misses(0.02) for each in (fine, wide, narrow)] == [False, True, True]
    [unknown] = _figures("halftime", {"coverage": [{**whole, "meanWidth": 0, "lower": 0.525, "upper": 0.58}]})
    assert unknown.misses(0.02)
