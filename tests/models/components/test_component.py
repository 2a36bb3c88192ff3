"""A third component, that of the example: all ways to a forecast agree with it in the pool."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.ensembles import ensemble, forecaster
from tests.support.builders.example_component import component
from tests.support.builders.similar_games import walked

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.columns import ColumnsQuery
from dejavu_models.components.component import Component, checked
from dejavu_models.components.ensemble import CELLS, POOLED, GameOpinions, Weights
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.components.registry import component_class
from dejavu_models.errors import ComponentMissing
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import HORIZONS, LINEAR_SOURCES, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions
from dejavu_trainer.training.calibrate import training_games

NAMES = (*POOLED, "gbm")


@cache
def gbm() -> Component:
    """The component, fitted to games in which a lead grows."""
    past = walked(200)
    residuals = np.random.default_rng(3).normal(0, 1, (2, 2, 200, 70)) + np.sign(past.games.levels[:, [17]])
    return component().fit(training_games(past, residuals), 1)


def weights(*, used: bool = True) -> Weights:
    """Return random weights, which differ by cell; those of the third component 0 in some cells, or all."""
    values = np.random.default_rng(5).dirichlet([3.0, 2.0, 2.0, 2.0], (len(LINEAR_SOURCES), len(CELLS)))
    values[:, [1, 5], 3] = 0.0
    values[..., 3] *= used
    values /= values.sum(axis=-1, keepdims=True)
    return Weights(values, values, values, NAMES)


@cache
def model(*, used: bool = True) -> Forecaster:
    return forecaster(replace(ensemble(), weights=weights(used=used), others=(gbm(),)))


PATTERNS = st.lists(st.integers(-6, 6), min_size=1, max_size=47).map(lambda each: tuple(np.cumsum(each).astype(float)))
QUERIES = st.builds(
    lambda pattern, half, margin, total, ball: ForecastQuery(
        ScorePattern(tuple(map(float, pattern))),
        HORIZONS[0] if half and len(pattern) < 24 else HORIZONS[1],
        pregame_margin=margin,
        live=LiveInputs(
            total_points=int(abs(pattern[-1])) + 2 * len(pattern) if total and len(pattern) > 6 else None,
            possession=Possession(Side.HOME) if ball and len(pattern) > 40 else None,
        ),
    ),
    PATTERNS,
    st.booleans(),
    st.none() | st.floats(-12, 12),
    st.booleans(),
    st.booleans(),
)


@given(QUERIES)
def test_an_explained_forecast_is_the_same_and_the_parts_sum_to_it(query: ForecastQuery) -> None:
    made, plain = (model().forecast(replace(query, explain=explain, record=True)) for explain in (True, False))
    assert replace(made, explanation=None) == plain
    assert made.explanation is not None
    parts = made.explanation.components
    assert [each.name for each in parts] == [*NAMES]
    source = MarginSource.UNKNOWN if query.pregame_margin is None else MarginSource.LINE
    of_cell = weights().of(source, HORIZONS.index(query.horizon), query.pattern.minutes)
    assert [each.weight for each in parts] == pytest.approx(of_cell.tolist())
    assert sum(each.weight * each.prediction for each in parts) == pytest.approx(made.point, abs=1e-9)
    assert sum(each.points for each in made.explanation.contributions) == pytest.approx(made.point, abs=1e-9)


@given(QUERIES)
def test_a_forecast_is_that_of_the_pool_of_the_components(query: ForecastQuery) -> None:
    """`GameOpinions` is the pool that the trainer evaluates."""
    query = replace(query, live=NO_LIVE_INPUTS, record=True)
    horizon, minute, models = HORIZONS.index(query.horizon), query.pattern.minutes, model().models
    source = MarginSource.UNKNOWN if query.pregame_margin is None else MarginSource.LINE
    levels, margin = np.array([query.differentials]), np.array([np.nan])
    if query.pregame_margin is not None:
        margin[:] = query.pregame_margin
    live = np.full((1, minute, len(LIVE_COLUMNS)), np.nan)
    pool = GameOpinions(models, source, levels, margin, live).at(horizon, minute)
    assert pool is not None
    leads = levels[:, -1]
    centers = leads + models.linear.increments(minute, leads, margin, line=source is MarginSource.LINE)[:, horizon]
    base = model().calibration.model(source).base(query.horizon, minute, centers, leads, np.nan_to_num(margin))
    pooled, made = pool(base), model().forecast(query)
    assert made.point == pytest.approx(pooled.points[0], abs=2e-3)
    assert made.home_lead_probability == pytest.approx(base.finished(pooled.below).home_leads[0], abs=1e-4)


@settings(max_examples=20)
@given(st.lists(QUERIES, min_size=8, max_size=16))
def test_many_queries_and_columns_get_what_each_gets_alone(queries: list[ForecastQuery]) -> None:
    alone = [model().forecast(each) for each in queries]
    assert model().forecast_many(queries) == alone
    plain = [replace(each, horizon=Horizon.FINAL, live=NO_LIVE_INPUTS, quantile_levels=(0.1, 0.5)) for each in queries]
    alone = [model().forecast(each) for each in plain]
    columns = model().forecast_columns(ColumnsQuery.of(plain))
    assert columns.points.tolist() == [each.point for each in alone]
    assert columns.lower.tolist() == [each.interval.lower for each in alone]
    assert columns.upper.tolist() == [each.interval.upper for each in alone]
    assert columns.home_lead_probabilities.tolist() == [each.home_lead_probability for each in alone]
    assert columns.quantiles.tolist() == [[quantile.value for quantile in each.quantiles] for each in alone]


@pytest.mark.parametrize("seconds", [500.0, 61.5, 3.0])
def test_at_a_moment_too_the_parts_sum_to_the_forecast(seconds: float) -> None:
    moment = Moment(4, seconds, 6)
    query = ForecastQuery(ScorePattern((6.0,) * moment.slots), Horizon.FINAL, pregame_margin=2.0, moment=moment)
    made, plain = (model().forecast(replace(query, explain=explain)) for explain in (True, False))
    assert replace(made, explanation=None) == plain
    assert made.explanation is not None
    parts = made.explanation.components
    assert sum(each.weight for each in parts) == pytest.approx(1)
    assert sum(each.weight * each.prediction for each in parts) == pytest.approx(made.point, abs=1e-9)


@given(QUERIES)
def test_a_component_without_a_weight_changes_nothing(query: ForecastQuery) -> None:
    values = weights(used=False).values[..., :3].copy()
    without = forecaster(replace(ensemble(), weights=Weights(values, values, values)))
    assert replace(model(used=False).forecast(query), model_version="") == replace(
        without.forecast(query), model_version=""
    )


def test_it_is_listed_with_its_weights_and_inputs() -> None:
    info = model().info
    assert info.components == ("dejavu", "lstm", "gbm")
    assert {each.component for each in info.weights} == {*NAMES}
    assert "total_points" in info.inputs


def test_it_comes_back_from_its_bytes_and_hostile_ones_are_refused_by_name() -> None:
    arrays, kind = from_npz(gbm().to_bytes()), component()
    assert kind.from_bytes(gbm().to_bytes()).to_bytes() == gbm().to_bytes()
    for name, value in (("feature", 5), ("left", 900), ("right", -1), ("value", np.nan), ("threshold", np.inf)):
        broken = arrays[name].copy()
        broken[1, 32] = value
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            kind.from_bytes(to_npz(**arrays | {name: broken}))
    with pytest.raises(ValueError, match="left is int64 of shape"):
        kind.from_bytes(to_npz(**arrays | {"left": arrays["left"][:, :-1]}))
    with pytest.raises(KeyError, match="right"):
        kind.from_bytes(to_npz(**{name: each for name, each in arrays.items() if name != "right"}))


def answering(points: Any, below: Any) -> Component:
    class Answering(Component):
        name: ClassVar[str] = "odd"

        @classmethod
        def fit(cls, *_: Any) -> Any: ...

        def distribution(self, rows: Rows, base: Base) -> Distributions:
            return Distributions(points, below)

        def save(self) -> dict[str, Any]:
            return {}

        @classmethod
        def load(cls, _: Any) -> Any: ...

    return Answering()


EVEN: Floats = np.linspace(0, 1, 162)[None]


@pytest.mark.parametrize(
    ("points", "below", "said"),
    [
        (np.zeros(2), EVEN, "points must be"),
        (np.array([np.nan]), EVEN, "points must be"),
        (np.zeros(1), EVEN[:, :-1], "below must be"),
        (np.zeros(1), EVEN[:, ::-1], "below must be"),
        (np.zeros(1), EVEN * 1.1, "below must be"),
        (np.zeros(1), EVEN * np.nan, "below must be"),
    ],
)
def test_an_answer_that_is_no_distribution_is_refused_with_the_name(points: Any, below: Any, said: str) -> None:
    rows = Rows(np.zeros((1, 3)), np.zeros(1), np.full((1, 5), np.nan))
    base = model().calibration.model(MarginSource.KNOWN).base(Horizon.FINAL, 3, none := np.zeros(1), none, none)
    with pytest.raises(ValueError, match=f"component odd: {said}"):
        checked(answering(points, below), rows, base)


def test_an_input_that_nobody_has_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Thirsty\.inputs: fouls; expected some of total_points, last_score_side"):
        type("Thirsty", (Component,), {"inputs": ("fouls", "total_points")})


def test_a_component_that_is_not_installed_is_named_with_what_to_install() -> None:
    with pytest.raises(ComponentMissing, match=r"component gbm is not installed; install dejavu-gbm 0\.1"):
        component_class("gbm", "dejavu-gbm 0.1")
