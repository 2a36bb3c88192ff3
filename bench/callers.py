"""Closed-loop callers: each sends its next call when the previous one is answered.

`call` runs in a process of `bench.servers.process_on`. All servers are called by the same code, with requests
serialized in advance. A response that lacks a forecast is a failed call.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from struct import unpack
from typing import Final

import grpc
from bench.servers import event_loop
from tests.support.builders.issued_forecasts import game

from dejavu.inference import open_inference_pb2 as inference_pb
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2 as record_pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME

PREDICT: Final = "/dejavu.v1.PredictionService/Predict"
BATCH: Final = "/dejavu.v1.PredictionService/PredictBatch"
COLUMNS: Final = "/dejavu.v1.PredictionService/PredictColumns"
READ: Final = "/dejavu.v1.RecordService/GetPrediction"
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"

MINUTE = 18
SEED = 1


@dataclass(frozen=True, slots=True)
class Order:
    """Calls to make.

    Attributes:
        address: HOST:PORT of the server.
        callers: number of concurrent callers, each with its own connection.
        calls: number of calls that they share.
        method: PREDICT, BATCH, COLUMNS, INFER or READ.
        first: number of the first request; each number has its own pattern of MINUTE minutes and, if `named`, its own
            game.
        named: whether the requests name a game.
        explained: whether forecasts are requested with their explanation.
        batch: number of forecasts per call; 0: a single forecast, not a batch.
        games: READ: number of games in the ledger, requested in turn.
        authority: file of the certificate authority that the server's certificate is checked by; empty: plain text.
        token: bearer token; empty: none.
    """

    address: str
    callers: int
    calls: int
    method: str = PREDICT
    first: int = 0
    named: bool = False
    explained: bool = False
    batch: int = 0
    games: int = 1
    authority: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Timings of an order.

    Attributes:
        seconds: time from the first call to the last response.
        each: latency of every successful call, in seconds.
        failed: number of failed calls.
        begun: when each of the successful calls began, in seconds of a clock that all processes have in common.
    """

    seconds: float
    each: list[float]
    failed: int
    begun: list[float]


def request(number: int, order: Order) -> pb.PredictRequest:
    """Return the request with a number; deterministic."""
    rng = random.Random(f"{SEED}-{number}")
    return pb.PredictRequest(
        game_id=f"99{number:08d}" if order.named else "",  # no NBA game id starts with 99
        pattern=accumulate(rng.choice((-3, -2, 0, 0, 2, 3)) for _ in range(MINUTE)),
        horizon=HORIZON_HALFTIME,
        return_explanation=order.explained,
    )


def body(call: int, order: Order) -> bytes:
    """Return the serialized request of a call."""
    size = max(order.batch, 1)
    first = order.first + call * size
    if order.method == READ:
        return record_pb.GetPredictionRequest(
            game_id=game((first * 7) % order.games), horizon=HORIZON_HALFTIME
        ).SerializeToString()
    requests = [request(number, order) for number in range(first, first + size)]
    if order.method == INFER:
        return infer_request(requests).SerializeToString()
    if order.method == COLUMNS:
        slots = [slot for each in requests for slot in each.pattern]
        return pb.PredictColumnsRequest(patterns=slots, minutes=[MINUTE] * size).SerializeToString()
    if order.method == BATCH:
        return pb.PredictBatchRequest(requests=requests).SerializeToString()
    return requests[0].SerializeToString()


def infer_request(requests: Sequence[pb.PredictRequest]) -> inference_pb.ModelInferRequest:
    """Return a request to MLServer with the patterns of requests, (n, MINUTE), in points.

    The values travel as numbers: MLServer takes longer to read them as raw bytes.
    """
    patterns = inference_pb.ModelInferRequest.InferInputTensor(
        name="patterns", datatype="FP64", shape=[len(requests), MINUTE]
    )
    patterns.contents.fp64_contents.extend(slot for each in requests for slot in each.pattern)
    return inference_pb.ModelInferRequest(model_name="dejavu", inputs=[patterns])


def inferred_points(response: bytes) -> list[float]:
    """Return the point forecasts of a serialized ModelInferResponse of MLServer, in points; empty if it has none."""
    answer = inference_pb.ModelInferResponse.FromString(response)
    for index, tensor in enumerate(answer.outputs):
        if tensor.name == "point":
            if answer.raw_output_contents:
                raw = answer.raw_output_contents[index]
                return list(unpack(f"<{len(raw) // 8}d", raw))
            return list(tensor.contents.fp64_contents)
    return []


@lru_cache(maxsize=8)
def bodies(order: Order) -> list[bytes]:
    """Return the serialized requests of an order; cached, because building them takes callers' CPU."""
    return [body(number, order) for number in range(order.calls)]


def is_complete(response: bytes, order: Order) -> bool:
    """Return whether a response has every forecast that was requested."""
    size = max(order.batch, 1)
    if order.method == BATCH:
        results = pb.PredictBatchResponse.FromString(response).results
        return len(results) == size and all(each.HasField("forecast") for each in results)
    if order.method == COLUMNS:
        return len(pb.PredictColumnsResponse.FromString(response).point_forecasts) == size
    return order.method != INFER or len(inferred_points(response)) == size


def call(order: Order) -> Timings:
    """Make the calls of an order; connect before the measurement starts."""
    return event_loop().run(_call(order))


async def _call(order: Order) -> Timings:
    requests = iter(bodies(replace(order, address="")))
    metadata = [("authorization", f"Bearer {order.token}")] if order.token else None
    each: list[float] = []
    begun: list[float] = []
    failed = 0

    async def caller(channel: grpc.aio.Channel) -> None:
        nonlocal failed
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(order.method)
        for request in requests:
            start = time.perf_counter()
            try:
                response = await method(request, timeout=30.0, metadata=metadata)
            except grpc.aio.AioRpcError:
                failed += 1
                continue
            taken = time.perf_counter() - start
            if is_complete(response, order):
                each.append(taken)
                begun.append(start)
            else:
                failed += 1

    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(order)) for _ in range(order.callers)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
        start = time.perf_counter()
        await asyncio.gather(*(caller(channel) for channel in channels))
        return Timings(time.perf_counter() - start, each, failed, begun)


def _channel(order: Order) -> grpc.aio.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not order.authority:
        return grpc.aio.insecure_channel(order.address, options)
    credentials = grpc.ssl_channel_credentials(Path(order.authority).read_bytes())
    return grpc.aio.secure_channel(order.address, credentials, options)
