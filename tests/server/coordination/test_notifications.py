"""Claims of notifications in the ledger's database: taken over when their time is over, kept three days, limited."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from functools import partial

import pytest

from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_server.coordination import notifications
from dejavu_server.coordination.notifications import (
    MAX_NOTIFICATIONS,
    MAX_NOTIFICATIONS_OF_CALLER,
    Draft,
    NotificationsFull,
    Status,
)

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


async def test_a_clock_that_was_set_back_does_not_keep_a_claim(ledger: Ledger) -> None:
    assert await claim(ledger, 100 * HOUR, "a")
    assert await claim(ledger, 50 * HOUR, "b")


async def test_they_are_kept_three_days(ledger: Ledger) -> None:
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
async def test_one_too_many_is_refused_and_the_known_ones_go_on(ledger: Ledger, caller: str, most: int) -> None:
    assert await claim(ledger, 100 * HOUR, caller=caller)
    row = await ledger.read(lambda connection: asdict(notifications.newest(connection, 1, now=100 * HOUR)[0]))
    rows = [{**row, "id": f"{number}"} for number in range(2, most + 1)]
    await ledger.write(lambda connection: sql.insert(connection, "notifications", rows))
    with pytest.raises(NotificationsFull):
        await claim(ledger, 100 * HOUR, caller=caller, id="new")
    assert await claim(ledger, 100 * HOUR, caller=caller)
    assert await claim(ledger, 172 * HOUR, caller=caller, id="new"), "the old ones make room"
