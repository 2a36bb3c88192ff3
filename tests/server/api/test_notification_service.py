"""NotificationService of a real worker: of several senders one sends, also after one ended."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

from dejavu.ops.v1.notification_service_pb2 import (
    NOTIFICATION_STATUS_CLAIMED,
    NOTIFICATION_STATUS_FAILED,
    NOTIFICATION_STATUS_SENT,
    NOTIFICATION_STATUS_WAITING,
    Notification,
)
from dejavu_client import AsyncDejavuClient
from dejavu_common.clock import utc_now


def note(**fields: Any) -> Notification:
    usual: dict[str, Any] = {"id": "evening/1", "target": "phone", "rule": "close", "text": "BOS 101, NYK 99"}
    return Notification(**(usual | fields))


async def test_one_sender_has_a_notification_until_it_is_sent_and_then_nobody(client: AsyncDejavuClient) -> None:
    first = await client.claim_notification(note(), "host-a:1", 60.0)
    assert first.claimed
    assert 0 < first.remaining_seconds <= 60
    other = await client.claim_notification(note(text="another"), "host-b:2", 60.0)
    assert not other.claimed
    assert (other.notification.sender, other.notification.text) == ("host-a:1", note().text)
    assert 0 < other.remaining_seconds <= 60
    again = await client.claim_notification(note(), "host-a:1", 60.0)
    assert again.claimed, "its sender renews it"
    assert again.notification.attempts == 1
    to_another = await client.claim_notification(note(target="radio"), "host-b:2", 60.0)
    assert to_another.claimed, "each target is claimed for itself"
    assert await client.confirm_notification(note().id, "phone", "host-a:1", NOTIFICATION_STATUS_SENT)
    for sender in ("host-a:1", "host-b:2"):
        late = await client.claim_notification(note(), sender, 60.0)
        assert not late.claimed
        assert late.notification.status == NOTIFICATION_STATUS_SENT
        assert not late.HasField("remaining_seconds")


async def test_a_failed_attempt_waits_and_a_notification_given_up_stays_so(client: AsyncDejavuClient) -> None:
    await client.claim_notification(note(), "a", 60.0)
    assert not await client.confirm_notification(note().id, "phone", "b", NOTIFICATION_STATUS_FAILED, failure="mine")
    assert await client.confirm_notification(
        note().id, "phone", "a", NOTIFICATION_STATUS_WAITING, failure="HTTP 503", retry_delay=60.0
    )
    for sender in "ab":
        waiting = await client.claim_notification(note(), sender, 60.0)
        assert not waiting.claimed
        assert waiting.notification.status == NOTIFICATION_STATUS_WAITING
        assert waiting.remaining_seconds > 50
    await client.claim_notification(note(target="radio"), "a", 60.0)
    assert await client.confirm_notification(
        note().id, "radio", "a", NOTIFICATION_STATUS_WAITING, failure="HTTP 503", retry_delay=0.0
    )
    retried = await client.claim_notification(note(target="radio"), "b", 60.0)
    assert retried.claimed
    assert (retried.notification.attempts, retried.notification.failure) == (2, "HTTP 503")
    assert await client.confirm_notification(note().id, "radio", "b", NOTIFICATION_STATUS_FAILED, failure="HTTP 404")
    assert not (await client.claim_notification(note(target="radio"), "b", 60.0)).claimed
    assert not await client.confirm_notification("nothing", "radio", "b", NOTIFICATION_STATUS_SENT)


async def test_they_are_listed_newest_first_with_what_became_of_them(client: AsyncDejavuClient) -> None:
    for number in range(3):
        await client.claim_notification(note(id=f"evening/{number}"), "a", 60.0)
    await client.confirm_notification("evening/1", "phone", "a", NOTIFICATION_STATUS_FAILED, failure="HTTP 404")
    listed = list(await client.list_notifications())
    assert [each.id for each in listed] == ["evening/2", "evening/1", "evening/0"]
    assert [each.status for each in listed][:2] == [NOTIFICATION_STATUS_CLAIMED, NOTIFICATION_STATUS_FAILED]
    assert listed[1].failure == "HTTP 404"
    assert abs(listed[1].create_time.ToDatetime(UTC) - utc_now()) < timedelta(minutes=1)
    assert len(await client.list_notifications(limit=2)) == 2
