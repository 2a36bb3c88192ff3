"""`dejavu stats`, at a worker."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import Run
from tests.support.processes.servers import running_worker
from tests.support.programs.commands import python_m
from tests.support.programs.terminal import Terminal

from dejavu_client import DejavuClient


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a worker that has answered one what-if."""
    with (
        capture_logs(),  # they would be among the lines that a command prints
        running_worker(tmp_path_factory.mktemp("server")) as address,
        DejavuClient(address, timeout=30.0) as client,
    ):
        client.predict(PATTERN)
        while not client.get_service_stats().windows[-1].methods:
            time.sleep(0.05)
        yield address


@pytest.mark.nightly
def test_a_server_that_does_not_answer_ends_it_with_the_reason_and_one_of_several_is_named(
    run: Run, target: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    result = run("stats", "--timeout", "0.2", target=free)
    assert result.exit_code == 3
    assert free in result.output
    beside = run("stats", "--timeout", "1", target=f"{target},{free}", width=80)
    assert beside.exit_code == 0
    assert f"{free}: " in beside.stdout
    assert any(line.startswith(target) for line in beside.stdout.splitlines())


def test_in_a_terminal_it_draws_until_it_is_interrupted(target: str) -> None:
    command = (*python_m("dejavu_cli"), "stats", "--watch", "--target", target, "--interval", "0.2")
    with Terminal(*command) as terminal:
        terminal.draw_until("MiB", f"dejavu-server {version('dejavu-forecast')}")
        assert terminal.interrupt() == 130


def test_forecasts_calls_and_workers_are_shown(run: Run, target: str) -> None:
    shown = run("stats", target=target)
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["half,", "what-ifs", "1", "1", "1", "1"] in lines
    assert ["Predict", "1", "0"] in [line[:3] for line in lines]
    assert f" at {target} · " in shown.stdout
    assert "1 of 1 worker " in shown.stdout
    assert "calls, last 5 min" in shown.stdout
    printed = run("stats", "--json", target=target).stdout
    [stats] = map(json.loads, printed.splitlines())
    assert stats["target"] == target
    assert stats["windows"][0]["predictions"][0]["whatIfs"] == "1"
    assert "calls, last 1 min" in run("stats", "--minutes", "1", target=target, width=80).stdout
