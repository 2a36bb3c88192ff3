from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models import risk
from dejavu_models.betting import RiskLevel
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.risk import MINUTES, SHARES, USUAL

PATTERNS = st.lists(st.integers(-60, 60), min_size=2, max_size=47)


POINTS = st.none() | st.integers(60, 500)


def pattern(*slots: float) -> ScorePattern:
    return ScorePattern(tuple(map(float, slots)))


@pytest.mark.parametrize(
    ("slots", "points", "expected"),
    [
        pytest.param(
            (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23),  # changes: 1, then eleven times 2; of six minutes, from 11
            52,
            {"volatility": math.sqrt(11 / 12 * 1 / 11), "swing": 12.0, "pace": 208.0, "trend": 2.0},
            id="twelve minutes",
        ),
        pytest.param((4, 8), None, {"volatility": 0.0, "swing": 8.0, "trend": 4.0}, id="from tip-off"),
    ],
)
def test_each_factor_measures_what_it_says(
    slots: tuple[float, ...], points: int | None, expected: dict[str, float]
) -> None:
    assert risk.measure(pattern(*slots), points) == pytest.approx(expected)


def test_a_quantile_scores_its_share() -> None:
    for name, minutes in product(USUAL, MINUTES):
        row = USUAL[name][MINUTES.index(minutes)]
        assert [risk.percentile_score(name, minutes, value) for value in row] == pytest.approx(list(SHARES[1:]))
        assert [risk.percentile_score(name, minutes, value) for value in (0.0, row[-1] * 10)] == [0.0, 100.0]


def test_without_points_the_other_factors_share_the_weight_of_the_pace() -> None:
    """The weights are those of the documents: volatility 0.4, swing 0.3, pace 0.2, trend 0.1."""
    with_points, without = (risk.assess(pattern(*[0, 2] * 10), points) for points in (90, None))
    assert {each.name: each.weight for each in with_points.factors} == risk.WEIGHTS
    assert [*risk.WEIGHTS.items()] == [("volatility", 0.4), ("swing", 0.3), ("pace", 0.2), ("trend", 0.1)]
    expected = {"volatility": 0.5, "swing": 0.375, "trend": 0.125}
    assert {each.name: each.weight for each in without.factors} == pytest.approx(expected)
    assert (with_points.warnings, len(without.warnings)) == ((), 1)


def test_a_game_in_which_nothing_moves_is_at_nothing_and_one_in_which_all_does_at_a_hundred() -> None:
    assert risk.assess(pattern(*[0] * 18), 0).score == 0.0
    wild = risk.assess(pattern(*[20 * (-1) ** minute for minute in range(17)], 60), 400)
    assert wild.score == pytest.approx(100.0)
    assert wild.level is RiskLevel.EXTREME


COMEBACK = (*[0] * 12, 5, 8, 11, 14, 17, 20)


@pytest.mark.parametrize(
    ("slots", "warning"),
    [
        ((*[0] * 11, 6, 0, 6, 0, 6, 0, 6), "The lead changes by "),
        (COMEBACK, "The lead ranged over 20 points"),
        (COMEBACK, "The lead moves in one direction"),
        ((2, -2) * 9, "The lead changed hands 6 times"),
        ((*[5] * 41, 3), "The lead is at most 3 points"),
        ((0, 0), "Only 2 minutes were played"),
    ],
)
def test_what_is_unusual_is_warned_of(slots: tuple[float, ...], warning: str) -> None:
    assert any(text.startswith(warning) for text in risk.assess(pattern(*slots), 80).warnings)


@given(PATTERNS, POINTS)
def test_every_assessment_keeps_its_bounds_and_its_sum_and_treats_home_and_away_alike(
    slots: list[int], points: int | None
) -> None:
    assessment = risk.assess(pattern(*slots), points)
    assert assessment == risk.assess(pattern(*(-slot for slot in slots)), points)
    assert assessment.score == pytest.approx(sum(factor.contribution for factor in assessment.factors))
    assert sum(factor.weight for factor in assessment.factors) == pytest.approx(1)
    for factor in assessment.factors:
        assert 0 <= factor.score <= 100
        assert factor.contribution == factor.weight * factor.score
    place = list(RiskLevel).index(assessment.level)
    assert (0, *risk.LEVEL_BOUNDS)[place] <= assessment.score <= (*risk.LEVEL_BOUNDS, 100)[place]
