"""Several processes share one ledger: one order, one chain, and no acknowledged forecast is lost."""

from __future__ import annotations

import asyncio
import signal

from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.processes.ledger_writer import Writer

from dejavu_ledger import Ledger, verify


async def test_two_processes_that_write_at_once_make_one_order(url: str) -> None:
    # Neither file nor schema exist yet: both processes create them concurrently. Half of the games are the same.
    with Writer(url, first=0, count=60) as one, Writer(url, first=30, count=60) as two:
        for writer in (one, two):
            writer.ready()
        for writer in (one, two):
            writer.go()
        places = [[int(place) for place in writer.rest()] for writer in (one, two)]
    ledger = await Ledger.open(url)
    stored = await ledger.read_after(0, 1000)
    await ledger.close()
    assert [entry.sequence for entry in stored] == list(range(1, 91))
    assert {entry.game_id for entry in stored} == {game(n) for n in range(90)}
    assert all(entry.revision == 0 for entry in stored)
    by_place = {entry.sequence: entry.game_id for entry in stored}
    assert [by_place[place] for place in places[0]] == [game(n) for n in range(60)]
    assert [by_place[place] for place in places[1]] == [game(n) for n in range(30, 90)]
    assert verify(url).entries == 90


async def test_a_killed_process_loses_nothing_that_it_acknowledged(url: str) -> None:
    with Writer(url, first=0, count=0) as writer:
        writer.ready()
        writer.go()
        acknowledged = [int(writer.line()) for _ in range(60)]
        writer.process.send_signal(signal.SIGKILL)
        acknowledged += [int(place) for place in writer.rest()]
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    assert len(acknowledged) <= verify(url).entries <= len(acknowledged) + 1  # one may be committed but not printed
    ledger = await Ledger.open(url)
    stored = await ledger.read_after(0, 10_000)
    assert [entry.game_id for entry in stored] == [game(n) for n in range(len(stored))]
    async with asyncio.timeout(10):  # the killed process holds no lock
        [after] = await recorded(ledger, issued(game(99_999)))
    assert after.sequence == len(stored) + 1
    await ledger.close()
    assert verify(url).entries == len(stored) + 1
