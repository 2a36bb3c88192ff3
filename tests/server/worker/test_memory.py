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
from dejavu_server.worker.limits import MAX_REQUEST_BYTES

MOST = 110_000_000
"""Bytes, including its share of memory shared with other processes (PSS): with two workers, as by default."""

MOST_OF_FOUR = 260_000_000
"""Bytes of four workers together, their shares of the fork server's memory included; without large batches."""

MOST_GROWTH = 80_000_000
"""Bytes by which refused requests may let a worker grow: some in progress, of which gRPC keeps several copies."""


def test_four_workers_share_most_of_their_memory(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.sqlite3"
    with spawned_server("--workers", "4", "--ledger", ledger, new_interpreter=True, standby=True) as server:
        for _ in range(40):
            with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                request = pb.PredictRequest(pattern=[0.0] * 18, return_explanation=True)
                PredictionServiceStub(channel).Predict(request, timeout=20)
        taken = sum(worker.memory_full_info().pss for worker in server.workers)
    assert taken < MOST_OF_FOUR


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


def test_large_requests_that_are_refused_leave_nothing_in_memory(tmp_path: Path) -> None:
    unreadable = b"\xff" * (MAX_REQUEST_BYTES - 100_000)
    refused = pb.PredictBatchRequest(requests=[pb.PredictRequest(game_id="x" * 1_200)] * 1001).SerializeToString()
    with (
        spawned_server("--workers", "1", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        [worker] = server.workers
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/dejavu.v1.PredictionService/PredictBatch"
        )
        sizes = []
        for _ in range(30):
            for body in (unreadable, refused):
                with pytest.raises(grpc.RpcError) as caught:
                    call(body, timeout=60)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            sizes.append(worker.memory_full_info().pss)
    assert sizes[-1] - sizes[0] < MOST_GROWTH
