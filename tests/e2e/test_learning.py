"""Tests online updates on a real server: all workers reach the same state, and recorded forecasts do not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import current_game
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.forecast_pb2 import ADAPTATION_MODE_ON, HORIZON_FINAL, Forecast
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub

PATTERN = (0, 2, 3, 1, -2, 0, 1, 4, 6, 5, 5, 7, 8, 6, 9, 11, 8, 10)


class Connections:
    """One connection to each worker of a server."""

    def __init__(self, server: SpawnedServer) -> None:
        self._server = server
        self._open = ExitStack()
        self._channels: dict[str, grpc.Channel] = {}

    def by_worker(self, workers: set[str]) -> dict[str, grpc.Channel]:
        """Returns a channel to each worker. The kernel assigns connections: opens more until each worker has one."""
        while not workers <= self._channels.keys():
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = self._open.enter_context(grpc.insecure_channel(self._server.address, options))
            _, call = PredictionServiceStub(channel).Predict.with_call(PredictRequest(pattern=PATTERN))
            worker = str(dict(call.trailing_metadata())["dejavu-worker"])
            self._channels.setdefault(worker, channel)
        return {worker: self._channels[worker] for worker in sorted(workers)}

    def close(self) -> None:
        """Closes all connections."""
        self._open.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SpawnedServer]:
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with spawned_server("--workers", "2", "--ledger", ledger, "--adaptive", "on", "--log-level", "debug") as server:
        yield server


@pytest.fixture
def connections(server: SpawnedServer) -> Iterator[Connections]:
    made = Connections(server)
    yield made
    made.close()


def predict(channel: grpc.Channel, game_id: str = "") -> Forecast:
    request = PredictRequest(game_id=game_id, pattern=PATTERN, horizon=HORIZON_FINAL, home_team="BOS", away_team="NYK")
    return PredictionServiceStub(channel).Predict(request, timeout=20).forecast


def report(channel: grpc.Channel, game_id: str, differential: int) -> int:
    request = ReportOutcomeRequest(
        game_id=game_id, horizon=HORIZON_FINAL, differential=differential, home_team="BOS", away_team="NYK"
    )
    return int(RecordServiceStub(channel).ReportOutcome(request, timeout=20).outcome.sequence)


def without_times(forecast: Forecast) -> Forecast:
    bare = Forecast()
    bare.CopyFrom(forecast)
    bare.ClearField("generated_time")
    bare.ClearField("expires_time")
    return bare


def test_every_worker_answers_by_the_same_outcomes_and_one_that_starts_later_too(
    server: SpawnedServer, connections: Connections
) -> None:
    assert server.address
    workers = {entry["worker"] for entry in server.events if entry["event"] == "serving"}

    def learned(sequence: int, names: set[str]) -> list[Forecast]:
        """Returns the workers' forecasts once they have applied the outcome at a sequence."""
        for name in names:

            def has(entry: dict[str, Any], worker: str = name) -> bool:
                return bool(entry["sequence"] >= sequence and entry["worker"] == worker)

            server.wait_for("learned", has)
        return [without_times(predict(channel)) for channel in connections.by_worker(names).values()]

    one, other = connections.by_worker(workers).values()
    initial = predict(one)
    assert initial.calibration_sequence == 0
    assert initial.adaptation.rolling_games == 0

    games = [current_game(number) for number in range(1, 9)]
    recorded = {game: predict(one if index % 2 else other, game) for index, game in enumerate(games)}
    last = 0
    for game in games:  # far outside every interval
        last = report(one, game, -60)
    updated = learned(last, workers)
    assert updated[0] == updated[1]
    assert updated[0].calibration_sequence == last
    assert updated[0].adaptation.mode == ADAPTATION_MODE_ON
    assert updated[0].adaptation.rolling_games == len(games)
    assert updated[0].adaptation.static_rolling_coverage == 0
    adapted = updated[0].adaptation
    width = adapted.static_upper - adapted.static_lower
    assert updated[0].interval_upper - updated[0].interval_lower > 1.1 * width
    assert updated[0].expected_margin < initial.expected_margin - 1

    corrected = report(other, games[3], 10)
    after = learned(corrected, workers)
    assert after[0] == after[1]
    assert after[0].calibration_sequence == corrected
    assert after[0].expected_margin > updated[0].expected_margin
    for game, forecast in recorded.items():  # recorded forecasts are still returned unchanged
        assert without_times(predict(one, game)) == without_times(forecast)

    server.workers[0].kill()
    server.wait_for("serving", lambda entry: entry["worker"] not in workers)
    living = {entry["worker"] for entry in server.events if entry["event"] == "serving"} - workers
    assert learned(corrected, living) == [after[0]]
