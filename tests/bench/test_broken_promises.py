"""Programs of bench/ find broken promises: each judges results of which one is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from bench.clients import LoadResult, Subscriber, judge
from bench.idle_connections import Outcome, Outcomes
from bench.notifier_kills import KillResult
from bench.promotions import PromotionResult
from bench.restarts import RestartResult
from bench.result import Result
from bench.streams import StreamsResult
from tests.support.builders.issued_forecasts import game, issued

from bench import hangs, stopped_worker
from dejavu_ledger import Ledger

FAILING = stopped_worker.Phase(100, {"DeadlineExceededError": 2}, 0.01, 3.0, 3.0)
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
        (
            stopped_worker.StoppedResult({}, {"sync": FAILING}, {}, changed=0),
            ["sync: 2.0% of the calls failed while a worker was stopped"],
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
