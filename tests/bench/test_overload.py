from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from bench.overload import run
from bench.overload.load import Taken

TAKEN = Taken(
    seconds=1.0,
    codes={"0": 10, "8": 4},
    all_codes={"0": 10, "8": 4, "4": 1},
    ok_p50=0.01,
    ok_p99=0.02,
    refused_p50=0.001,
    refused_p99=0.002,
    with_pushback=4,
)
PHASE = run.Phase(
    name=run.OPEN,
    offered=2.0,
    goodput=10.0,
    cpu=0.5,
    taken=TAKEN,
    refused=4.0,
    computed=100.0,
    wasted=5.0,
    dropped=0.0,
    health_p99=0.01,
    health_failed=0,
)


@pytest.mark.nightly
def test_a_small_run_answers_refuses_and_counts() -> None:
    shown: list[str] = []
    sizes = ["--seconds", "1", "--connections", "8", "--factors", "1.5", "--at-once", "240", "--timeout-ms", "5000"]
    code = run.main([*sizes, "--json"], show_line=shown.append)
    report = json.loads(shown[0])
    assert code == bool(report["breaches"])
    assert report["breaches"] == []
    assert [phase["name"] for phase in report["phases"]] == [run.CLOSED, run.OPEN, run.AT_ONCE, run.CLOSED]
    assert all(phase["goodput"] > 0 for phase in report["phases"])
    assert set(report["phases"][2]["taken"]["all_codes"]) - {"0"}


def test_what_must_not_be_is_found() -> None:
    assert run.breaches([PHASE]) == []
    changes: list[dict[str, Any]] = [
        {"refused": 3.0},
        {"taken": replace(TAKEN, with_pushback=3)},
        {"health_failed": 1},
        {"wasted": 5.1},
    ]
    for change in changes:
        assert len(run.breaches([PHASE, replace(PHASE, **change)])) == 1, change
