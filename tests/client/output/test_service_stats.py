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
