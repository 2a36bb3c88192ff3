"""Columns, and many queries together, give each game the same forecast as alone; errors in them are named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import accumulate
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.models import model_of, moment_at
from tests.support.builders.shipped import shipped_bundle
from typing_extensions import override

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_models.errors import AlphaTooSmall, InvalidInput
from dejavu_models.forecast_query import ColumnsForecast, ColumnsQuery, ForecastQuery
from dejavu_models.forecaster import Forecaster
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.live_ratings import OnlineState
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import Tracker
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.observability.metrics import Metrics

SHIPPED = shipped_bundle()


def with_outcomes(mode: AdaptationMode) -> Forecaster:
    """Return a forecaster whose intervals surprising games have widened."""
    tracker = Tracker()
    for score in (3.0, -4.0, 3.5):
        tracker = tracker.after(score)
    result = Forecaster(SHIPPED.manifest, SHIPPED.models, SHIPPED.calibration, SHIPPED.rating_filter)
    trackers = {(Horizon.FINAL, quarter): tracker for quarter in (0, 1, 3)}
    result.update(OnlineState(mode=mode, trackers=trackers, sequence=17))
    return result


@cache
def forecaster_of(name: str) -> Forecaster:
    return {
        "static": lambda: SHIPPED,
        "adapted": lambda: with_outcomes(AdaptationMode.ON),
        "shadow": lambda: with_outcomes(AdaptationMode.SHADOW),
        "with a third component": lambda: model_of("dejavu", "lstm", "gbm"),
    }[name]()


FORECASTERS = ("static", "adapted", "shadow", "with a third component")


def asked(horizon: Horizon, games: list[tuple[list[int], float | None]], **options: object) -> ColumnsQuery:
    return ColumnsQuery(
        np.array([value for changes, _ in games for value in accumulate(changes)], dtype=float),
        np.array([len(changes) for changes, _ in games]),
        np.array([np.nan if margin is None else margin for _, margin in games]),
        horizon,
        **options,  # type: ignore[arg-type]
    )


def games(horizon: Horizon) -> st.SearchStrategy[ColumnsQuery]:
    game = st.tuples(
        st.lists(st.integers(-7, 7), min_size=1, max_size=horizon.last_slot), st.none() | st.floats(-15, 15)
    )
    levels = st.lists(st.floats(0.01, 0.99), max_size=10).map(tuple)
    return st.builds(
        lambda *given: asked(horizon, given[0], alpha=given[1], quantile_levels=given[2]),
        st.lists(game, min_size=1, max_size=20),
        st.floats(0.01, 0.99),
        levels,
    )


@pytest.mark.parametrize("name", FORECASTERS)
@given(st.lists(st.sampled_from(list(Horizon)).flatmap(games), min_size=1, max_size=3), st.randoms())
def test_columns_and_many_queries_get_what_each_gets_alone(
    name: str, queries: list[ColumnsQuery], random: Random
) -> None:
    """A few kinds of options, of each enough games for one pass or fewer; some with teams, a ball or a moment."""
    model, mixed = forecaster_of(name), list[ForecastQuery]()
    for query in queries:
        model.check_columns(query)
        columns = model.forecast_columns(query)
        alone = [model.forecast(each) for each in query.queries()]
        assert columns.model_version == model.version
        assert {columns.calibration_sequence} == {each.calibration_sequence for each in alone}
        assert columns.points.tolist() == [each.point for each in alone]
        assert columns.lower.tolist() == [each.interval.lower for each in alone]
        assert columns.upper.tolist() == [each.interval.upper for each in alone]
        assert columns.home_lead_probabilities.tolist() == [each.home_lead_probability for each in alone]
        assert columns.quantiles.tolist() == [[quantile.value for quantile in each.quantiles] for each in alone]
        mixed += query.queries()
    mixed += [replace(each, home_team="BOS", away_team="LAL", pregame_margin=None) for each in mixed[::7]]
    ball = LiveInputs(possession=Possession(Side.HOME))
    mixed += [replace(each, live=ball) for each in mixed[::3] if each.pattern.minutes > 40]
    early = [each for each in mixed[::5] if each.pattern.minutes < each.horizon.last_slot]
    mixed += [replace(each, moment=moment_at(60.0 * each.pattern.minutes + 20, 2)) for each in early]
    random.shuffle(mixed)
    assert model.forecast_many(mixed) == [model.forecast(each) for each in mixed]
    assert model.forecast_many([]) == []


async def test_all_parts_of_a_request_have_the_outcomes_of_its_first() -> None:
    """The sequence of the ledger that adapted the columns is stated once for all of them."""
    query = asked(Horizon.FINAL, [([2] * 18, None)] * 300)
    adapted = OnlineState(mode=AdaptationMode.ON, trackers={}, sequence=17)

    class Learning(Forecaster):
        """A model that learns from an outcome after each part."""

        @override
        def forecast_columns(self, query: ColumnsQuery, state: ActiveState | None = None) -> ColumnsForecast:
            made = super().forecast_columns(query, state)
            self.update(adapted)
            return made

    model = Learning(SHIPPED.manifest, SHIPPED.models, SHIPPED.calibration, SHIPPED.rating_filter)
    batcher = Batcher(Metrics())
    parts = await batcher.forecast_columns(model, query)
    await batcher.close()
    assert [part.calibration_sequence for part in parts] == [0, 0]
    assert model.forecast_columns(query).calibration_sequence == 17


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"minutes": np.array([2, 0])}, "minutes[1]", "1 to 47"),
        ({"minutes": np.array([48, 3])}, "minutes[0]", "1 to 47"),
        ({"minutes": np.array([2, 2])}, "patterns", "4 slots, the sum of minutes"),
        ({"patterns": np.array([1.0, 2.0, 1.0, np.nan, 2.0])}, "patterns[3]", "minute 2 of game 1"),
        ({"patterns": np.array([1.0, 2.0, 1.0, 201.0, 2.0])}, "patterns[3]", "±200"),
        ({"margins": np.zeros(3)}, "pregame_margins", "one for each of the 2 games"),
        ({"margins": np.array([np.nan, np.inf])}, "pregame_margins[1]", "±200"),
        ({"alpha": 0.0}, "alpha", "between 0 and 1"),
        ({"alpha": np.nan}, "alpha", "between 0 and 1"),
        ({"quantile_levels": (0.5, 1.0)}, "quantile_levels[1]", "between 0 and 1"),
        ({"quantile_levels": (0.5,) * 100}, "quantile_levels", "at most 99"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], field: str, expected: str) -> None:
    good = ColumnsQuery(np.array([1.0, 2.0, 1.0, 0.0, 2.0]), np.array([2, 3]), np.full(2, np.nan), Horizon.FINAL)
    with pytest.raises(InvalidInput) as refused:
        replace(good, **change)  # type: ignore[arg-type]
    assert refused.value.field == field
    assert expected in str(refused.value)


def test_what_the_model_does_not_support_is_refused() -> None:
    with pytest.raises(AlphaTooSmall):
        SHIPPED.check_columns(asked(Horizon.FINAL, [([1] * 5, None)], alpha=0.0001))
