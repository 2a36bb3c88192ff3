"""Baseline for the cost of grpc.aio on uvloop: a server that parses a PredictRequest and returns a fixed response.

`bench.latency` runs it with `python -m bench.echo [HOST:PORT]`. It reads the response from standard input, in hex,
prints its address on standard output, and serves until standard input ends. It has no interceptors, metrics or model.
A process that is given the address of another one shares its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from bench.load import SERVICE

from dejavu.v1 import prediction_service_pb2 as pb


async def serve() -> None:
    """Serve on the address given, or on a free port of 127.0.0.1, until standard input ends."""
    answer = pb.PredictResponse.FromString(bytes.fromhex(sys.stdin.readline()))

    async def predict(_: pb.PredictRequest, __: grpc.aio.ServicerContext[Any, Any]) -> pb.PredictResponse:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
    )
    await serve_methods({"Predict": handler}, *sys.argv[1:])


async def serve_methods(handlers: dict[str, grpc.RpcMethodHandler[Any, Any]], address: str = "127.0.0.1:0") -> None:
    """Serve methods of PredictionService: bind the address, print it, and serve until standard input ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port(address)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve())
