"""`dejavu stats`, at a worker, and of statistics that are hard to produce."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import Run
from tests.support.processes.servers import running_worker
from tests.support.programs.commands import Terminal, python_m

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL
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


def test_what_is_wrong_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    latency = pb.LatencyStats(calls=2, mean_seconds=4, quantiles=[pb.LatencyQuantile(share=0.5, seconds=3)])
    method = pb.MethodStats(
        method="dejavu.v1.PredictionService/Predict",
        calls=9,
        errors=[pb.ErrorCount(code="UNAVAILABLE", calls=7)],
        latency=latency,
    )
    coverage = pb.RollingCoverage(
        horizon=HORIZON_FINAL, days=30, games=5, forecasts=40, held=39, coverage=0.975, nominal_coverage=0.95
    )
    window = pb.StatsWindow(
        covered_seconds=4000, methods=[method], cache=pb.CacheCounts(hits=3, misses=1, hit_rate=0.75)
    )
    stats = pb.GetServiceStatsResponse(
        sampled_time=Timestamp(seconds=int(time.time()) - 120),
        windows=[window],
        ledger_lag=pb.LedgerLag(entries=12, lag_seconds=3.5, workers_without=2),
        coverage=[coverage],
        feeds=[pb.FeedStatus(feed="nba", live_games=1, data_age_seconds=12.34, read_age_seconds=0.5)],
        server=pb.ServerInfo(configured_workers=4, worker_deaths=1, worker_hangs=2),
    )
    Console(width=100, highlight=False).print(stats_view({"a:1": stats}, {}, 0, {}))
    shown = capsys.readouterr().out
    for said in (
        "as of 2 min ago: the supervisor stands still, or the clocks differ",
        "streams behind by 12 (3.5 s)",
        "2 workers cannot record forecasts",
        "end: 39 of 40 intervals held, 97.5 %; expected 95 % (5 games in 30 days)",
        "cache: 75 % of 4 what-ifs since the start",
        "Predict: UNAVAILABLE 7",
        "feed nba: 1 game in play, data 12.3 s old, read 500 ms ago",
        ">3.0 s",
        "1 worker died since the start of the server",
        "2 workers hung since the start of the server",
        "since the start (67 min of it)",
    ):
        assert said in shown


def test_several_servers_are_a_table_and_what_is_wrong_with_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(calls: int) -> pb.GetServiceStatsResponse:
        method = pb.MethodStats(method="dejavu.v1.PredictionService/Predict", calls=calls)
        window = pb.StatsWindow(length_seconds=300, covered_seconds=300, methods=[method])
        return pb.GetServiceStatsResponse(
            windows=[window], server=pb.ServerInfo(configured_workers=2, uptime_seconds=90), open_streams=3
        )

    lost = answer(1000)
    lost.ledger_lag.workers_without = 2
    view = stats_view({"a:1": lost, "b:1": answer(1001)}, {"c:1": "connection refused"}, 300, {})
    Console(width=80, highlight=False).print(view)
    shown = capsys.readouterr().out
    assert "a:1: 2 workers cannot record forecasts" in shown
    assert "c:1: connection refused" in shown
    [second] = [line.split() for line in shown.splitlines() if line.startswith("b:1")]
    assert (second[-2:], "of 2" in " ".join(second)) == (["1,001", "0"], True)


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
