"""Calls while one of two workers of a real server is stopped."""

from __future__ import annotations

import json

import pytest
from bench.network.stopped_worker import Phase, StoppedResult, main, report


@pytest.mark.nightly  # it measures a share of calls; tests/client/transport/test_silence.py tests the mechanism by day
def test_fewer_than_one_call_in_fifty_fails_while_a_worker_is_stopped() -> None:
    shown: list[str] = []
    assert main(["--seconds", "4", "--callers", "4", "--json"], show=shown.append) == 0
    result = json.loads(shown[0])
    assert result["changed"] == 0
    for kind in ("sync", "async"):
        assert result["stopped"][kind]["calls"] >= 20, "most callers went on"


@pytest.mark.nightly
def test_a_worker_that_is_stopped_in_a_transaction_is_killed_and_then_forecasts_are_recorded_again() -> None:
    shown: list[str] = []
    assert main(["--writing", "--seconds", "10", "--callers", "4", "--json"], show=shown.append) == 0
    result = json.loads(shown[0])
    for kind in ("sync", "async"):
        assert result["recorded_after"][kind] > 0.0


def test_too_many_failed_calls_and_changed_forecasts_are_found() -> None:
    control = Phase(100, {}, 0.01, 0.02, 0.03)
    failing = Phase(100, {"DeadlineExceededError": 2}, 0.01, 3.0, 3.0)
    result = StoppedResult(
        {"sync": control, "async": failing}, {"sync": failing, "async": control}, {"async": None}, changed=1
    )
    assert [breach.partition(":")[0] for breach in result.breaches()] == [
        "async",
        "sync",
        "async",
        "a repeated call returned another forecast",
    ]
    assert "2.00%" in report(result)
