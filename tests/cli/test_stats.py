"""`dejavu stats`, at a worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import Run
from tests.support.processes.servers import running_worker
from tests.support.programs.commands import Terminal, python_m

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu_cli.commands.server import stats_view
from dejavu_client import DejavuClient
from dejavu_common.rich_console import Console


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
    printed = run("stats", "--json", target=target).stdout
    [stats] = map(json.loads, printed.splitlines())
    assert stats["target"] == target
    assert stats["windows"][0]["predictions"][0]["whatIfs"] == "1"
    assert "calls, last 1 min" in run("stats", "--minutes", "1", target=target, width=80).stdout


def test_cpu_time_is_that_since_the_look_before_or_else_since_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(at: int, cpu: float) -> pb.GetServiceStatsResponse:
        worker = pb.WorkerInfo(name="0-7", cpu_seconds=cpu, resident_bytes=64 << 20)
        worker.start_time.FromSeconds(1000)
        stats = pb.GetServiceStatsResponse(server=pb.ServerInfo(configured_workers=1, workers=[worker]))
        stats.sampled_time.FromSeconds(at)
        return stats

    first, second = answer(1100, 20.0), answer(1110, 25.0)
    for before, share in (({}, "22.7 %"), ({"a:1": first}, "50 %"), ({"a:1": second}, "22.7 %")):
        Console(width=80, highlight=False).print(stats_view({"a:1": second}, {}, 60, before))
        [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("0-7")]
        assert share in line
        assert "64 MiB" in line
