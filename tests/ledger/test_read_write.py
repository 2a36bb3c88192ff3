"""`Ledger.read` and `Ledger.write`: access by other modules, through the ledger's threads."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog
from sqlalchemy import Connection, func, insert, select
from tests.support.builders.issued_forecasts import game, issued

from dejavu_ledger import Ledger, LedgerCorrupt, LedgerUnavailable, OutcomeAlreadyRecorded
from dejavu_ledger.database import store
from dejavu_ledger.database.schema import snapshots
from dejavu_ledger.ledger import FEW
from dejavu_server.admission.callers import CurrentRecorder

COUNT = select(func.count()).select_from(snapshots)


def added(connection: Connection, place: int) -> int:
    connection.execute(insert(snapshots).values(sequence=place, state=b"\0"))
    return place


def count(connection: Connection) -> int:
    found: int = connection.execute(COUNT).scalar_one()
    return found


async def test_what_was_written_is_read_by_everybody(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    assert await ledger.write(lambda connection: added(connection, 1)) == 1
    assert [await each.read(count) for each in (ledger, other)] == [1, 1]
    await other.close()


async def test_what_reads_can_not_write(ledger: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match="read-only"):
        await ledger.read(lambda connection: added(connection, 1))


async def test_a_write_has_a_transaction_of_its_own_in_its_place(ledger: Ledger) -> None:
    def seen(connection: Connection) -> int:
        return store.head(connection).sequence

    before, at, after = await asyncio.gather(
        ledger.commit([issued(game(1))]), ledger.write(seen), ledger.commit([issued(game(2))])
    )
    assert [getattr(answer, "sequence", None) for answer in (*before, *after)] == [1, 2]
    assert at == 1


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
        await ledger.commit(forecasts, CurrentRecorder(caller, None))
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
