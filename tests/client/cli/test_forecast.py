"""A forecast on the command line: its pattern, before any server is asked, and its two intervals."""

from __future__ import annotations

import pytest
from tests.support.fakes.service import FakeServer, forecast
from tests.support.harness.clients import Run
from typer.testing import CliRunner

from dejavu.v1.forecast_pb2 import ADAPTATION_MODE_ON, ADAPTATION_MODE_SHADOW, Adaptation, AdaptationMode
from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client.cli.main import app


@pytest.mark.parametrize(
    ("minutes", "horizon", "expected"),
    [
        (30, "half", "30 minutes; a forecast of the half takes 1 to 23; the end of the game: --horizon final"),
        (48, "half", "48 minutes; a forecast of the half takes 1 to 23"),
        (48, "final", "48 minutes; a forecast of the end takes 1 to 47"),
    ],
)
def test_more_minutes_than_a_horizon_has_are_told_in_minutes(minutes: int, horizon: str, expected: str) -> None:
    result = CliRunner().invoke(app, ["predict", *["0"] * minutes, "--horizon", horizon])
    assert result.exit_code == 2
    assert " ".join(result.stderr.split()).endswith(expected)


@pytest.mark.parametrize(
    ("mode", "line", "how"),
    [
        (ADAPTATION_MODE_SHADOW, "if adapted −9.0 to +13.5", "if adapted"),
        (ADAPTATION_MODE_ON, "as calibrated −8.0 to +12.0", "adapted"),
    ],
)
def test_the_interval_that_a_forecast_does_not_follow_stands_beside_it(
    server: FakeServer, run: Run, mode: AdaptationMode.ValueType, line: str, how: str
) -> None:
    adaptation = Adaptation(
        mode=mode,
        adapted_lower=-9.0,
        adapted_upper=13.5,
        static_lower=-8.0,
        static_upper=12.0,
        rolling_games=40,
        rolling_coverage=0.95,
        static_rolling_coverage=0.875,
    )
    server.answers("Predict", PredictResponse(forecast=forecast(adaptation=adaptation)))
    shown = run("predict", "1").stdout
    assert line in " ".join(shown.split())
    assert f"95 % of 40 games {how}, 87.5 % as calibrated" in shown


@pytest.mark.parametrize("mode", [ADAPTATION_MODE_SHADOW, ADAPTATION_MODE_ON])
def test_an_interval_is_shown_once_where_both_are_the_same(
    server: FakeServer, run: Run, mode: AdaptationMode.ValueType
) -> None:
    both = Adaptation(mode=mode, adapted_lower=-11.52, adapted_upper=12.5, static_lower=-11.52, static_upper=12.5)
    same = forecast(adaptation=both, interval_lower=-11.5, interval_upper=12.5)
    server.answers("Predict", PredictResponse(forecast=same))
    assert run("predict", "1").stdout.count("−11.5 to +12.5") == 1


def test_what_has_not_been_seen_yet_is_not_told(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=forecast(adaptation=Adaptation(mode=ADAPTATION_MODE_ON))))
    assert "rolling coverage" not in run("predict", "1").stdout
