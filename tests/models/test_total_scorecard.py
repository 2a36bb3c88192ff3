"""Scorecards of totals: figures computed by hand, missing scorecards, and bounds of all figures of a scorecard."""

from __future__ import annotations

import math
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from tests.models.settled_forecasts import settled

from dejavu_models.metrics import student_quantile
from dejavu_models.scorecard.cards import scorecard
from dejavu_models.scorecard.estimates import ScoreEstimate
from dejavu_models.scorecard.settled import Exclusion
from dejavu_models.scorecard.totals import TotalScorecard


def row(game: int, minute: int, error: float, pace: float, **fields: Any) -> dict[str, Any]:
    total = {"total_error": error, "total_pace_error": pace, "total_crps": abs(error) / 2, "total_width": 30.0}
    return {"game": game, "minute": minute, "total_covered": abs(error) < 15, **total, **fields}


def of(*rows: dict[str, Any]) -> TotalScorecard:
    told = scorecard(settled(*rows)).total
    assert told is not None
    return told


def close(told: ScoreEstimate | None, value: float, half: float | None) -> None:
    assert told is not None
    assert told.value == pytest.approx(value)
    if half is None:
        assert (told.lower, told.upper) == (None, None)
    else:
        assert told.lower == pytest.approx(max(value - half, -1.0))
        assert told.upper == pytest.approx(value + half)


def test_a_total_is_compared_with_its_pace_by_the_ratio_of_their_errors() -> None:
    # Game 0: minute 18 twice, minute 20 once. Game 2 has no total.
    told = of(
        row(0, 18, 4.0, -10.0),
        row(0, 18, -8.0, 2.0),
        row(0, 20, 10.0, 8.0),
        row(1, 18, 20.0, 32.0),
        row(3, 18, -2.0, 11.0),
        {"game": 2},
    )
    absolute, pace = [8.0, 20.0, 2.0], [7.0, 32.0, 11.0]
    assert (told.games, told.forecasts) == (3, 5)
    ratio = sum(absolute) / sum(pace) - 1.0
    residuals = [one - (1.0 + ratio) * other for one, other in zip(absolute, pace, strict=True)]
    half = student_quantile(2) / math.sqrt(3) * stdev(residuals) / mean(pace)
    close(told.relative_difference, ratio, half)
    (level,) = told.coverage
    assert (level.alpha, level.games, level.forecasts, level.mean_width) == (0.05, 3, 5, 30.0)
    assert level.coverage == pytest.approx(2 / 3)
    assert level.lower < 2 / 3 < level.upper


def test_without_settled_totals_there_is_no_scorecard_of_them() -> None:
    assert scorecard(settled({}, {"game": 1})).total is None
    late = row(0, 18, 1.0, 2.0, exclusion=int(Exclusion.LATE_TIME))
    assert scorecard(settled(late)).total is None
    assert scorecard(settled(late, {"game": 1})).total is None
    assert scorecard(settled({}).where(np.array([False]))).total is None


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ([row(0, 18, 5.0, -10.0)], -0.5),
        ([row(0, 18, 5.0, -10.0), row(1, 18, 2.0, 4.0)], -0.5),
        ([row(0, 18, 5.0, -10.0), row(1, 18, 0.0, 0.0)], -0.5),
    ],
)
def test_games_of_one_ratio_give_no_interval_of_it(rows: list[dict[str, Any]], value: float) -> None:
    close(of(*rows).relative_difference, value, None)


def test_a_rival_that_met_every_total_gives_no_ratio_and_one_that_met_some_does() -> None:
    assert of(row(0, 18, 5.0, 0.0), row(1, 18, 1.0, 0.0)).relative_difference is None
    told = of(row(0, 18, 5.0, 0.0), row(1, 18, 1.0, 4.0), row(2, 18, 3.0, 3.0)).relative_difference
    assert told is not None
    assert told.value == pytest.approx(2 / 7)
    assert told.lower is not None
