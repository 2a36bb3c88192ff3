"""What `dejavu stats` prints for statistics that are hard to have."""

from __future__ import annotations

import pytest

from dejavu.v1 import operations_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu_client.output.service_stats import print_stats


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
    print_stats(
        pb.GetServiceStatsResponse(
            windows=[window],
            ledger_lag=pb.LedgerLag(entries=12, seconds=3.5, workers_without=2),
            coverage=[coverage],
            feeds=[pb.FeedStatus(feed="nba", live_games=1, data_age_seconds=12.34, read_age_seconds=0.5)],
            server=pb.ServerInfo(configured_workers=4),
        ),
        0,
    )
    shown = capsys.readouterr().out
    for said in (
        "streams behind by 12 (3.5 s)",
        "2 workers cannot record forecasts",
        "end: 39 of 40 intervals held, 97.5 %; expected 95 % (5 games in 30 days)",
        "cache: 75 % of 4 what-ifs since the start",
        "Predict: UNAVAILABLE 7",
        "feed nba: 1 game in play, data 12.3 s old, read 500 ms ago",
        ">3.0 s",
        "since the start (67 min of it)",
    ):
        assert said in shown


def test_several_servers_are_shown_one_by_one_and_their_calls_together(capsys: pytest.CaptureFixture[str]) -> None:
    def window(calls: int) -> pb.StatsWindow:
        method = pb.MethodStats(method="dejavu.v1.PredictionService/Predict", calls=calls)
        return pb.StatsWindow(length_seconds=300, covered_seconds=300, methods=[method])

    servers = [
        pb.ServerStats(
            server=pb.ServerInfo(name=f"host-{number}:7", configured_workers=2, uptime_seconds=90),
            sampled_seconds_ago=12.0 * number,
            windows=[window(1000 + number)],
        )
        for number in range(2)
    ]
    together = pb.CombinedStats(servers=2, windows=[window(2001)], feeds=[pb.FeedStatus(feed="nba")])
    answer = pb.GetServiceStatsResponse(windows=[window(1000)], servers=servers, all_servers=together)
    print_stats(answer, 300)
    shown = capsys.readouterr().out
    for said in ("servers of the ledger, last 5 min", "calls of all 2 servers, last 5 min", "2,001", "feed nba"):
        assert said in shown
    [second] = [line.split() for line in shown.splitlines() if line.startswith("host-1:7")]
    assert (second[1:3], second[-2:]) == (["12.0", "s"], ["1,001", "0"])


def test_servers_that_cannot_be_known_are_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_stats(pb.GetServiceStatsResponse(servers=[pb.ServerStats()], others_missing="the disk is gone"), 0)
    shown = capsys.readouterr().out
    assert "other servers of the ledger are missing: the disk is gone" in shown
    assert "servers of the ledger," not in shown
