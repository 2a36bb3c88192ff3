"""The bench of the page's live events judges what browsers received."""

from __future__ import annotations

import json

import pytest
from bench.page import run
from bench.page.browsers import Received


@pytest.mark.nightly
def test_a_few_browsers_get_every_event_across_a_kill_of_the_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--browsers", "8", "--events", "16", "--rate", "8"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["wrong"] == 0
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert 0 < result["state_p50_ms"] <= result["state_p99_ms"]
    assert result["cpu_us"] > 0
    assert result["killed_events"] == 4


@pytest.mark.parametrize(
    ("received", "wrong"),
    [
        (Received([1, 2], deliveries=4, wrong=0, resets=0), 0),
        (Received([1, 2], deliveries=3, wrong=0, resets=0), 1),
        (Received([1], deliveries=2, wrong=0, resets=0), 2),
        (Received([1, 2], deliveries=4, wrong=1, resets=1), 2),
    ],
)
def test_what_browsers_miss_is_counted(received: Received, wrong: int) -> None:
    result = run.PageResult(browsers=2, events=2)
    recording = run.Recording.__new__(run.Recording)
    recording.made = {1: 0.0, 2: 0.0}
    run.judge_all(result, recording, received)
    assert result.wrong == wrong
