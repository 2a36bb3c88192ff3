"""Memory of workers: after the largest possible batch, and after large requests that are refused."""

from __future__ import annotations

from itertools import accumulate, cycle, islice
from pathlib import Path

import grpc
import pytest
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

MOST = 110_000_000
"""Bytes of proportional set size (PSS), which includes a share of shared memory; for two workers, the default."""


@pytest.mark.nightly
def test_a_worker_with_the_bundle_that_ships_takes_less_than_110_megabytes(tmp_path: Path) -> None:
    requests = [
        pb.PredictRequest(
            pattern=accumulate(islice(cycle((2, -3, 0, number % 4)), 1 + number % 47)),
            horizon=HORIZON_FINAL,
            home_team="BOS",
            away_team="LAL",
            return_explanation=True,
            quantile_levels=[percent / 100 for percent in range(5, 100, 5)],
        )
        for number in range(1000)
    ]
    options = [("grpc.max_receive_message_length", -1)]
    with (
        spawned_server(
            "--workers", "2", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3", new_interpreter=True
        ) as server,
        grpc.insecure_channel(server.address, options=options) as channel,
    ):
        for _ in range(3):
            answer = PredictionServiceStub(channel).PredictBatch(pb.PredictBatchRequest(requests=requests), timeout=60)
            assert all(result.HasField("forecast") for result in answer.results)
        worker = max(server.workers, key=lambda each: each.memory_info().rss)  # the one that answered
        taken = worker.memory_full_info().pss
    assert taken < MOST
