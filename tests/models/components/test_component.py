"""A third component, that of the example: all ways to a forecast agree with it in the pool."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.ensembles import ensemble, forecaster
from tests.support.builders.queries import queries
from tests.support.builders.third_component import component, fitted, weights_with_third, with_third

from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.component import Component, checked
from dejavu_models.components.ensemble import GameOpinions, Weights
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import Distributions

QUERIES = queries(pregame_margin=st.none() | st.floats(-12, 12), record=st.just(True))


@given(QUERIES)
def test_a_forecast_is_that_of_the_pool_of_the_components(query: ForecastQuery) -> None:
    """`GameOpinions` is the pool that the trainer evaluates."""
    horizon, minute, models = HORIZONS.index(query.horizon), query.pattern.minutes, with_third().models
    source = MarginSource.UNKNOWN if query.pregame_margin is None else MarginSource.LINE
    levels, margin = np.array([query.differentials]), np.array([np.nan])
    if query.pregame_margin is not None:
        margin[:] = query.pregame_margin
    live = np.full((1, minute, len(LIVE_COLUMNS)), np.nan)
    leads = levels[:, -1]
    centers = leads + models.linear.increments(minute, leads, margin, line=source is MarginSource.LINE)[:, horizon]
    base = with_third().calibration.model(source).base(query.horizon, minute, centers, leads, np.nan_to_num(margin))
    pooled, made = GameOpinions(models, source, levels, margin, live).pool(base), with_third().forecast(query)
    assert made.point == pytest.approx(pooled.points[0], abs=2e-3)
    assert made.home_lead_probability == pytest.approx(base.finished(pooled.below).home_leads[0], abs=1e-4)


@given(QUERIES)
def test_a_component_without_a_weight_changes_nothing(query: ForecastQuery) -> None:
    values = weights_with_third(used=False).values[..., :3].copy()
    without = forecaster(replace(ensemble(), weights=Weights(values, values, values)))
    assert replace(with_third(used=False).forecast(query), model_version="") == replace(
        without.forecast(query), model_version=""
    )


def test_it_comes_back_from_its_bytes_and_hostile_ones_are_refused_by_name() -> None:
    arrays, kind = from_npz(fitted().to_bytes()), component()
    assert kind.from_bytes(fitted().to_bytes()).to_bytes() == fitted().to_bytes()
    for name, value in (("feature", 5), ("left", 900), ("right", -1), ("value", np.nan), ("threshold", np.inf)):
        broken = arrays[name].copy()
        broken[1, 32] = value
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            kind.from_bytes(to_npz(**arrays | {name: broken}))
    with pytest.raises(ValueError, match="left is int64 of shape"):
        kind.from_bytes(to_npz(**arrays | {"left": arrays["left"][:, :-1]}))
    with pytest.raises(KeyError, match="right"):
        kind.from_bytes(to_npz(**{name: each for name, each in arrays.items() if name != "right"}))


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
    base = with_third().calibration.model(MarginSource.KNOWN).base(Horizon.FINAL, 3, none := np.zeros(1), none, none)
    odd = SimpleNamespace(name="odd", distribution=lambda *_: Distributions(points, below))
    with pytest.raises(ValueError, match=f"component odd: {said}"):
        checked(odd, rows, base)  # type: ignore[arg-type]


def test_an_input_that_nobody_has_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Thirsty\.inputs: fouls; expected some of total_points, last_score_side"):
        type("Thirsty", (Component,), {"inputs": ("fouls", "total_points")})
