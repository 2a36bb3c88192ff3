"""Bundles that lack components load, serve, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import publish_with_components
from tests.support.processes.servers import running_worker

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client import FINAL, DejavuClient
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle

PATTERN = [2.0, -1.0, 3.0, 6.0, 4.0, 4.0, 9.0]


@pytest.mark.parametrize("components", [(), ("dejavu",), ("lstm",)])
def test_it_serves_what_is_there_and_says_so(tmp_path: Path, components: tuple[str, ...]) -> None:
    publish_with_components(tmp_path / "bundle", components)
    model = load_bundle(tmp_path / "bundle")
    expected = model.forecast(ForecastQuery(ScorePattern(tuple(PATTERN)), Horizon.FINAL, pregame_margin=3.0))
    with running_worker(tmp_path, model) as address, DejavuClient(address) as client:
        [described] = client.list_models()
        assert tuple(described.components) == components
        assert (described.past_games > 0) == ("dejavu" in components)
        forecast = client.predict(PATTERN, horizon=FINAL, pregame_margin=3.0, explain=True)
        assert forecast.point_forecast == pytest.approx(expected.point)
        explained = forecast.explanation
        weights = {each.name: each.weight for each in explained.components}
        assert [*weights] == ["linear", *components]
        assert sum(weights.values()) == pytest.approx(1)
        weighted = sum(each.weight * each.prediction for each in explained.components)
        assert weighted == pytest.approx(forecast.point_forecast)
        assert (len(explained.similar_games) > 0) == ("dejavu" in components)
        shares = explained.attribution
        whole = shares.before_tipoff + sum(shares.minutes) + shares.components
        assert whole == pytest.approx(forecast.point_forecast)
        request = PredictRequest(pattern=PATTERN, horizon=FINAL, pregame_margin=3.0)
        many = client.predict_batch([request] * 10)
        assert {each.forecast.point_forecast for each in many} == {forecast.point_forecast}
        client.predict(PATTERN, game_id="9900000001", horizon=FINAL, pregame_margin=3.0)
        [recorded] = client.list_predictions(explain=True, include_replays=True)
        stored = recorded.forecast.explanation.components
        assert [(each.name, each.weight) for each in stored] == [*weights.items()]
