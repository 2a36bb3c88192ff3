"""Calls that wait for the writer: committed together, in order, each on its own if it fails, and in fair turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.processes.ledger_writer import Writer

from dejavu_common.tasks import give_way
from dejavu_ledger import Ledger, LedgerCorrupt, LedgerUnavailable, OutcomeAlreadyRecorded, verify
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.ledger import FEW
from dejavu_ledger.records import IssuedForecast
from dejavu_server.limits import Caller


def added(connection: Connection, place: int) -> int:
    sql.insert(connection, "snapshots", [{"sequence": place, "state": b"\0"}])
    return place


def count(connection: Connection) -> int:
    found: int = sql.value(connection, "SELECT count(*) FROM snapshots")
    return found


class HeldBackend(SqliteBackend):
    """Holds each transaction at its start until it is released."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/held.db")
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.entered.set()
        assert self.released.wait(20)
        with super().write() as connection:
            yield connection


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[tuple[Ledger, HeldBackend]]:
    """A ledger whose next transaction is held."""
    backend = HeldBackend(tmp_path)
    ledger = await Ledger.open(backend)
    backend.entered.clear()
    backend.released.clear()
    yield ledger, backend
    backend.released.set()
    await ledger.close()


async def writing(ledger: Ledger, backend: HeldBackend, number: int) -> asyncio.Task[Any]:
    """Return the call of a forecast whose transaction has begun: later calls wait for it."""
    call = asyncio.create_task(ledger.commit([issued(game(number))]))
    assert await asyncio.to_thread(backend.entered.wait, 20)
    return call


async def waiting(ledger: Ledger, number: int, home_team: str = "BKN") -> asyncio.Task[list[IssuedForecast]]:
    """Return a call of one forecast that waits for the transaction before it."""
    call = asyncio.create_task(recorded(ledger, issued(game(number), home_team=home_team)))
    await give_way()  # it has run up to its wait, also if it gave way on a busy machine
    return call


async def test_what_waits_is_committed_in_order_and_what_is_cancelled_leaves_no_trace_unless_it_is_written(
    held: tuple[Ledger, HeldBackend],
) -> None:
    ledger, backend = held
    written = await writing(ledger, backend, 0)
    unwritten = await waiting(ledger, 100)
    calls = [await waiting(ledger, number) for number in range(1, 10)]
    for call in (written, unwritten):
        call.cancel()
    await asyncio.wait([written, unwritten])
    backend.released.set()
    answers = await asyncio.gather(*calls)
    assert [stored.sequence for [stored] in answers] == list(range(2, 11))
    assert [stored.game_id for stored in await ledger.read_after(0, 20)] == [game(n) for n in range(10)]


async def test_a_call_that_fails_fails_alone(held: tuple[Ledger, HeldBackend]) -> None:
    ledger, backend = held
    with SqliteBackend.write(backend) as connection:
        sql.rows(
            connection,
            "CREATE TRIGGER bad AFTER INSERT ON forecasts WHEN NEW.home_team = 'BAD'"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
    await writing(ledger, backend, 0)
    calls = [await waiting(ledger, number, home_team="BAD" if number == 3 else "BKN") for number in range(1, 6)]
    backend.released.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, LedgerCorrupt, list, list]
    assert [stored.game_id for stored in await ledger.read_after(0, 10)] == [game(n) for n in (0, 1, 2, 4, 5)]


async def test_closing_commits_what_waits_and_refuses_the_rest(url: str) -> None:
    ledger = await Ledger.open(url)
    calls = [await waiting(ledger, number) for number in range(20)]
    await ledger.close()
    assert [(await call)[0].sequence for call in calls] == list(range(1, 21))
    for refused in (ledger.commit([issued()]), ledger.position()):
        with pytest.raises(LedgerUnavailable, match="closed"):
            await refused
    await ledger.close()
    assert verify(url).sequence == 20


async def test_neither_forecasts_nor_changes_wait_behind_the_many_changes_of_another_caller(ledger: Ledger) -> None:
    done: list[str] = []

    async def change(caller: str, place: int) -> None:
        await ledger.write(lambda connection: added(connection, place), caller)
        done.append(caller)

    async def forecast() -> None:
        await ledger.commit([issued(game(1))])
        done.append("forecast")

    async with asyncio.TaskGroup() as calls:
        for place in range(40):
            calls.create_task(change("many", place))
        calls.create_task(change("one", 40))
        calls.create_task(forecast())
    assert max(done.index("one"), done.index("forecast")) < 10


@pytest.mark.parametrize("size", [FEW + 1, FEW])
async def test_a_few_forecasts_do_not_wait_behind_the_many_batches_of_another_caller(ledger: Ledger, size: int) -> None:
    done: list[str] = []
    resumes = threading.Event()

    async def commit(caller: str, place: int, number: int) -> None:
        forecasts = [issued(game(place), pattern=(float(each),)) for each in range(number)]
        await ledger.commit(forecasts, Caller(turn=caller))
        done.append(caller)

    async with asyncio.TaskGroup() as calls:
        calls.create_task(ledger.write(lambda _: resumes.wait(10)))
        for place in range(20):
            calls.create_task(commit("many", place, size))
        await asyncio.sleep(0.5)  # until all that may wait for the writer do
        calls.create_task(commit("one", 99, 1))
        await asyncio.sleep(0.1)
        resumes.set()
    assert done.index("one") < 5


@pytest.mark.parametrize("error", [OutcomeAlreadyRecorded("no"), LedgerCorrupt("no"), RuntimeError("no")])
async def test_a_write_that_fails_leaves_no_trace_and_harms_no_other(ledger: Ledger, error: Exception) -> None:
    def failing(connection: Connection) -> None:
        added(connection, 1)
        raise error

    with structlog.testing.capture_logs():
        first, failed, last = await asyncio.gather(
            ledger.commit([issued(game(1))]),
            ledger.write(failing),
            ledger.write(lambda connection: added(connection, 2)),
            return_exceptions=True,
        )
    assert isinstance(first, list)
    assert last == 2
    expected = LedgerUnavailable if isinstance(error, RuntimeError) else type(error)
    assert type(failed) is expected, "a fault of the program is logged, and told as what it means for the caller"
    assert await ledger.read(count) == 1


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
    assert verify(url).sequence == 90
