"""An explanation says what a forecast is made of: its weights, contributions and similar games sum to the forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.ensembles import ensemble, forecaster
from tests.support.builders.queries import moment_at
from tests.support.builders.third_component import with_third

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Possession, Side
from dejavu_feed.moment import TABLES_FROM
from dejavu_models.forecast_query import ForecastQuery, LineupEffects, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import MOST_SIMILAR, Explanation, Forecast, Horizon

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


@cache
def model(*components: str) -> Forecaster:
    return with_third() if "gbm" in components else forecaster(ensemble(*components))


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
    assert made.explanation is not None
    return made.explanation


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


@given(SETS, st.integers(1, 47), LEADS, OPTIONS, st.sampled_from([HALF, FINAL]))
def test_everything_sums_to_the_forecast_which_is_the_same_without(
    components: tuple[str, ...], minute: int, leads: tuple[float, ...], options: dict[str, object], horizon: Horizon
) -> None:
    if minute > horizon.last_slot:
        horizon = FINAL
    query = of_minute(minute, leads, horizon, {**options, "live": NO_LIVE_INPUTS})
    made = model(*components).forecast(query)
    check_sums(made, components)
    assert made.point in made.interval
    assert numbers(made) == numbers(model(*components).forecast(replace(query, explain=False)))
    names = {each.name for each in explained(made).contributions}
    assert names <= {"ratings", "home", "schedule", "players", "line", "minutes", *components}
    similar = explained(made).similar_games, explained(made).similar_summary is not None
    assert (bool(similar[0]), similar[1]) == ("dejavu" in components,) * 2
    assert ("line" in names) == ("pregame_margin" in options)


@pytest.mark.parametrize("live", [SCORES, BALL])
def test_live_inputs_move_the_last_minute_and_all_components(live: LiveInputs) -> None:
    leads = tuple(float(lead) for lead in range(44))
    plain = of_minute(44, leads, FINAL, {"home_team": "BOS", "away_team": "DAL"})
    made = model().forecast(replace(plain, live=replace(live, total_points=201)))
    check_sums(made)
    without = explained(model().forecast(plain))
    [shift] = [each.points for each in explained(made).contributions if each.name == "live"]
    assert shift
    moved = explained(made).attribution.minutes[-1] - without.attribution.minutes[-1]
    assert moved == pytest.approx(shift)
    assert explained(made).components[0].prediction - without.components[0].prediction == pytest.approx(shift)


@given(SETS, st.floats(60, 3400), st.integers(-20, 20), st.sampled_from([HALF, FINAL]), st.booleans())
def test_at_any_moment_too(
    components: tuple[str, ...], elapsed: float, lead: int, horizon: Horizon, ball: bool
) -> None:
    elapsed = round(60 + elapsed % 1370 if horizon is HALF else elapsed, 1)
    query = at_moment(elapsed, lead, horizon, {"pregame_margin": 3.0, "live": BALL if ball else NO_LIVE_INPUTS})
    made = model(*components).forecast(query)
    check_sums(made, components)
    assert numbers(made) == numbers(model(*components).forecast(replace(query, explain=False)))
    assert query.moment is not None
    if query.moment.slots >= TABLES_FROM[horizon]:
        assert [each.weight for each in explained(made).components] == [1.0] + [0.0] * len(components)


def test_the_similar_games_are_those_that_the_forecast_is_made_of() -> None:
    query = of_minute(44, (2.0,) * 44, FINAL, {"home_team": "BOS", "away_team": "DAL"})
    made = model().forecast(query)
    found = explained(made)
    assert len(found.similar_games) == MOST_SIMILAR
    for game in found.similar_games:
        course = model().course(made, game)
        assert len(course) == 47
        assert course[43] == game.differential
        assert all(each == int(each) for each in course)
    means = []
    for live in (LiveInputs(total_points=200), LiveInputs(total_points=200, possession=Possession(Side.AWAY))):
        each = explained(model().forecast(replace(query, live=live)))
        assert each.similar_summary is not None
        assert 100 < each.similar_summary.games < 140, "12 groups of 10"
        assert each.similar_summary.same_lead > 0
        [prediction] = [component.prediction for component in each.components if component.name == "dejavu"]
        means.append((prediction, prediction - each.similar_summary.correction))
    assert means[0][0] != means[1][0]
    assert means[0][1] == pytest.approx(means[1][1]), "the ball changes the forecast, not what similar games had"
