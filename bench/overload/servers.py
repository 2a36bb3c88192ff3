"""Servers whose behaviour under load is compared, pinned to the same CPUs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from bench.latency import create_ledger, echo_server, pinned_to
from bench.load import METHOD
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.prediction_service_pb2 import PredictRequest

PATTERN = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11)
REQUEST = PredictRequest(pattern=PATTERN).SerializeToString()

RECONNECT_SOON = [(f"grpc.{kind}_reconnect_backoff_ms", 100) for kind in ("initial", "min", "max")]
"""Options of a channel to a server that is starting: by default the second attempt to connect waits for a second."""

_ECHO_MODEL = """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput

class Echo(MLModel):
    async def predict(self, payload):
        output = ResponseOutput(name="y", shape=[1], datatype="INT64", data=[1])
        return InferenceResponse(model_name=self.name, outputs=[output])
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and a call that it answers.

    Attributes:
        name: the name that is printed.
        address: HOST:PORT.
        method: path of a unary method.
        message: its serialized request.
    """

    name: str
    address: str
    method: str
    message: bytes


Start = Callable[[], AbstractContextManager[Target]]


@contextmanager
def dejavu_server(cpus: set[int], *options: str) -> Iterator[SpawnedServer]:
    """Run a `dejavu-server` of one worker that computes every call: the callers repeat one what-if."""
    with TemporaryDirectory() as folder:
        ledger = f"sqlite:///{folder}/ledger.sqlite3"
        asyncio.run(create_ledger(ledger))
        with contextlib.ExitStack() as stack:
            with pinned_to(cpus):
                server = stack.enter_context(
                    spawned_server("--workers", "1", "--ledger", ledger, "--cache", "off", *options)
                )
            yield server


@contextmanager
def dejavu(cpus: set[int]) -> Iterator[Target]:
    """Run a `dejavu-server` of one worker, as a target."""
    with dejavu_server(cpus) as server:
        yield Target("dejavu-server", server.address, METHOD, REQUEST)


@contextmanager
def bare_echo(cpus: set[int]) -> Iterator[Target]:
    """Run a grpc.aio server without a model, interceptors or limits; see `bench.echo`."""
    with echo_server(cpus, b"") as server:
        yield Target("bare grpc.aio echo", server.address, METHOD, REQUEST)


@contextmanager
def mlserver(python: str, cpus: set[int]) -> Iterator[Target]:
    """Run an MLServer of one process with a model that answers at once."""
    with TemporaryDirectory() as folder, running_mlserver(python, Path(folder), cpus, _ECHO_MODEL, 0) as (address, _):
        yield Target("MLServer", address, "/inference.GRPCInferenceService/ModelInfer", infer_request())


@contextmanager
def running_mlserver(
    python: str,
    folder: Path,
    cpus: set[int],
    model: str,
    workers: int,
    *,
    uri: str = "",
    import_path: str = "",
    debug: bool = True,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run an MLServer.

    Args:
        python: a Python that has MLServer installed.
        folder: an empty folder for its files.
        cpus: the CPUs that it may use.
        model: source of a module with a class Echo, its model.
        workers: number of processes for models; 0: the models run in its main process.
        uri: URI from which the model loads.
        import_path: folders with further modules, as in PYTHONPATH; empty: the path of this process.
        debug: whether it logs every call, which is its default.

    Yields:
        Its HOST:PORT and its process.
    """
    (folder / "model.py").write_text(model)
    described = {"name": "echo", "implementation": "model.Echo", **({"parameters": {"uri": uri}} if uri else {})}
    (folder / "model-settings.json").write_text(json.dumps(described))
    port = free_port()
    ports = {"grpc_port": port, "http_port": free_port(), "metrics_port": free_port(), "parallel_workers": workers}
    (folder / "settings.json").write_text(json.dumps({**ports, "host": "127.0.0.1", "debug": debug}))
    command = [python, "-m", "mlserver.cli.main", "start", "."]
    environment = {**os.environ, **({"PYTHONPATH": import_path} if import_path else {})}
    nowhere = subprocess.DEVNULL
    with pinned_to(cpus):
        process = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=nowhere, stderr=nowhere)
    try:
        address = f"127.0.0.1:{port}"
        with grpc.insecure_channel(address, RECONNECT_SOON) as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        yield address, process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def starts(python: str | None, cpus: set[int]) -> list[Start]:
    """Return one function per server that starts it; MLServer is left out if `python` is None."""
    servers: list[Start] = [partial(dejavu, cpus), partial(bare_echo, cpus)]
    return [*servers, partial(mlserver, python, cpus)] if python else servers


def infer_request() -> bytes:
    """Return a ModelInferRequest of the Open Inference Protocol with the pattern as INT64, encoded by hand."""
    contents = _field(3, bytes(value % 128 for value in PATTERN))
    tensor = _field(1, b"x") + _field(2, b"INT64") + _field(3, bytes([len(PATTERN)])) + _field(5, contents)
    return _field(1, b"echo") + _field(5, tensor)


def _field(number: int, data: bytes) -> bytes:
    """Encode a length-delimited field of at most 127 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
