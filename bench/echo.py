"""Baseline for the cost of grpc.aio on uvloop: a server with fixed responses, without interceptors, metrics or model.

`bench.servers.echo_server` runs it with `python -m bench.echo HOST:PORT RESPONSE EVENT`, the messages in hex. It prints
its address and serves until it is killed. Predict parses the request, sends one event to every subscriber of
StreamPredictions, then answers. PredictBatch parses the requests and returns as many equal results. A process that is
given the address of another one shares its port.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import grpc
import uvloop

from dejavu.v1 import prediction_service_pb2 as pb

FIRST = pb.StreamPredictionsResponse(resume_token="x").SerializeToString()
"""A heartbeat: tells a subscriber that it misses nothing from now on."""


async def serve(address: str, response_hex: str, event_hex: str) -> None:
    """Bind the address, print it, and serve."""
    response = pb.PredictResponse.FromString(bytes.fromhex(response_hex))
    event = bytes.fromhex(event_hex)
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
    server = grpc.aio.server()
    service = "dejavu.v1.PredictionService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port(address)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
