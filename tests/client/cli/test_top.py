"""`dejavu top`, at the metrics that a server serves, and `dejavu stats`, at a worker."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pyte
import pytest
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import Run
from tests.support.processes.servers import running_worker

from dejavu_client import DejavuClient
from dejavu_common.address import Address
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.multiprocess import SupervisorMetrics, supervisor_metrics
from dejavu_server.observability.worker_usage import ServingWorker


@pytest.fixture
def served() -> Iterator[SupervisorMetrics]:
    """Metrics as a supervisor serves them, of this process as the only worker."""
    with supervisor_metrics(Address("127.0.0.1", 0)) as metrics:
        metrics.watch(lambda: [ServingWorker(0, os.getpid(), beat_age=0.2, served=30.0)])
        Metrics(metrics.registry)
        yield metrics


def test_once_prints_one_interval(run: Run, served: SupervisorMetrics) -> None:
    result = run("top", "--metrics", f"{served.address}", "--once", "--interval", "0.1", width=80)
    assert result.exit_code == 0
    assert f"dejavu-server {version('dejavu-forecast')} · {served.address}" in result.stdout
    assert "0 calls/s" in result.stdout


def test_once_as_json_is_one_object(run: Run, served: SupervisorMetrics) -> None:
    result = run("top", "--metrics", f"{served.address}", "--once", "--interval", "0.1", "--json")
    view = json.loads(result.stdout)
    assert view["workers"]["0"]["resident_bytes"] > 1_000_000
    assert view["ledger"]["stream_lag"] == 0
    assert view["calls"] == 0


def test_metrics_that_cannot_be_read_end_it_with_the_reason(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    result = run("top", "--metrics", free, "--once", "--interval", "0.1")
    assert result.exit_code == 3
    assert (
        f"cannot read the metrics at {free}: Connection refused; does the server run with --metrics-listen"
        in result.output
    )


def test_the_address_of_the_grpc_server_is_no_address_of_metrics(run: Run, server: object) -> None:
    target = str(getattr(server, "target"))  # noqa: B009 - the fixture's class belongs to another test
    result = run("top", "--metrics", target, "--once", "--interval", "0.1")
    assert result.exit_code == 3
    assert "the answer is not HTTP" in result.output
    assert "\x00" not in result.output


def test_a_wrong_address_is_wrong_usage(run: Run) -> None:
    result = run("top", "--metrics", "nowhere", "--once")
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.output


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal_it_draws_until_it_is_interrupted(served: SupervisorMetrics, columns: int) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": f"{columns}", "LINES": "24"}
    command = [sys.executable, "-m", "dejavu_client.cli", "top", "--metrics", f"{served.address}", "--interval", "0.2"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    screen = pyte.Screen(columns, 24)
    stream = pyte.ByteStream(screen)

    def read_until(text: str) -> None:
        deadline = time.monotonic() + 60
        while not any(text in line for line in screen.display):
            assert time.monotonic() < deadline, "\n".join(screen.display)
            if select.select([ours], [], [], 1)[0]:
                stream.feed(os.read(ours, 65536))

    try:
        read_until("heartbeat")
        assert any(
            line.startswith(f"dejavu-server {version('dejavu-forecast')} · {served.address}") for line in screen.display
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with running_worker(tmp_path) as address, DejavuClient(address, timeout=30.0) as client:
        client.predict(PATTERN)
        while not client.get_service_stats().windows[-1].methods:
            time.sleep(0.05)
        yield address


def test_forecasts_calls_and_workers_are_shown(run: Run, target: str) -> None:
    shown = run("stats", target=target)
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["half,", "what-ifs", "1", "1", "1", "1"] in lines
    assert ["Predict", "1", "0"] in [line[:3] for line in lines]
    assert "1 of 2 workers" in shown.stdout
    assert "calls, last 5 min" in shown.stdout


def test_json_is_the_message(run: Run, target: str) -> None:
    printed = run("stats", "--json", target=target).stdout
    [stats] = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]  # beside the worker's log
    assert stats["windows"][0]["predictions"][0]["whatIfs"] == "1"
    assert len(stats["windows"]) == 4


def test_an_unknown_window_is_refused_by_name(run: Run) -> None:
    refused = run("stats", "--minutes", "7")
    assert refused.exit_code == 2
    assert "'7' is not one of 1, 5, 15, all" in refused.output
