"""What the suite measures: all contenders in turn, the same forecasts, and no call that fails."""

from __future__ import annotations

import struct

import pytest
from bench.latency import Callers, Server
from bench.load import Order, Timings
from bench.performance.measuring import (
    CallsFailed,
    Contest,
    alternate,
    new_order,
    timed_calls,
)
from bench.performance.processes import callers, open_inference
from bench.performance.processes.callers import BATCH, READ
from bench.performance.setting import Setting
from psutil import Process
from tests.support.harness.performance_reports import new_run

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2 as record_pb
from dejavu.v1.forecast_pb2 import Forecast


class FakeCallers(Callers):
    """Callers that call nobody."""

    def __init__(self, failed: int) -> None:
        self.failed = failed
        self.orders: list[Order] = []

    def ask(self, order: Order) -> Timings:
        self.orders.append(order)
        return Timings(1.0, [0.001] * (order.calls - self.failed), self.failed)


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def contest(name: str) -> Contest:
        def take() -> dict[str, float]:
            turns.append(name)
            return {"x": float(len(turns))}

        return Contest("a case", name, take)

    run = new_run()
    alternate(Setting(rounds=2, quick=True), run, "calls", [contest("a"), contest("b")])
    assert turns == ["b", "a", "a", "b", "b", "a"]
    assert [(each.contender, each.round, each.figures["x"]) for each in run.samples] == [
        ("a", 0, 3.0),
        ("b", 0, 4.0),
        ("b", 1, 5.0),
        ("a", 1, 6.0),
    ]


def test_no_two_rounds_ask_for_the_same_games() -> None:
    fake, server = FakeCallers(failed=0), Server("127.0.0.1:1", Process())
    take = timed_calls(fake, server, new_order(server, 1, 10, protocol=BATCH, batch=50, first=7))
    for _ in range(3):
        assert "forecasts_a_core_second" in take()
    assert [order.first for order in fake.orders] == [7, 507, 1007]


def test_a_batch_lacks_nothing_or_counts_as_failed() -> None:
    forecast = pb.PredictBatchResult(forecast=Forecast(point_forecast=1.0))
    error = pb.PredictBatchResult(error=pb.PredictError(reason="INVALID_PATTERN"))
    assert callers.is_batch(2, pb.PredictBatchResponse(results=[forecast] * 2).SerializeToString())
    assert not callers.is_batch(2, pb.PredictBatchResponse(results=[forecast]).SerializeToString())
    assert not callers.is_batch(2, pb.PredictBatchResponse(results=[forecast, error]).SerializeToString())
    assert not callers.is_inference(1, b"")


def test_all_contenders_are_asked_for_the_same_forecasts() -> None:
    server = Server("127.0.0.1:1", Process())
    single = pb.PredictRequest.FromString(callers.body(3, new_order(server, 1, 10)))
    explained = pb.PredictRequest.FromString(callers.body(3, new_order(server, 1, 10, explained=True)))
    batch = new_order(server, 1, 10, protocol=BATCH, batch=2)
    [_, last] = pb.PredictBatchRequest.FromString(callers.body(1, batch)).requests
    assert single == last
    assert single.pattern == explained.pattern
    assert explained.return_explanation
    inference = callers.body(3, new_order(server, 1, 10, protocol=callers.INFER))
    assert struct.pack("<18d", *single.pattern) in inference
    read = callers.body(0, new_order(server, 1, 10, protocol=READ, games=5))
    assert record_pb.GetPredictionRequest.FromString(read).game_id == "0020000000"


def test_a_response_of_the_open_inference_protocol_is_read_raw_and_as_contents() -> None:
    message = open_inference._classes()["ModelInferResponse"]
    contents = message()
    contents.outputs.add(name="other", contents={"fp64_contents": [9.0]})
    contents.outputs.add(name=open_inference.POINT, contents={"fp64_contents": [1.5, -2.0]})
    assert open_inference.points(contents.SerializeToString()) == [1.5, -2.0]
    raw = message(raw_output_contents=[struct.pack("<2d", 1.5, -2.0)])
    raw.outputs.add(name=open_inference.POINT)
    assert open_inference.points(raw.SerializeToString()) == [1.5, -2.0]


def test_what_has_failed_is_not_timed() -> None:
    server = Server("127.0.0.1:1", Process())
    take = timed_calls(FakeCallers(failed=1), server, new_order(server, 1, 10))
    with pytest.raises(CallsFailed, match="1 of 10 calls"):
        take()
