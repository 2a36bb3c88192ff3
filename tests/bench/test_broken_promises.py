"""Programs of bench/ find broken promises: each judges results of which one is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.clients import LoadResult, Subscriber, judge
from bench.idle_connections import Outcome, Outcomes
from bench.notifier_kills import KillResult
from bench.overload import Taken
from bench.page import PageResult, Received
from bench.promotions import PromotionResult
from bench.restarts import RestartResult
from bench.result import Result
from bench.streams import StreamsResult
from tests.support.builders.issued_forecasts import game, issued

from bench import hangs, overload, stopped_worker
from dejavu_ledger import Ledger

SOUND_STREAMS = StreamsResult(stalled=1, cut_off=2, pss_mib=[100.0, 110.0, 120.0], descriptors=[50, 60])
LEAKING = replace(SOUND_STREAMS, cut_off=1, pss_mib=[100.0, 110.0, 140.0], descriptors=[50, 80])
IDLE = "dejavu-server, idle connections"
NOTICED = hangs.Noticed(hangs.STOPPED, 0, 7.9, 8.0)
LATE = hangs.Noticed("compute", 3.0, 8.1, 9.0)


@pytest.mark.parametrize(
    ("result", "breaches"),
    [
        (LoadResult(errors=Counter({"UNAVAILABLE": 1}), orphans=1), ["errors", "orphans"]),
        (RestartResult(complaints=["worker_died"], exit_codes=[1]), ["exit_codes", "complaints"]),
        (PromotionResult(not_by_champion=1, misquoted=1), ["not_by_champion", "misquoted"]),
        (KillResult(missing=["a"], twice=["b"], unsettled=["c"]), ["missing", "twice", "unsettled"]),
        (SOUND_STREAMS, []),
        (
            replace(LEAKING, lost=1, twice=1, out_of_order=1, in_flight=1.0),
            ["lost", "twice", "out_of_order", "in_flight", "cut_off", "descriptors", "pss_mib"],
        ),
        (hangs.Report([NOTICED], [hangs.Quiet(hangs.BUSY, 20.0, 5, 0)]), []),
        (
            hangs.Report([NOTICED, LATE], [hangs.Quiet(hangs.BUSY, 20.0, 5, 1)]),
            ["compute: 8.1 s", f"{hangs.BUSY}: 1 killed"],
        ),
        (Outcomes({IDLE: Outcome(700, 500, 494)}), ["494 of 500 clients were answered"]),
    ],
    ids=repr,
)
def test_each_broken_promise_is_named(result: Result, breaches: list[str]) -> None:
    assert result.breaches() == breaches


async def test_whatever_clients_lose_or_get_twice_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    ledger = await Ledger.open(url)
    await ledger.commit([issued(game(number)) for number in range(4)])
    await ledger.commit([issued(game(0), (1.0, 2.0, 3.0))])  # the same game again: a revision
    await ledger.close()
    acknowledged = {game(0): 1, game(1): 2, game(7): 9}
    sound, broken = Subscriber("nowhere"), Subscriber("nowhere")
    sound.sequences = [1, 2, 3, 4, 5]
    broken.sequences = [1, 2, 2, 5, 3]
    result = LoadResult()
    await judge(result, url, acknowledged, [sound, broken])
    assert result.breaches() == ["missing", "twice", "streams_lost", "streams_twice", "streams_out_of_order"]


def test_too_many_failed_calls_and_changed_forecasts_are_found() -> None:
    control = stopped_worker.Phase(100, {}, 0.01, 0.02, 0.03)
    failing = stopped_worker.Phase(100, {"DeadlineExceededError": 2}, 0.01, 3.0, 3.0)
    result = stopped_worker.StoppedResult(
        {"sync": control, "async": failing}, {"sync": failing, "async": control}, {"async": None}, changed=1
    )
    assert [breach.partition(":")[0] for breach in result.breaches()] == [
        "async",
        "sync",
        "async",
        "a repeated call returned another forecast",
    ]


TAKEN = Taken(
    seconds=1.0,
    codes=Counter({0: 10, 8: 4}),
    all_codes=Counter({0: 10, 8: 4, 4: 1}),
    ok_p50=0.01,
    ok_p99=0.02,
    refused_p50=0.001,
    with_pushback=4,
)
PHASE = overload.Phase(
    name=overload.OPEN,
    offered=2.0,
    goodput=10.0,
    cpu=0.5,
    taken=TAKEN,
    refused=4.0,
    computed=100.0,
    wasted=5.0,
    health_p99=0.01,
    health_failed=0,
)


def test_uncounted_refusals_failed_health_checks_and_wasted_work_are_found() -> None:
    assert overload.Phases([PHASE]).breaches() == []
    changes: list[dict[str, Any]] = [
        {"refused": 3.0},
        {"taken": replace(TAKEN, with_pushback=3)},
        {"health_failed": 1},
        {"wasted": 5.1},
    ]
    for change in changes:
        assert len(overload.Phases([PHASE, replace(PHASE, **change)]).breaches()) == 1, change


@pytest.mark.parametrize(
    ("received", "wrong"),
    [
        (Received([1, 2], deliveries=4, wrong=0, resets=2), 0),
        (Received([1, 2], deliveries=4, wrong=0, resets=1), 1),
        (Received([1, 2], deliveries=4, wrong=1, resets=3), 2),
    ],
)
def test_what_browsers_miss_is_counted(received: Received, wrong: int) -> None:
    result = PageResult(browsers=2, events=2)
    result.judge_all({1: 0.0, 2: 0.0}, received)
    assert result.wrong == wrong
