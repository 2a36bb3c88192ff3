"""A package that was built without a compiler forecasts the same, with NumPy, ONNX Runtime and hnswlib."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.native import native, shared_floats
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon

PROGRAM = """
import sys
sys.modules["dejavu_models._native"] = None  # what an import of a module that is not there finds
from tests.models.test_native import answers
import json
print(json.dumps(answers()))
"""


def answers() -> list[list[float]]:
    """Returns the numbers of a few forecasts of the bundle that ships."""
    forecaster = load_bundle(default_bundle())
    found = []
    for minutes in (1, 6, 18, 23, 30, 47):
        pattern = ScorePattern(tuple(0.4 * minute for minute in range(minutes)))
        horizon = Horizon.HALFTIME if minutes < 24 else Horizon.FINAL
        query = ForecastQuery(
            pattern, horizon, alpha=0.1, explain=True, quantile_levels=(0.1, 0.5, 0.9), record=True, total_points=100
        )
        forecast = forecaster.forecast(query)
        total, explanation = forecast.total, forecast.explanation
        assert total is not None
        assert explanation is not None
        assert explanation.attribution is not None
        found.append(
            [
                forecast.point,
                forecast.interval.lower,
                forecast.interval.upper,
                forecast.home_lead_probability,
                *(quantile.value for quantile in forecast.quantiles),
                *forecast.distribution,
                total.point,
                *total.distribution,
                *explanation.attribution.minutes,
                *(game.distance for game in explanation.similar_games),
            ]
        )
    return found


def test_forecasts_are_the_same_without_the_extension() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    for plain, compiled in zip(json.loads(run.stdout), answers(), strict=True):
        assert plain == pytest.approx(compiled, abs=1e-5)


@given(st.lists(st.floats() | st.integers(-250, 250).map(float)))
def test_shared_floats_are_the_floats_given(values: list[float]) -> None:
    assert list(map(float.hex, shared_floats(values))) == list(map(float.hex, values))  # −0 and NaN too


@pytest.mark.skipif(native is None, reason="the extension was not built")
def test_equal_whole_numbers_share_one_object() -> None:
    one, other = shared_floats([float("7"), 0.5, -200.0]), shared_floats([float("7.0"), 0.5, -200.0])
    assert one[0] is other[0]
    assert one[2] is other[2]


@pytest.mark.skipif(native is None, reason="the extension was not built")
def test_what_is_no_float_is_not_shared() -> None:
    with pytest.raises(TypeError):
        native.shared_floats([1.0, "2"])
