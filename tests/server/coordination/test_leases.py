"""Leases: one holder at a time, by the clock of the database, until it is released or expires."""

from __future__ import annotations

from collections.abc import Iterator
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
from dejavu_server.coordination import leases
from dejavu_server.coordination.leases import MAX_LEASES, MAX_LEASES_OF_CALLER, TooManyLeases

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
    assert acquired(connection, "a", 0.0)
    assert not acquired(connection, "b", 9.9)
    assert acquired(connection, "b", 10.0)
    assert not acquired(connection, "a", 10.1), "who comes back finds out that it was lost"


def test_a_lease_from_before_the_clock_was_set_back_does_not_stand(connection: Connection) -> None:
    assert acquired(connection, "a", 3600.0)
    assert leases.standing(connection, NAME, 0) is None
    assert acquired(connection, "b", 0.0)


def test_a_clock_that_is_corrected_costs_no_lease(connection: Connection) -> None:
    assert leases.acquire(connection, NAME, "a", "", leases.MAX_TTL, 60 * SECOND)[0]
    assert not acquired(connection, "b", 59.0)


def test_a_renewal_extends_it_and_keeps_since_when_it_is_held(connection: Connection) -> None:
    _, first = leases.acquire(connection, NAME, "a", "", TTL, 5 * SECOND)
    granted, renewed = leases.acquire(connection, NAME, "a", "", TTL, 9 * SECOND)
    assert granted
    assert (renewed.acquired_time, renewed.remaining) == (first.acquired_time, TTL)
    assert not acquired(connection, "b", 18.0)
    _, again = leases.acquire(connection, NAME, "a", "", TTL, 30 * SECOND)  # after it had expired
    assert again.acquired_time > first.acquired_time


def test_another_caller_cannot_use_the_name_of_a_holder(connection: Connection) -> None:
    acquired(connection, "a", 0.0, caller="token one")
    assert not acquired(connection, "a", 1.0, caller="token two")
    assert not leases.release(connection, NAME, "a", "token two", SECOND)
    assert acquired(connection, "a", 1.0, caller="token one")


def test_leases_are_few_and_expired_ones_make_room(connection: Connection) -> None:
    for number in range(MAX_LEASES):
        assert acquired(connection, "a", 0.0, name=f"lease-{number}")
    with pytest.raises(TooManyLeases, match=f"{MAX_LEASES} leases"):
        acquired(connection, "a", 9.0, name="one-more")
    assert acquired(connection, "a", 9.0, name="lease-0"), "a renewal needs no room"
    assert acquired(connection, "a", 10.0, name="one-more")


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


async def test_leases_are_no_part_of_the_record(ledger: Ledger) -> None:
    head = (await ledger.position()).sequence
    granted, lease = await ledger.write(partial(leases.acquire, name=NAME, holder="a", caller="", ttl=TTL))
    assert granted
    assert timedelta() < lease.remaining <= TTL
    assert await ledger.read(partial(leases.standing, name=NAME)) is not None
    assert (await ledger.position()).sequence == head
