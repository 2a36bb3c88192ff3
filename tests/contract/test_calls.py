"""Client and server, from the stubs to the ledger, on the installed version of protobuf."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import __version__ as protobuf_version
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import running_worker

from dejavu_client import HALFTIME, DejavuClient, predict_request


def test_a_forecast_is_recorded_and_streamed(tmp_path: Path) -> None:
    with running_worker(tmp_path, shipped=True) as address, DejavuClient(address, timeout=30.0) as client:
        events = client.stream_predictions(heartbeats=True)
        assert next(events).WhichOneof("event") == "heartbeat"
        forecast = client.predict(PATTERN, horizon=HALFTIME, game_id=GAME, explain=True)
        assert forecast.sequence == 1
        assert forecast.explanation.similar_games
        assert all(game.course for game in forecast.explanation.similar_games)
        assert next(events).forecast == forecast
        what_if, refused = client.predict_batch([predict_request(PATTERN), predict_request([])])
        assert what_if.forecast.point_forecast == forecast.point_forecast
        assert refused.error.reason == "INVALID_PATTERN"
        assert client.list_models()[0].version == forecast.model_version


def test_the_protobuf_is_one_that_the_project_promises_to_run_on() -> None:
    assert int(protobuf_version.partition(".")[0]) in {6, 7}
