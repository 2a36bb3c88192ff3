"""Rolling restarts and drains under publishers and subscribers, checked against the ledger."""

from __future__ import annotations

import pytest
from bench.restarts import RestartResult, main
from tests.support.processes.bench_rounds import rounds


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_fifty_rounds_of_restarts_lose_nothing() -> None:
    result = rounds(main, RestartResult, "--rounds", "50", "--publishers", "8", "--subscribers", "100")
    assert result.rounds == {"reload": 40, "restart": 10}
    assert (len(result.reload_seconds), len(result.drain_seconds)) == (40, 11)
    assert result.acknowledged == result.entries
    assert result.messages == 100 * result.entries


def test_a_server_that_complains_or_does_not_end_well_is_found() -> None:
    assert RestartResult(complaints=["worker_died"], exit_codes=[1]).breaches() == ["exit_codes", "complaints"]
