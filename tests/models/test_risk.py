from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
from bench.risk import main
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models import risk
from dejavu_models.betting import RiskLevel
from dejavu_models.errors import InvalidLiveInput, InvalidPattern
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.risk_quantiles import MINUTES, SHARES, USUAL

PATTERNS = st.lists(st.integers(-60, 60), min_size=2, max_size=47).map(
    lambda slots: ScorePattern(tuple(map(float, slots)))
)
NAMES = st.sampled_from(sorted(USUAL))
VALUES = st.floats(0, 1000)


def pattern(*slots: float) -> ScorePattern:
    return ScorePattern(tuple(map(float, slots)))


CALM = pattern(*[0, 2] * 10)


@pytest.mark.parametrize(
    ("total", "message"),
    [
        (19, r"total_points: 19; expected 20 \(the lead\) to 500"),
        (501, r"total_points: 501; expected 20 \(the lead\) to 500"),
        (-1, r"total_points: -1; expected 20 \(the lead\) to 500"),
    ],
)
def test_points_are_as_many_as_the_lead_at_least(total: int, message: str) -> None:
    with pytest.raises(InvalidLiveInput, match=message):
        risk.assess(pattern(0, 10, -20), total)
    with pytest.raises(InvalidPattern, match="pattern: 1 slots; expected 2 to 47"):
        risk.assess(pattern(0), total)
    assert risk.assess(pattern(0, 10, -20), 20).factors[2].value == 320.0


def test_each_factor_measures_what_it_says() -> None:
    levels = (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23)  # last six minutes: from 11 to 23, +2 each
    values = risk.measure(pattern(*levels), 52)
    assert values == {
        "volatility": pytest.approx(math.sqrt(11 / 12 * 1 / 11)),  # changes: 1, then eleven times 2
        "swing": 12.0,
        "pace": 208.0,
        "trend": pytest.approx(2.0),
    }


def test_the_minutes_from_tip_off_on_count_where_there_are_no_six() -> None:
    values = risk.measure(pattern(4, 8))
    assert values == {"volatility": 0.0, "swing": 8.0, "trend": 4.0}


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("name", USUAL)
def test_a_quantile_scores_its_share(name: str, minutes: int) -> None:
    row = USUAL[name][MINUTES.index(minutes)]
    assert [risk.percentile_score(name, minutes, value) for value in row] == pytest.approx(list(SHARES[1:]))
    assert risk.percentile_score(name, minutes, 0.0) == 0.0
    assert risk.percentile_score(name, minutes, row[-1] * 10) == 100.0


def test_without_points_the_other_factors_share_the_weight_of_the_pace() -> None:
    with_points, without = risk.assess(CALM, 90), risk.assess(CALM)
    assert [factor.name for factor in with_points.factors] == ["volatility", "swing", "pace", "trend"]
    assert [factor.weight for factor in with_points.factors] == [0.4, 0.3, 0.2, 0.1]
    assert [factor.name for factor in without.factors] == ["volatility", "swing", "trend"]
    assert [factor.weight for factor in without.factors] == pytest.approx([0.5, 0.375, 0.125])
    assert "The pace of scoring is not assessed without total_points." in without.warnings
    assert not with_points.warnings


def test_a_game_in_which_nothing_moves_is_at_nothing_and_one_in_which_all_does_at_a_hundred() -> None:
    assert risk.assess(pattern(*[0] * 18), 0).score == 0.0
    wild = risk.assess(pattern(*[20 * (-1) ** minute for minute in range(17)], 60), 400)
    assert wild.score == pytest.approx(100.0)
    assert wild.level is RiskLevel.EXTREME


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        (pattern(*[0] * 11, 6, 0, 6, 0, 6, 0, 6), "The lead changes by "),
        (pattern(*[0] * 12, 5, 8, 11, 14, 17, 20), "The lead ranged over 20 points in the last 6 minutes: more than"),
        (
            pattern(*[0] * 12, 5, 8, 11, 14, 17, 20),
            "The lead moves in one direction by 3.2 points per minute: more than",
        ),
        (pattern(*[2, -2] * 9), "The lead changed hands 6 times over the last 6 minutes."),
        (pattern(*[5] * 41, 3), "The lead is at most 3 points after 42 minutes: one possession can decide the game."),
        (pattern(0, 0), "Only 2 minutes were played: the assessment is based on little data."),
    ],
)
def test_what_is_unusual_is_warned_of(given: ScorePattern, warning: str) -> None:
    assert any(text.startswith(warning) for text in risk.assess(given, 80).warnings)


@given(PATTERNS, st.none() | st.integers(60, 500))
def test_every_assessment_keeps_its_bounds_and_its_sum(given: ScorePattern, total: int | None) -> None:
    assessment = risk.assess(given, total)
    assert 0 <= assessment.score <= 100
    assert assessment.score == pytest.approx(sum(factor.contribution for factor in assessment.factors))
    assert sum(factor.weight for factor in assessment.factors) == pytest.approx(1)
    for factor in assessment.factors:
        assert factor.value >= 0
        assert 0 <= factor.score <= 100
        assert factor.contribution == factor.weight * factor.score
    place = list(RiskLevel).index(assessment.level)
    assert (0, *risk.LEVEL_BOUNDS)[place] <= assessment.score <= (*risk.LEVEL_BOUNDS, 100)[place]


@given(NAMES, st.integers(2, 47), VALUES, VALUES)
def test_the_more_is_measured_the_higher_the_score(name: str, minutes: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= risk.percentile_score(name, minutes, low) <= risk.percentile_score(name, minutes, high) <= 100


@given(PATTERNS, st.none() | st.integers(60, 500))
def test_home_and_away_are_treated_alike(given: ScorePattern, total: int | None) -> None:
    mirrored = ScorePattern(tuple(-slot for slot in given.differentials))
    assert risk.assess(mirrored, total) == risk.assess(given, total)


@given(PATTERNS, st.floats(1, 3))
def test_the_same_course_on_a_larger_scale_is_no_calmer(given: ScorePattern, scale: float) -> None:
    larger = ScorePattern(tuple(scale * slot for slot in given.differentials))
    values, scaled = risk.measure(given), risk.measure(larger)
    assert scaled == pytest.approx({name: scale * value for name, value in values.items()}, abs=1e-9)
    assert risk.assess(larger).score >= risk.assess(given).score - 1e-6


@pytest.mark.real_data
def test_what_counts_as_usual_is_so_in_a_real_season(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data_dir), "--seasons", "2021"]) == 0
    printed = capsys.readouterr()
    assert "1,171 games" in printed.err
    measured: dict[str, tuple[tuple[float, ...], ...]] = ast.literal_eval(f"{{{printed.out}}}")
    assert measured.keys() == USUAL.keys()
    for name, rows in measured.items():
        for minutes, row in zip(MINUTES, rows, strict=True):
            if minutes >= 6:  # earlier, only few distinct values are possible
                # One season of five: its quantiles match those of all seasons up to the variation between seasons.
                shares = [risk.percentile_score(name, minutes, value) for value in row]
                assert shares[:4] == pytest.approx(list(SHARES[1:5]), abs=10), (name, minutes)
