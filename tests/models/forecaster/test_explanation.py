"""An explanation says what a forecast is made of: its weights, contributions and similar games sum to the forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.models import model_of, moment_at
from tests.support.harness.present import present

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Possession, Side
from dejavu_feed.moment import TABLES_FROM
from dejavu_models.forecast_query import ForecastQuery, LineupEffects, ScorePattern
from dejavu_models.types import Explanation, Forecast, Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


SCORES = LiveInputs(total_points=120, last_score=LastScore(Side.HOME, 5))


BALL = LiveInputs(total_points=120, possession=Possession(Side.AWAY))


LEADS = st.lists(st.integers(-15, 15).map(float), min_size=47, max_size=47).map(tuple)


OPTIONS = st.sampled_from(
    [
        {},
        {"pregame_margin": 4.0},
        {"pregame_margin": -7.5, "live": SCORES},
        {"home_team": "BOS", "away_team": "DAL"},
        {"home_team": "BOS", "away_team": "DAL", "lineups": LineupEffects(1.5, -3.0, 1, 0), "live": BALL},
        {"home_team": "BOS", "away_team": "DAL", "game_date": date(2024, 6, 20)},
    ]
)


SETS = st.sampled_from([("dejavu", "lstm"), ("dejavu",), ("lstm",), ("dejavu", "lstm", "gbm")])
"""Components beside the linear models."""


def of_minute(minute: int, leads: tuple[float, ...], horizon: Horizon, options: dict[str, object]) -> ForecastQuery:
    return ForecastQuery(ScorePattern(leads[:minute]), horizon, explain=True, **options)  # type: ignore[arg-type]


def at_moment(elapsed: float, lead: int, horizon: Horizon, options: dict[str, object]) -> ForecastQuery:
    moment = moment_at(elapsed, lead)
    fields = {**options, "live": replace(options.get("live", NO_LIVE_INPUTS), total_points=None, last_score=None)}  # type: ignore[type-var]
    pattern = ScorePattern((float(lead),) * moment.slots)
    return ForecastQuery(pattern, horizon, explain=True, moment=moment, **fields)  # type: ignore[arg-type]


def explained(made: Forecast) -> Explanation:
    return present(made.explanation)


def check_sums(made: Forecast, components: tuple[str, ...] = ("dejavu", "lstm")) -> None:
    found = explained(made)
    assert [each.name for each in found.components] == ["linear", *components]
    assert all(0 <= each.weight <= 1 for each in found.components)
    assert sum(each.weight for each in found.components) == pytest.approx(1)
    weighted = sum(each.weight * each.prediction for each in found.components)
    assert weighted == pytest.approx(made.point, abs=1e-9)
    terms = found.attribution
    assert terms.before_tipoff + sum(terms.minutes) == pytest.approx(found.components[0].prediction, abs=1e-9)
    assert terms.before_tipoff + sum(terms.minutes) + terms.components == pytest.approx(made.point, abs=1e-9)
    assert sum(each.points for each in found.contributions) == pytest.approx(made.point, abs=1e-9)
    sizes = [abs(each.points) for each in found.contributions]
    assert sizes == sorted(sizes, reverse=True)


def numbers(made: Forecast) -> tuple[object, ...]:
    return made.point, made.interval, made.home_lead_probability, made.quantiles, made.distribution


@given(SETS, st.integers(1, 47), LEADS, OPTIONS, st.sampled_from([HALF, FINAL]), st.none() | st.floats(60, 3400))
def test_everything_sums_to_the_forecast_which_is_the_same_without(
    components: tuple[str, ...],
    minute: int,
    leads: tuple[float, ...],
    options: dict[str, Any],
    horizon: Horizon,
    elapsed: float | None,
) -> None:
    """Of a minute, or of any moment."""
    model = model_of(*components)
    if elapsed is None:
        horizon = FINAL if minute > horizon.last_slot else horizon
        query = of_minute(minute, leads, horizon, {**options, "live": NO_LIVE_INPUTS})
    else:
        query = at_moment(
            round(60 + elapsed % 1370 if horizon is HALF else elapsed, 1), int(leads[0]), horizon, options
        )
    made = model.forecast(query)
    check_sums(made, components)
    assert made.point in made.interval
    assert numbers(made) == numbers(model.forecast(replace(query, explain=False)))
    found = explained(made)
    names = {each.name for each in found.contributions}
    assert names <= {"ratings", "home", "schedule", "players", "line", "minutes", "live", "moment", *components}
    if query.moment is None:
        assert (bool(found.similar_games), found.similar_summary is not None) == ("dejavu" in components,) * 2
        assert ("line" in names) == ("pregame_margin" in options)
    elif query.moment.slots >= TABLES_FROM[horizon]:
        assert [each.weight for each in found.components] == [1.0] + [0.0] * len(components)


@pytest.mark.parametrize("live", [SCORES, BALL])
def test_live_inputs_move_the_last_minute_and_all_components(live: LiveInputs) -> None:
    leads = tuple(float(lead) for lead in range(44))
    plain = of_minute(44, leads, FINAL, {"home_team": "BOS", "away_team": "DAL"})
    made = model_of("dejavu", "lstm").forecast(replace(plain, live=replace(live, total_points=201)))
    check_sums(made)
    without = explained(model_of("dejavu", "lstm").forecast(plain))
    [shift] = [each.points for each in explained(made).contributions if each.name == "live"]
    assert shift
    moved = explained(made).attribution.minutes[-1] - without.attribution.minutes[-1]
    assert moved == pytest.approx(shift)
    assert explained(made).components[0].prediction - without.components[0].prediction == pytest.approx(shift)


def test_the_similar_games_are_those_that_the_forecast_is_made_of() -> None:
    query = of_minute(44, (2.0,) * 44, FINAL, {"home_team": "BOS", "away_team": "DAL"})
    means = []
    for live in (LiveInputs(total_points=200), LiveInputs(total_points=200, possession=Possession(Side.AWAY))):
        each = explained(model_of("dejavu", "lstm").forecast(replace(query, live=live)))
        assert each.similar_summary is not None
        assert each.similar_summary.games > 100
        assert each.similar_summary.same_lead > 0
        [prediction] = [component.prediction for component in each.components if component.name == "dejavu"]
        means.append((prediction, prediction - each.similar_summary.correction))
    assert means[0][0] != means[1][0]
    assert means[0][1] == pytest.approx(means[1][1]), "the ball changes the forecast, not what similar games had"
