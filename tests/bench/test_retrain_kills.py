"""kill -9 of retrains at random moments: each ends with the challenger of an undisturbed one."""

from __future__ import annotations

import json

import pytest
from bench.faults.retrain_kills import KillResult, main


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_retrain_killed_at_twenty_moments_ends_each_time_with_the_same_challenger() -> None:
    shown: list[str] = []
    code = main(["--kills", "20", "--json"], show=shown.append)
    result = KillResult(**json.loads(shown[0]))
    assert (code, result.problems) == (0, [])
    assert sum(result.kills.values()) == 20
    assert len(result.kills) >= 3  # at different steps
