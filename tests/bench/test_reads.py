"""Benchmarks of heavy reads: they run on a real server, and a broken bound is found."""

from __future__ import annotations

import json

import pytest

from bench import ledger
from bench.network import scorecard_callers, unread_streams


@pytest.mark.nightly
def test_unread_streams_are_measured_and_one_that_reads_gets_every_game() -> None:
    shown: list[str] = []
    options = ("--streams", "30", "--games", "60", "--churn-seconds", "1", "--workers", "1", "--json")
    code = unread_streams.main(options, show=shown.append)
    result = unread_streams.Result(**json.loads(shown[0]))
    assert code == bool(result.breaches(unread_streams.MOST_MIB))
    assert (result.read, result.faults) == (60, [])
    assert result.churned >= unread_streams.CHURNING
    assert [len(each) for each in (result.before, result.plain, result.unread, result.at_the_end)] == [1] * 4


def test_memory_of_unread_streams_beyond_its_bounds_is_found() -> None:
    sound = unread_streams.Result(
        before=[80.0, 90.0], unread=[110.0, 190.0], after_a_minute=[100.0, 100.0], at_the_end=[90.0, 110.0]
    )
    assert sound.breaches(most_mib=100.0) == []
    broken = unread_streams.Result(
        before=[80.0], unread=[181.0], after_a_minute=[100.0], at_the_end=[111.0], faults=["not in order"]
    )
    assert len(broken.breaches(most_mib=100.0)) == 3


@pytest.mark.nightly
def test_scorecards_are_asked_for_alone_and_by_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "GAMES_AN_EVENING", 2)
    shown: list[str] = []
    options = ["--forecasts", "1500", "--callers", "4", "--seconds", "1", "--alone", "3", "--workers", "1", "--json"]
    code = scorecard_callers.main(options, show=shown.append)
    result = scorecard_callers.Result(**json.loads(shown[0]))
    assert code == bool(result.breaches())
    assert result.forecasts >= 1500
    assert result.codes["alone"] == {"OK": 6 + len(scorecard_callers.LARGE)}
    assert result.share_ok("five", "repeat", "large") == 1.0
    assert len(result.five_ms) == result.codes["five"]["OK"] > 0


def test_scorecards_that_are_late_or_refused_or_repeats_that_are_slow_are_found() -> None:
    sound = scorecard_callers.Result(
        repeat_alone_ms=[5.0], five_ms=[100.0] * 20, late=1, codes={"five": {"OK": 20}, "repeat": {"OK": 20}}
    )
    assert sound.breaches() == []
    broken = scorecard_callers.Result(
        repeat_alone_ms=[25.0],
        five_ms=[100.0] * 20,
        late=2,
        codes={"five": {"OK": 20}, "large": {"OK": 8, "RESOURCE_EXHAUSTED": 12}},
    )
    assert len(broken.breaches()) == 3
