"""Bundles that lack components load, serve, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import publish_with_components
from tests.support.processes.servers import running_worker
from tests.support.reference.batch import GameBatch

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client import FINAL, DejavuClient
from dejavu_store.bundle import load_bundle

PATTERN = [2.0, -1.0, 3.0, 6.0, 4.0, 4.0, 9.0]


@pytest.mark.parametrize("components", [(), ("dejavu",), ("lstm",)])
def test_it_serves_what_is_there_and_says_so(tmp_path: Path, components: tuple[str, ...]) -> None:
    publish_with_components(tmp_path / "bundle", components)
    model = load_bundle(tmp_path / "bundle")
    [expected] = GameBatch([(tuple(PATTERN), 3.0)], model.models, line=True).games
    with running_worker(tmp_path, model) as address, DejavuClient(address) as client:
        [described] = client.list_models()
        assert tuple(described.components) == components
        assert (described.database_entries > 0) == ("dejavu" in components)
        forecast = client.predict(PATTERN, horizon=FINAL, pregame_margin=3.0, explain=True)
        assert forecast.point_forecast == pytest.approx(expected.point(1))
        explained = forecast.explanation
        weights = {each.name: each.weight for each in explained.components}
        assert weights == {"linear": 1.0} | dict.fromkeys(components, 0.0)
        assert [*weights] == ["linear", *components]
        assert explained.components[0].prediction == forecast.point_forecast
        assert (len(explained.similar_games) > 0) == ("dejavu" in components)
        shares = explained.attribution
        assert shares.before_tipoff + sum(shares.minutes) == pytest.approx(forecast.point_forecast)
        request = PredictRequest(pattern=PATTERN, horizon=FINAL, pregame_margin=3.0)
        many = client.predict_batch([request] * 10)
        assert {each.forecast.point_forecast for each in many} == {forecast.point_forecast}
        client.predict(PATTERN, game_id="9900000001", horizon=FINAL)
        [recorded] = client.list_predictions(explain=True, include_replays=True)
        stored = recorded.forecast.explanation.components
        assert [(each.name, each.weight) for each in stored] == [*weights.items()]
