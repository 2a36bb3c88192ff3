"""Callers of Predict, PredictBatch, PredictColumns, GetPrediction and MLServer's ModelInfer; extends `bench.load`.

`bench.performance` runs it with `python -m bench.performance.processes.callers`. Every line of standard input is a
CallOrder; every line of standard output is the resulting Timings. A response that lacks a forecast is a failed call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Final

import uvloop
from bench.load import METHOD, SERVICE, Order, Timings, answer_orders, request, timed
from bench.performance.processes import open_inference
from bench.record_ledger import game

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2 as record_pb

PREDICT: Final = "Predict"
BATCH: Final = "PredictBatch"
COLUMNS: Final = "PredictColumns"
INFER: Final = "ModelInfer"
READ: Final = "GetPrediction"

BATCH_METHOD, COLUMNS_METHOD = f"/{SERVICE}/PredictBatch", f"/{SERVICE}/PredictColumns"
READ_METHOD = f"/{record_pb.DESCRIPTOR.services_by_name['RecordService'].full_name}/GetPrediction"


@dataclass(frozen=True, slots=True)
class CallOrder(Order):
    """Calls to make.

    Attributes:
        protocol: PREDICT, BATCH, COLUMNS, INFER or READ.
        explained: whether forecasts are requested with their explanation.
        batch: number of forecasts per call; 0: a single forecast, not a batch.
        games: READ: number of games in the ledger, requested in turn.
    """

    protocol: str = PREDICT
    explained: bool = False
    batch: int = 0
    games: int = 1


def message(number: int, order: CallOrder) -> pb.PredictRequest:
    """Return the request with a number; deterministic."""
    plain = request(number, order)
    if order.explained:
        plain.return_explanation = True
    return plain


def body(call: int, order: CallOrder) -> bytes:
    """Return the serialized request of a call."""
    size = max(order.batch, 1)
    first = order.first + call * size
    if order.protocol == READ:
        return record_pb.GetPredictionRequest(game_id=game((first * 7) % order.games)).SerializeToString()
    requests = [message(number, order) for number in range(first, first + size)]
    if order.protocol == INFER:
        return open_inference.infer_request([each.pattern for each in requests])
    if order.protocol == COLUMNS:
        slots = [slot for each in requests for slot in each.pattern]
        minutes = [len(each.pattern) for each in requests]
        return pb.PredictColumnsRequest(patterns=slots, minutes=minutes).SerializeToString()
    if order.protocol == BATCH:
        return pb.PredictBatchRequest(requests=requests).SerializeToString()
    return requests[0].SerializeToString()


@lru_cache(maxsize=8)
def bodies(order: str) -> list[bytes]:
    """Return the serialized requests of an order, given as JSON; cached, because building them takes callers' CPU."""
    built = CallOrder(**json.loads(order))
    return [body(call, built) for call in range(built.calls)]


def is_batch(size: int, response: bytes) -> bool:
    """Return whether each request of a batch has its forecast."""
    results = pb.PredictBatchResponse.FromString(response).results
    return len(results) == size and all(each.HasField("forecast") for each in results)


def is_columns(size: int, response: bytes) -> bool:
    """Return whether columns have a forecast of each game."""
    return len(pb.PredictColumnsResponse.FromString(response).point_forecasts) == size


def is_inference(size: int, response: bytes) -> bool:
    """Return whether a response of MLServer has the given number of forecasts."""
    return len(open_inference.points(response)) == size


def _anything(_: bytes) -> bool:
    return True


async def ask(order: CallOrder) -> Timings:
    """Run an order."""
    size = max(order.batch, 1)
    kinds: dict[str, tuple[str, Callable[[bytes], bool]]] = {
        PREDICT: (METHOD, _anything),
        BATCH: (BATCH_METHOD, partial(is_batch, size)),
        COLUMNS: (COLUMNS_METHOD, partial(is_columns, size)),
        INFER: (open_inference.METHOD, partial(is_inference, size)),
        READ: (READ_METHOD, _anything),
    }
    method, is_complete = kinds[order.protocol]
    return await timed(order, method, bodies(json.dumps(asdict(replace(order, address="")))), is_complete)


if __name__ == "__main__":
    uvloop.run(answer_orders(CallOrder, ask))
