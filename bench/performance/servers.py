"""The servers of a run: Dejavu, echoes and MLServer, all pinned to the CPU of servers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
from bench.latency import Server, helper_server, response_to
from bench.load import METHOD
from bench.overload.servers import running_mlserver
from bench.performance.measuring import new_order
from bench.performance.processes import open_inference
from bench.performance.processes.callers import INFER, body
from bench.performance.processes.echo import Answers
from bench.performance.setting import ROOT, Setting

from bench import latency
from dejavu.v1 import prediction_service_pb2 as pb

POLL_SECONDS = 0.01

SAME_POINTS = 1e-3
"""Tolerance between forecasts of two servers of one model, in points: sums of the LSTM depend on the batch size."""


@contextmanager
def dejavu(setting: Setting, *more: str, workers: int = 1, ledger: str = "") -> Iterator[Server]:
    """Run a `dejavu-server` that computes every what-if: its cache is off."""
    cpus = set(setting.servers)
    options = ("--cache", "off", *more)
    with latency.dejavu_server(cpus, setting.bundle, *options, workers=workers, ledger=ledger) as server:
        yield server


@contextmanager
def echo(setting: Setting, response: bytes, processes: int = 1) -> Iterator[Server]:
    """Run the echo of single calls, which returns a serialized PredictResponse; its processes share a port."""
    cpus = set(setting.servers)
    with ExitStack() as stack:
        first = stack.enter_context(latency.echo_server(cpus, response))
        more = [stack.enter_context(latency.echo_server(cpus, response, first.address)) for _ in range(processes - 1)]
        yield replace(first, more_workers=tuple(each.process for each in more))


@contextmanager
def echo_of_many(setting: Setting, answers: Answers) -> Iterator[Server]:
    """Run the echo of batches and streams."""
    with helper_server("bench.performance.processes.echo", set(setting.servers), answers.line()) as server:
        yield server


@contextmanager
def mlserver(setting: Setting) -> Iterator[Server]:
    """Run an MLServer of one process that serves the same bundle.

    Raises:
        ValueError: if the setting has no MLServer.
    """
    if setting.mlserver is None:
        raise ValueError("there is no MLServer")
    model = (Path(__file__).parent / "processes" / "mlserver_model.py").read_text()
    path = os.pathsep.join(str(ROOT / folder) for folder in ("client", "model_store"))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_mlserver(
            str(setting.mlserver),
            Path(folder),
            set(setting.servers),
            model,
            0,
            uri=str(setting.bundle),
            import_path=path,
            debug=False,
        ) as (address, process),
    ):
        wait_until_ready(address)
        yield Server(address, psutil.Process(process.pid))


def wait_until_ready(address: str, seconds: float = 120.0) -> None:
    """Wait until an MLServer has loaded its models; it listens earlier."""
    with grpc.insecure_channel(address) as channel:
        ready: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(open_inference.READY_METHOD)
        deadline = time.monotonic() + seconds
        while ready(b"", timeout=seconds, wait_for_ready=True) == b"":  # a response without fields: not ready
            if time.monotonic() > deadline:
                raise TimeoutError(f"MLServer was not ready after {seconds:g} s")
            time.sleep(POLL_SECONDS)


def what_if_response(server: Server) -> bytes:
    """Return the serialized response of a `dejavu-server` to a what-if, for echoes to return."""
    return response_to(server.address, METHOD, body(0, new_order(server, 1, 1)))


@contextmanager
def mlserver_beside(setting: Setting, server: Server) -> Iterator[Server | None]:
    """Run an MLServer that makes the same forecasts as a `dejavu-server`; yield None if the setting has no MLServer.

    Raises:
        AssertionError: see `check_same_forecaster`.
    """
    if setting.mlserver is None:
        yield None
        return
    with mlserver(setting) as peer:
        check_same_forecaster(server, peer)
        yield peer


def check_same_forecaster(server: Server, peer: Server) -> None:
    """Check that an MLServer makes the same forecasts as a `dejavu-server`.

    Raises:
        AssertionError: if the point forecasts of a pattern differ.
    """
    expected = pb.PredictResponse.FromString(what_if_response(server)).forecast.point_forecast
    request = body(0, new_order(peer, 1, 1, protocol=INFER))
    found = open_inference.points(response_to(peer.address, open_inference.METHOD, request))
    if len(found) != 1 or abs(found[0] - expected) > SAME_POINTS:
        raise AssertionError(f"MLServer forecasts {found}, dejavu-server {expected}")
