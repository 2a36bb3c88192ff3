from __future__ import annotations

from datetime import date

import pytest

from dejavu_models.errors import InvalidAlpha, InvalidMargin, InvalidPattern, InvalidQuantile, InvalidTeam
from dejavu_models.forecast_query import MAX_QUANTILES, ForecastQuery, ScorePattern
from dejavu_models.types import Horizon, Interval, SimilarGame

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("slots", [0, 48, 100])
def test_a_pattern_has_1_to_47_slots(slots: int) -> None:
    with pytest.raises(InvalidPattern, match=f"pattern: {slots} slots; expected 1 to 47"):
        ScorePattern((0.0,) * slots)


@pytest.mark.parametrize("bad", [NAN, INFINITY, -INFINITY, 200.5, -1e30])
def test_a_pattern_names_the_slot_that_is_wrong(bad: float) -> None:
    with pytest.raises(InvalidPattern) as caught:
        ScorePattern((1.0, 2.0, bad))
    assert caught.value.field == "pattern[2]"


@pytest.mark.parametrize(("horizon", "last"), [(Horizon.HALFTIME, 23), (Horizon.FINAL, 47)])
def test_a_horizon_is_asked_about_before_it_is_there(horizon: Horizon, last: int) -> None:
    assert ForecastQuery(ScorePattern((0.0,) * last), horizon).pattern.minutes == last


@pytest.mark.parametrize("slots", [24, 47])
def test_the_half_is_not_forecast_once_it_is_there(slots: int) -> None:
    with pytest.raises(InvalidPattern, match=f"pattern: {slots} slots; expected 1 to 23 to forecast halftime"):
        ForecastQuery(ScorePattern((0.0,) * slots), Horizon.HALFTIME)


@pytest.mark.parametrize("field", ["home_team", "away_team"])
@pytest.mark.parametrize("code", ["XXX", "bos", "BRK", "Boston Celtics", " "])
def test_a_team_is_named_by_its_nba_code(field: str, code: str) -> None:
    """Aliases are resolved when a request is parsed; queries accept only the code itself."""
    with pytest.raises(InvalidTeam) as caught:
        ForecastQuery(ScorePattern((0.0,)), **{field: code})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_team_does_not_play_itself() -> None:
    with pytest.raises(InvalidTeam, match="away_team: BOS; expected another team than home_team"):
        ForecastQuery(ScorePattern((0.0,)), home_team="BOS", away_team="BOS")


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, NAN, INFINITY])
def test_a_quantile_names_the_level_that_is_wrong(bad: float) -> None:
    with pytest.raises(InvalidQuantile) as caught:
        ForecastQuery(ScorePattern((0.0,)), quantile_levels=(0.5, bad))
    assert caught.value.field == "quantile_levels[1]"


def test_no_more_quantiles_than_percentiles() -> None:
    ForecastQuery(ScorePattern((0.0,)), quantile_levels=(0.5,) * MAX_QUANTILES)
    with pytest.raises(InvalidQuantile, match="quantile_levels: 100 levels; expected at most 99"):
        ForecastQuery(ScorePattern((0.0,)), quantile_levels=(0.5,) * (MAX_QUANTILES + 1))


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, NAN, INFINITY])
def test_alpha_is_a_rate(bad: float) -> None:
    with pytest.raises(InvalidAlpha):
        ForecastQuery(ScorePattern((0.0,)), alpha=bad)


@pytest.mark.parametrize("bad", [NAN, INFINITY, 201.0])
def test_a_margin_is_finite_and_within_bounds(bad: float) -> None:
    with pytest.raises(InvalidMargin):
        ForecastQuery(ScorePattern((0.0,)), pregame_margin=bad)


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 0.0), (NAN, 0.0), (0.0, INFINITY)])
def test_an_interval_has_ends_in_order(lower: float, upper: float) -> None:
    with pytest.raises(ValueError):
        Interval(lower, upper)


def test_an_interval_holds_its_ends() -> None:
    interval = Interval(-1.0, 2.5)
    assert -1.0 in interval
    assert 2.5 in interval
    assert 2.6 not in interval


def test_a_similar_game_is_named_for_people_and_says_if_it_stands_for_more() -> None:
    game = SimilarGame("BKN", "BOS", date(2021, 3, 14), 1.0, 4.0, 1)
    assert game.label == "2021-03-14 BOS @ BKN"
    assert SimilarGame("BKN", "BOS", date(2021, 3, 14), 1.0, 4.0, 3).label == "2021-03-14 BOS @ BKN and 2 like it"
