"""Rolling restarts and drains under publishers and subscribers, checked against the ledger; figures of starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.restarts import RestartResult, main
from bench.start.measure import Start, measure, prepare, summary
from bench.start.processes import ProcessUse
from tests.support.processes.bench_rounds import rounds


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_nobody_who_calls_or_follows_is_harmed_by_a_rolling_restart_or_a_drain() -> None:
    result = rounds(main, RestartResult, "--rounds", "5", "--publishers", "4", "--subscribers", "10")
    assert result.rounds == {"reload": 4, "restart": 1}
    assert (len(result.reload_seconds), len(result.drain_seconds)) == (4, 2)
    assert result.acknowledged == result.entries > 100
    assert result.messages == 10 * result.entries


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_fifty_rounds_of_restarts_lose_nothing() -> None:
    result = rounds(main, RestartResult, "--rounds", "50", "--publishers", "8", "--subscribers", "100")
    assert result.rounds == {"reload": 40, "restart": 10}
    assert result.messages == 100 * result.entries


def test_a_server_that_complains_or_does_not_end_well_is_found() -> None:
    assert RestartResult(complaints=["worker_died"], exit_codes=[1]).breaches() == ["exit_codes", "complaints"]


def start(seconds: float, *pss: tuple[str, float]) -> Start:
    processes = [ProcessUse(role, pid, mib, mib, mib, 0.1) for pid, (role, mib) in enumerate(pss)]
    return Start(2, seconds, seconds, 2.0, 0.1, 0.05, processes)


def test_times_are_medians_and_memory_is_a_mean_of_sums() -> None:
    small = (("supervisor", 30.0), ("spare", 60.0), ("worker", 50.0), ("worker", 40.0))
    large = (("supervisor", 34.0), ("spare", 60.0), ("worker", 70.0), ("worker", 60.0))
    figures = summary([start(1.0, *small), start(9.0, *large), start(2.0, *small)])
    assert figures["seconds"] == 2.0
    assert figures["worker_pss_mib"] == pytest.approx((50 + 70 + 50) / 3)
    assert figures["workers_pss_mib"] == pytest.approx((90 + 130 + 90) / 3)
    assert figures["server_pss_mib"] == pytest.approx((180 + 224 + 180) / 3)


@pytest.mark.nightly
def test_a_real_server_is_measured(tmp_path: Path) -> None:
    prepare(tmp_path)
    result = measure(2, tmp_path, calls=10)
    assert [each.role for each in result.processes].count("worker") == 2
    assert 0 < result.first_seconds <= result.seconds
    assert result.pss("spare")
    assert result.replaced_cpu_seconds < 0.5  # forked: imports and bundles would take longer
