"""Reports of workers about their models count for a time, by the clock of the database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from dejavu_ledger import Ledger, verify
from dejavu_ledger.database import sql
from dejavu_server.coordination import model_workers
from dejavu_server.coordination.model_workers import MAX_AGE, REPORT_COUNTS, WorkerReport

SECOND = 1_000_000


async def report(ledger: Ledger, worker: str, seconds: float, state: str = "{}") -> None:
    now = round(seconds * SECOND)
    await ledger.write(partial(model_workers.report, server="a", worker=worker, state=state, now=now))


async def live(ledger: Ledger, seconds: float) -> list[WorkerReport]:
    return await ledger.read(partial(model_workers.live, now=round(seconds * SECOND)))


async def test_a_report_counts_until_it_is_old(ledger: Ledger) -> None:
    await report(ledger, "1", 100)
    await report(ledger, "2", 110)
    assert [each.worker for each in await live(ledger, 120)] == ["1", "2"]
    assert [each.age for each in await live(ledger, 120)] == [timedelta(seconds=20), timedelta(seconds=10)]
    assert [each.worker for each in await live(ledger, 100 + REPORT_COUNTS.total_seconds())] == ["2"]


async def test_reports_of_before_the_clock_of_the_database_was_set_back_do_not_count(ledger: Ledger) -> None:
    await report(ledger, "1", 3700)
    await report(ledger, "2", 105)
    assert [each.worker for each in await live(ledger, 100)] == ["2"]


async def test_a_worker_has_one_report_and_takes_it_along_when_it_stops(ledger: Ledger) -> None:
    await report(ledger, "1", 100)
    await report(ledger, "1", 101, "newer")
    assert [each.state for each in await live(ledger, 102)] == ["newer"]
    await ledger.write(partial(model_workers.withdraw, server="a", worker="1"))
    assert await live(ledger, 102) == []


async def test_workers_that_are_gone_do_not_fill_the_ledger_and_are_no_part_of_the_record(
    ledger: Ledger, url: str
) -> None:
    for number in range(50):
        await report(ledger, f"old {number}", 100)
    later = 101 + MAX_AGE.total_seconds()
    await report(ledger, "1", later)
    rows = await ledger.read(lambda connection: sql.rows(connection, "SELECT worker FROM model_workers"))
    assert rows == [("1",)]
    if url.startswith("sqlite"):
        assert verify(url).sequence == 0
