"""The pool of the components' distributions, and their weights; with a third component, that of the example."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import rows_of, steady_lstm, walked, walks_database
from tests.support.builders.models import ReferenceLstm, model_of, symmetric_model

from dejavu_feed.live_inputs import COLUMNS, LastScore, LiveInputs, Possession, Side, numbers
from dejavu_models.arrays import Floats
from dejavu_models.components.component import Component, checked
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, GameOpinions, Weights, cell_of
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import CASES, DISTRIBUTION_LEVELS, HORIZONS, LINEAR_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import Situation
from dejavu_models.uncertainty.lattice.margin_model import CELLS_FROM, Base, Distributions, LiveColumns, LiveKind

LINEAR = LinearModels(np.zeros((2, 48, 3, 4)))


HALVES = Weights.fixed(0.5, 0.3, 0.2)


GAMES = walked(30, seed=4)


CASE = st.sampled_from(CASES)


def pooled_walks(weights: Weights = HALVES, mean: float = 0.4, log_scale: float = -0.2) -> Ensemble:
    return Ensemble(LINEAR, (walks_database(), steady_lstm(mean, log_scale)), weights)


def opinions_on(models: Ensemble, rows: slice = slice(None)) -> GameOpinions:
    rated = GAMES.select(np.isin(np.arange(30), np.arange(30)[rows]))
    margins = np.where(rated.margins > 9, np.nan, rated.margins)
    live = np.stack([rows_of(rated, minute).live for minute in range(1, MAX_SLOTS + 1)], axis=1)
    return GameOpinions(models, MarginSource.KNOWN, rated.games.levels, margins, live)


def base_of(case: tuple[int, int], centers: Floats, live: LiveColumns | None = None) -> Base:
    model = symmetric_model(LiveKind.NONE if live is None else live.kind)
    return model.base(HORIZONS[case[0]], case[1], centers, centers.round(), 0 * centers, live)


SHARES = st.tuples(st.floats(0.01, 1), st.floats(0, 1)).map(
    lambda each: (1 - each[0], each[0] * each[1], each[0] * (1 - each[1]))
)


@given(CASE, SHARES, st.floats(-1, 1), st.floats(-1, 0.5), st.floats(-20, 20))
def test_a_pool_is_a_distribution_whose_mean_is_its_point(
    case: tuple[int, int], weights: tuple[float, float, float], mean: float, log_scale: float, center: float
) -> None:
    """The point is the sum of the components' weighted predictions; so is the mean, for a symmetric base."""
    models, base = pooled_walks(Weights.fixed(*weights), mean, log_scale), base_of(case, np.full(30, center))
    opinions = opinions_on(models)
    made = opinions.pool(base)
    assert (np.diff(made.below, axis=1, prepend=0.0, append=1.0) >= -1e-12).all()
    alone = [base.prediction, *(checked(each, opinions.rows(case[1]), base) for each in models.members)]
    for column in range(2):
        expected = sum(weight * each[column] for weight, each in zip(weights, alone, strict=True))
        assert made[column] == pytest.approx(expected)
    if case[1] < CELLS_FROM:  # from then on, shapes lean towards the leader
        assert Distributions.of(made.below).points == pytest.approx(made.points, abs=0.6)


def test_opinions_follow_the_margin_of_each_minute() -> None:
    """With margins that change in a game, as line-ups do, each minute is as in a game with that margin throughout."""
    by_minute = np.repeat(GAMES.margins[:, None], MAX_SLOTS, axis=1)
    by_minute[:, 24:] += 5.0
    levels, live = GAMES.games.levels, np.full((30, MAX_SLOTS, len(LIVE_COLUMNS)), np.nan)
    changing = GameOpinions(pooled_walks(), MarginSource.KNOWN, levels, by_minute, live)
    for minute, margins in ((20, GAMES.margins), (30, GAMES.margins + 5.0)):
        steady = GameOpinions(pooled_walks(), MarginSource.KNOWN, levels, margins, live)
        base = base_of((1, minute), levels[:, minute - 1])
        assert changing.pool(base).below == pytest.approx(steady.pool(base).below, abs=1e-6)


def test_weights_are_by_source_horizon_and_quarter() -> None:
    values = np.zeros((3, len(CELLS), 3))
    values[..., 1] = np.linspace(0, 1, 3 * len(CELLS)).reshape(3, -1)
    values[..., 0] = 1 - values[..., 1]
    weights = Weights(values, values, values)
    assert (*((Horizon.HALFTIME, quarter) for quarter in (1, 2)), *((Horizon.FINAL, q) for q in (1, 2, 3, 4))) == CELLS
    assert [cell_of(*case) for case in ((0, 12), (0, 13), (1, 12), (1, 13), (1, 36), (1, 47))] == [0, 1, 2, 3, 4, 5]
    for row, source in enumerate(LINEAR_SOURCES):
        assert weights.of(source, 1, 40).tolist() == values[row, 5].tolist()
    assert np.array_equal(weights.of(MarginSource.RATED, 0, 5), weights.of(MarginSource.KNOWN, 0, 5))
    listed = list(weights.listed())
    assert len(listed) == 3 * len(CELLS) * len(POOLED)
    for each in listed:
        of_case = weights.of(each.margin_source, HORIZONS.index(each.horizon), 12 * each.quarter - 5)
        assert each.weight == each.lower == each.upper == of_case[POOLED.index(each.component)]


