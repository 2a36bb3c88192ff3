"""What lies beside the record, by the clock of the database: leases, claims of notifications, reports of workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.processes.servers import put_missing_ledger

from dejavu_ledger import Durability, Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.backends import new_backend
from dejavu_server.coordination import leases, model_workers, notifications
from dejavu_server.coordination.leases import MAX_LEASES, MAX_LEASES_OF_CALLER, TooManyLeases
from dejavu_server.coordination.model_workers import MAX_AGE, REPORT_COUNTS
from dejavu_server.coordination.notifications import (
    MAX_NOTIFICATIONS,
    MAX_NOTIFICATIONS_OF_CALLER,
    Draft,
    NotificationsFull,
    Status,
)

NAME, TTL = "poll", timedelta(seconds=10)
SECOND = 1_000_000


def acquired(connection: Connection, holder: str, now: float, *, name: str = NAME, caller: str = "") -> bool:
    return leases.acquire(connection, name, holder, caller, TTL, round(now * SECOND))[0]


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection that writes to an empty ledger."""
    put_missing_ledger(url)
    backend = new_backend(url, Durability.PROCESS)
    backend.open(make=False)
    with backend.write() as opened:
        yield opened
    backend.close()


def test_one_holder_has_it_until_it_expires(connection: Connection) -> None:
    _, first = leases.acquire(connection, NAME, "a", "token one", TTL, 0)
    assert not acquired(connection, "b", 9.9)
    granted, renewed = leases.acquire(connection, NAME, "a", "token one", TTL, 9 * SECOND)
    assert (granted, renewed.acquired_time, renewed.remaining) == (True, first.acquired_time, TTL)
    assert not acquired(connection, "b", 18.0)
    assert not acquired(connection, "a", 18.0, caller="token two"), "another caller cannot use the name of a holder"
    assert not leases.release(connection, NAME, "a", "token two", 18 * SECOND)
    assert acquired(connection, "b", 19.0)
    assert not acquired(connection, "a", 19.1, caller="token one"), "who comes back finds out that it was lost"


def test_a_lease_from_before_the_clock_was_set_back_does_not_stand_unless_by_a_little(connection: Connection) -> None:
    assert leases.acquire(connection, NAME, "a", "", leases.MAX_TTL, 3600 * SECOND)[0]
    assert not acquired(connection, "b", 3599.0)
    assert acquired(connection, "b", 0.0)


@pytest.mark.parametrize(("caller", "most"), [("", MAX_LEASES), ("many", MAX_LEASES_OF_CALLER)])
def test_leases_are_few_and_expired_ones_make_room(connection: Connection, caller: str, most: int) -> None:
    for number in range(most):
        assert acquired(connection, "a", 0.0, name=f"lease-{number}", caller=caller)
    with pytest.raises(TooManyLeases, match=f"{most} leases"):
        acquired(connection, "a", 9.0, name="one-more", caller=caller)
    assert acquired(connection, "a", 9.0, name="lease-0", caller=caller), "a renewal needs no room"
    assert acquired(connection, "a", 10.0, name="one-more", caller=caller)


def test_a_caller_has_few_leases_and_an_expired_one_of_another_would_be_one_more(connection: Connection) -> None:
    assert acquired(connection, "b", 0.0, caller="poller")
    for number in range(MAX_LEASES_OF_CALLER):
        assert acquired(connection, "a", 5.0, name=f"lease-{number}", caller="many")
    with pytest.raises(TooManyLeases, match=f"the caller has {MAX_LEASES_OF_CALLER} leases"):
        acquired(connection, "a", 10.0, caller="many")
    assert acquired(connection, "a", 10.0, name="lease-0", caller="many"), "it is renewed"
    assert acquired(connection, "b", 10.0, caller="poller")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["acquire", "release"]), st.integers(0, 4 * SECOND)),
        max_size=60,
    )
)
def test_no_two_holders_believe_that_they_have_it(connection: Connection, steps: list[tuple[str, str, int]]) -> None:
    """Each holder counts from before its request by its own clock, which runs as fast as that of the database."""
    now, until = 0, dict.fromkeys("abc", 0)
    sql.rows(connection, "DELETE FROM leases")
    for holder, step, pause in steps:
        asked = now
        now += pause  # the request is on its way, or its holder is stopped
        if step == "release":
            until[holder] = 0
            leases.release(connection, NAME, holder, "", now)
        elif leases.acquire(connection, NAME, holder, "", TTL, now)[0]:
            until[holder] = asked + round(TTL.total_seconds() * SECOND)
        assert sum(end > now for end in until.values()) <= 1


