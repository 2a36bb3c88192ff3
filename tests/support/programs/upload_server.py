"""A server with only RegisterBundle: in a thread, or in a process that can be killed during an upload.

Run as a program with the folder of the store, the seconds after which an idle upload ends, and a port (0: any); prints
its address.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.registry.store.store import ModelStore
from dejavu_server.api.decoding import MAX_REQUEST_BYTES
from dejavu_server.api.handlers import handlers
from dejavu_server.api.interceptors import CallInterceptor
from dejavu_server.api.models.upload import IDLE_SECONDS, BundleReceiver
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.grpc_server import GrpcServer

ResultT = TypeVar("ResultT")

_SERVICE = pb.DESCRIPTOR.services_by_name["ModelService"]


async def start(store: ModelStore, idle_seconds: float, port: int) -> tuple[GrpcServer, str]:
    """Start the server; return it and its address."""
    registered: set[str] = set()

    async def register(version: str, reason: str) -> pb.RegisteredModel:
        created = version not in registered
        registered.add(version)
        return pb.RegisteredModel(model=pb.Model(version=version, verdict_reason=reason), created=created)

    server = GrpcServer(
        interceptors=[CallInterceptor("0", Metrics())], options=[("grpc.max_receive_message_length", MAX_REQUEST_BYTES)]
    )
    receiver = BundleReceiver(store, register, idle_seconds=idle_seconds)
    server.add_methods(_SERVICE.full_name, handlers(_SERVICE, receiver, complete=False))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def serve(store: ModelStore, idle_seconds: float, port: int) -> None:
    """Serve until the process ends."""
    server, address = await start(store, idle_seconds, port)
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


@contextmanager
def running_upload_server(store: Path, idle_seconds: float = IDLE_SECONDS) -> Iterator[str]:
    """Run the server in a loop and thread of its own; yield its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upload-server")
    thread.start()

    def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        server, address = run(start(ModelStore.open(store), idle_seconds, 0))
        try:
            yield address
        finally:
            run(server.stop(None))
    finally:
        run(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@contextmanager
def upload_server(
    store: Path, idle_seconds: float = IDLE_SECONDS, port: int = 0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the server; yield its address and its process, which is killed afterwards."""
    command = (sys.executable, "-m", __name__, str(store), str(idle_seconds), str(port))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the server did not start"
            yield address, process
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(ModelStore.open(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
