"""What servers report of what they did counts for a while, by the clock of the database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from dejavu_server.ledger import Ledger, server_reports, verify
from dejavu_server.ledger.server_reports import MAX_SERVERS, REPORT_COUNTS, REPORT_SECONDS, ServerReport

SECOND = 1_000_000
COUNTS = REPORT_COUNTS.total_seconds()


async def report(ledger: Ledger, server: str, seconds: float, state: bytes = b"state") -> bool:
    return await ledger.write(partial(server_reports.report, server=server, state=state, now=round(seconds * SECOND)))


async def live(ledger: Ledger, seconds: float) -> list[ServerReport]:
    return await ledger.read(partial(server_reports.live, now=round(seconds * SECOND)))


async def test_a_report_counts_until_it_is_old_and_the_next_of_any_server_removes_it(ledger: Ledger, url: str) -> None:
    await report(ledger, "a", 100)
    await report(ledger, "b", 110)
    assert [(each.server, each.age) for each in await live(ledger, 120)] == [
        ("a", timedelta(seconds=20)),
        ("b", timedelta(seconds=10)),
    ]
    assert [each.server for each in await live(ledger, 100 + COUNTS)] == ["b"]
    await report(ledger, "b", 100 + COUNTS)
    assert [each.server for each in await live(ledger, 101)] == ["b"]
    if url.startswith("sqlite"):
        assert verify(url).entries == 0


async def test_of_the_workers_of_a_server_the_first_one_writes(ledger: Ledger) -> None:
    assert await report(ledger, "a", 100, b"first")
    assert await report(ledger, "a", 99 + REPORT_SECONDS, b"second")
    assert [each.state for each in await live(ledger, 110)] == [b"first"]
    assert await report(ledger, "a", 100 + REPORT_SECONDS, b"third")
    [only] = await live(ledger, 100 + REPORT_SECONDS)
    assert (only.state, only.age) == (b"third", timedelta())


async def test_no_more_servers_report_than_are_kept(ledger: Ledger) -> None:
    assert all([await report(ledger, f"{number}", 100) for number in range(MAX_SERVERS)])
    assert not await report(ledger, "one more", 101)
    assert await report(ledger, "0", 100 + REPORT_SECONDS)
    assert len(await live(ledger, 101)) == MAX_SERVERS
    assert await report(ledger, "one more", 100 + COUNTS)
    assert [each.server for each in await live(ledger, 100 + COUNTS)] == ["0", "one more"]


async def test_reports_of_before_the_clock_of_the_database_was_set_back_do_not_count(ledger: Ledger) -> None:
    await report(ledger, "gone", 10_000)
    await report(ledger, "a", 9_990)
    await report(ledger, "a", 1_000)
    assert [each.server for each in await live(ledger, 1_000)] == ["a"]
    await report(ledger, "b", 1_010)
    await report(ledger, "a", 1_005, b"newer")  # the clock went back by less than a report counts
    assert [(each.server, each.state) for each in await live(ledger, 1_005)] == [("a", b"state"), ("b", b"state")]
