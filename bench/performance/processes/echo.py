"""Baseline for batches and streams: a bare grpc.aio server with fixed responses; for single calls see `bench.echo`.

`bench.performance` runs it with `python -m bench.performance.processes.echo`. It reads one line of JSON from standard
input, prints its address on standard output, and serves until standard input ends. PredictBatch parses the requests and
returns as many equal results. Predict sends one event to every subscriber of StreamPredictions, then answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import grpc
import uvloop
from bench.echo import serve_methods

from dejavu.v1 import prediction_service_pb2 as pb

FIRST = pb.StreamPredictionsResponse(resume_token="x").SerializeToString()
"""A heartbeat: tells a subscriber that it misses nothing from now on."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Responses of the echo, serialized, in hex.

    Attributes:
        response: a PredictResponse.
        event: a StreamPredictionsResponse.
    """

    response: str
    event: str = ""

    def line(self) -> str:
        """Return the line that the process reads."""
        return json.dumps(asdict(self))


async def serve() -> None:
    """Serve on a free port of 127.0.0.1 until standard input ends."""
    answers = Answers(**json.loads(sys.stdin.readline()))
    response = pb.PredictResponse.FromString(bytes.fromhex(answers.response))
    event = bytes.fromhex(answers.event)
    queues = set[asyncio.Queue[bytes]]()

    @cache
    def results(size: int) -> pb.PredictBatchResponse:
        result = pb.PredictBatchResult(forecast=response.forecast)
        return pb.PredictBatchResponse(results=[result] * size)

    async def predict(_: pb.PredictRequest, __: grpc.aio.ServicerContext[Any, Any]) -> pb.PredictResponse:
        for queue in queues:
            queue.put_nowait(event)
        return response

    async def batch(request: pb.PredictBatchRequest, _: grpc.aio.ServicerContext[Any, Any]) -> pb.PredictBatchResponse:
        return results(len(request.requests))

    async def stream(_: bytes, __: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        queue = asyncio.Queue[bytes]()
        queues.add(queue)
        try:
            yield FIRST
            while True:
                yield await queue.get()
        finally:
            queues.remove(queue)

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Predict": grpc.unary_unary_rpc_method_handler(
            predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
        ),
        "PredictBatch": grpc.unary_unary_rpc_method_handler(
            batch, pb.PredictBatchRequest.FromString, pb.PredictBatchResponse.SerializeToString
        ),
        "StreamPredictions": grpc.unary_stream_rpc_method_handler(stream),
    }
    await serve_methods(handlers)


if __name__ == "__main__":
    uvloop.run(serve())