@pytest.mark.parametrize(("name", "weights"), [("dejavu", (0.9, 0.1, 0.0)), ("lstm", (0.9, 0.0, 0.1))])
def test_a_component_that_is_missing_has_no_weight(name: str, weights: tuple[float, float, float]) -> None:
    members = tuple(each for each in (walks_database(), steady_lstm()) if each.name != name)
    with pytest.raises(ValueError, match=f"{name} has a weight, but is not a component"):
        Ensemble(LINEAR, members, Weights.fixed(*weights))


SETS = [(), ("dejavu",), ("lstm",), ("dejavu", "lstm"), ("dejavu", "lstm", "gbm")]


@st.composite
def asked(draw: st.DrawFn) -> ForecastQuery:
    """Draw a query with live inputs; its changes have fractions, since of equally near groups either may be found."""
    horizon = draw(st.sampled_from(HORIZONS))
    minutes, rng = draw(st.integers(1, horizon.last_slot)), Random(draw(st.integers(0, 2**32)))
    pattern = tuple(accumulate(rng.choice((-3, -2, 0, 2, 3)) + rng.uniform(-0.4, 0.4) for _ in range(minutes)))
    live = LiveInputs(
        last_score=draw(st.none() | st.builds(LastScore, st.sampled_from(Side), st.integers(0, 60))),
        possession=draw(st.none() | st.builds(Possession, st.sampled_from(Side), st.booleans())),
        total_points=draw(st.none() | st.just(4 * minutes + 4)),
    )
    margin = draw(st.none() | st.floats(-12, 12))
    return ForecastQuery(ScorePattern(pattern), horizon, pregame_margin=margin, live=live, record=True)


@pytest.mark.parametrize("components", SETS, ids=lambda names: " and ".join(("linear", *names)))
@given(asked())
def test_a_forecast_is_that_of_the_pool_of_the_components(components: tuple[str, ...], query: ForecastQuery) -> None:
    """`GameOpinions` is the pool that the trainer evaluates, here with an LSTM by NumPy; forecasts are compiled."""
    model, horizon, minute = model_of(*components), HORIZONS.index(query.horizon), query.pattern.minutes
    members = tuple(
        ReferenceLstm(each.weights, each.mean_totals) if isinstance(each, Lstm) else each
        for each in model.models.members
    )
    models, source = replace(model.models, members=members), MarginSource.LINE
    levels, margin = np.array([query.differentials]), np.array([query.pregame_margin], dtype=float)
    if np.isnan(margin[0]):
        source = MarginSource.UNKNOWN
    told = dict(zip(COLUMNS, numbers(query.live, minute), strict=True))
    live = np.full((1, minute, len(LIVE_COLUMNS)), np.nan)
    live[0, -1] = [told[name] for name in LIVE_COLUMNS]
    situation = Situation(query.horizon, minute, source)
    used = model.calibration.live(situation, told)
    center = models.linear.increments(minute, levels[:, -1], margin, line=source is MarginSource.LINE)[0, horizon]
    center += levels[0, -1] + model.calibration.shift(situation, used)
    base = model.calibration.base(situation, center, levels[0, -1], query.pregame_margin, used)
    pooled, made = GameOpinions(models, source, levels, margin, live).pool(base), model.forecast(query)
    assert made.point == pytest.approx(pooled.points[0], abs=2e-3)
    finished = base.finished(pooled.below)
    assert made.home_lead_probability == pytest.approx(finished.home_leads[0], abs=1e-4)
    differences = np.abs(np.array(made.distribution) - finished.quantiles(DISTRIBUTION_LEVELS)[0])
    assert differences.max() <= (2 if query.horizon is Horizon.FINAL else 1), "a share near a level"
    assert np.count_nonzero(differences) <= 1


EVEN: Floats = np.linspace(0, 1, 162)[None]


@pytest.mark.parametrize(
    ("points", "below", "said"),
    [
        (np.zeros(2), EVEN, "points must be"),
        (np.zeros(1), EVEN[:, ::-1], "below must be"),
        (np.zeros(1), EVEN * np.nan, "below must be"),
    ],
)
def test_an_answer_that_is_no_distribution_is_refused_with_the_name(points: Any, below: Any, said: str) -> None:
    rows = Rows(np.zeros((1, 3)), np.zeros(1), np.full((1, 5), np.nan))
    base = base_of((1, 3), np.zeros(1))
    odd = SimpleNamespace(name="odd", distribution=lambda *_: Distributions(points, below))
    with pytest.raises(ValueError, match=f"component odd: {said}"):
        checked(odd, rows, base)  # type: ignore[arg-type]


def test_an_input_that_nobody_has_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Thirsty\.inputs: fouls; expected some of total_points, last_score_side"):
        type("Thirsty", (Component,), {"inputs": ("fouls", "total_points")})