HOUR = 3_600_000_000


async def claim(ledger: Ledger, now: int, sender: str = "a", id: str = "1", caller: str = "") -> bool:  # noqa: A002
    draft = Draft(id, "phone", "close", "", "close")
    claimed, _, _ = await ledger.write(
        lambda connection: notifications.claim(connection, draft, sender, caller, timedelta(seconds=20), now)
    )
    return claimed


async def test_a_claim_whose_sender_ended_is_taken_over_and_its_late_success_counts(ledger: Ledger) -> None:
    assert await claim(ledger, 100 * HOUR, "a")
    assert not await claim(ledger, 100 * HOUR + 19_999_999, "b")
    assert await claim(ledger, 100 * HOUR + 20_000_000, "b")
    for status, noted in ((Status.FAILED, False), (Status.WAITING, False), (Status.SENT, True)):
        confirm = partial(notifications.confirm, key=("1", "phone"), sender="a", status=status, failure="", caller="")
        assert noted is await ledger.write(partial(confirm, retry=timedelta(), now=100 * HOUR + 21_000_000))
    assert not await claim(ledger, 101 * HOUR, "b")


async def test_a_clock_that_was_set_back_keeps_no_claim(ledger: Ledger) -> None:
    assert await claim(ledger, 100 * HOUR, "a")
    assert await claim(ledger, 50 * HOUR, "b")


async def test_notifications_are_kept_three_days(ledger: Ledger) -> None:
    assert await claim(ledger, 100 * HOUR)
    assert await claim(ledger, 172 * HOUR - 1, id="2")
    listed = await ledger.read(lambda connection: notifications.newest(connection, 10, now=172 * HOUR - 1))
    assert [each.id for each in listed] == ["2", "1"]
    assert await claim(ledger, 172 * HOUR, id="3")
    assert [each.id for each in await ledger.read(lambda connection: notifications.newest(connection, 10, now=0))] == [
        "3",
        "2",
    ]


@pytest.mark.parametrize(("caller", "most"), [("", MAX_NOTIFICATIONS), ("token:a", MAX_NOTIFICATIONS_OF_CALLER)])
async def test_one_notification_too_many_is_refused_and_known_ones_go_on(
    ledger: Ledger, caller: str, most: int
) -> None:
    assert await claim(ledger, 100 * HOUR, caller=caller)
    row = await ledger.read(lambda connection: asdict(notifications.newest(connection, 1, now=100 * HOUR)[0]))
    rows = [{**row, "id": f"{number}"} for number in range(2, most + 1)]
    await ledger.write(lambda connection: sql.insert(connection, "notifications", rows))
    with pytest.raises(NotificationsFull):
        await claim(ledger, 100 * HOUR, caller=caller, id="new")
    assert await claim(ledger, 100 * HOUR, caller=caller)
    assert await claim(ledger, 172 * HOUR, caller=caller, id="new"), "the old ones make room"


async def report(ledger: Ledger, worker: str, seconds: float, state: str = "{}") -> None:
    now = round(seconds * SECOND)
    await ledger.write(partial(model_workers.report, server="a", worker=worker, state=state, now=now))


async def live(ledger: Ledger, seconds: float) -> list[sql.Row]:
    return await ledger.read(partial(model_workers.live, now=round(seconds * SECOND)))


async def test_the_newest_report_of_a_worker_counts_until_it_is_old(ledger: Ledger) -> None:
    await report(ledger, "3", 3700)  # before the clock of the database was set back
    await report(ledger, "1", 100)
    await report(ledger, "2", 109)
    await report(ledger, "2", 110, "newer")
    assert [row[1:] for row in await live(ledger, 120)] == [("1", "{}"), ("2", "newer")]
    assert [worker for _, worker, _ in await live(ledger, 100 + REPORT_COUNTS.total_seconds())] == ["2"]
    await ledger.write(partial(model_workers.withdraw, server="a", worker="2"))
    assert [worker for _, worker, _ in await live(ledger, 120)] == ["1"]


async def test_what_lies_beside_the_record_is_no_part_of_it_and_does_not_fill_the_ledger(ledger: Ledger) -> None:
    for number in range(50):
        await report(ledger, f"old {number}", 100)
    await report(ledger, "1", 101 + MAX_AGE.total_seconds())
    assert await claim(ledger, HOUR)
    assert (await ledger.write(partial(leases.acquire, name=NAME, holder="a", caller="", ttl=TTL)))[0]
    rows = await ledger.read(lambda connection: sql.rows(connection, "SELECT worker FROM model_workers"))
    assert rows == [("1",)]
    assert (await ledger.position()).sequence == 0
