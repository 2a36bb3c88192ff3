"""kill -9 of workers and supervisors under publishers and subscribers; results are checked against the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.clients import LoadResult, Publishers, Subscriber, judge
from bench.kills import main
from tests.support.builders.issued_forecasts import game, issued
from tests.support.processes.bench_rounds import rounds

from dejavu_server.ledger import Ledger


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("options", "kills"),
    [
        pytest.param((), {"worker": 40, "supervisor": 10}, id="one server"),
        pytest.param(("--servers", "2"), {"worker": 40, "supervisor": 10}, id="two servers"),
        pytest.param(("--servers", "2", "--postgres"), {"worker": 40, "supervisor": 5, "database": 5}, id="postgresql"),
    ],
)
def test_fifty_rounds_of_kills_lose_nothing_and_two_servers_fail_no_call(
    options: tuple[str, ...], kills: dict[str, int]
) -> None:
    result = rounds(main, LoadResult, "--rounds", "50", "--publishers", "8", "--subscribers", "100", *options)
    assert result.rounds == kills
    assert result.acknowledged == result.entries > 100
    assert result.messages == 100 * result.entries
    assert options != ("--servers", "2") or not result.errors_without_server


async def test_whatever_is_lost_or_doubled_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    ledger = await Ledger.open(url)
    await ledger.commit([issued(game(number)) for number in range(4)])
    await ledger.commit([issued(game(0), (1.0, 2.0, 3.0))])  # the same game again: a revision
    await ledger.close()
    publishers = Publishers("nowhere", 1)
    publishers.acknowledged = {game(0): 1, game(1): 2, game(7): 9}
    sound, broken = Subscriber("nowhere"), Subscriber("nowhere")
    sound.sequences = [1, 2, 3, 4, 5]
    broken.sequences = [1, 2, 2, 5, 3]
    result = LoadResult()
    await judge(result, url, publishers, [sound, broken])
    assert result.missing == 1
    assert result.twice == 1
    assert (result.streams_lost, result.streams_twice, result.streams_out_of_order) == (1, 1, 1)
    assert result.broken_chain == ""
    assert result.breaches() == ["missing", "twice", "streams_lost", "streams_twice", "streams_out_of_order"]
