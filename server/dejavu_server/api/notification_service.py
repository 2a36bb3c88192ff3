"""NotificationService: decides who sends a notification. The interceptor maps errors to statuses."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

from dejavu.ops.v1 import notification_service_pb2 as pb
from dejavu_common.clock import from_microseconds
from dejavu_ledger.ledger import CurrentLedger
from dejavu_models.errors import InvalidInput, quoted
from dejavu_server.api.converters.fields import check_game_id, message_of
from dejavu_server.api.paging import decode_key, page_of, page_size
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.coordination import notifications
from dejavu_server.coordination.leases import LONGEST_NAME, check_name, time_span
from dejavu_server.coordination.notifications import Draft, NotificationRow, Status
from dejavu_server.limits import Caller

NOTIFICATION_SERVICE = pb.DESCRIPTOR.services_by_name["NotificationService"]

CHANGES: Final = 20.0
"""A caller's claims and confirmations a second in a worker: each holds the ledger's write lock."""

_LIST: Final = "notifications"
_LONGEST_ID: Final = 128
_LONGEST_TEXT: Final = 500
_LONGEST_FAILURE: Final = 200
_ENDS: Final = {pb.NOTIFICATION_STATUS_SENT, pb.NOTIFICATION_STATUS_FAILED, pb.NOTIFICATION_STATUS_WAITING}


class InvalidNotification(InvalidInput, reason="INVALID_NOTIFICATION"):
    """A notification, or the report on it, has a value out of bounds."""


class NotificationService:
    """Grants claims to notifications, and lists them.

    Args:
        ledger: the ledger whose database contains them.
        reads: reads it, for all services of the worker: lists of thousands of rows would take all reader threads.
    """

    def __init__(self, ledger: CurrentLedger, reads: SharedReads) -> None:
        self._ledger = ledger
        self._reads = reads

    async def claim_notification(
        self, request: pb.ClaimNotificationRequest, caller: Caller
    ) -> pb.ClaimNotificationResponse:
        """Grant or renew a claim."""
        caller.take_of_rate(CHANGES, "claims of notifications")
        asked = request.notification
        if asked.game_id:
            check_game_id(asked.game_id, "notification.game_id")
        if not asked.text:
            raise InvalidNotification("an empty text", "a text", field="notification.text")
        ttl = time_span(request.ttl_seconds, InvalidNotification)
        draft = Draft(
            id=_name(asked.id, "notification.id", _LONGEST_ID),
            target=_name(asked.target, "notification.target"),
            rule=_name(asked.rule, "notification.rule"),
            game_id=asked.game_id,
            text=_text(asked.text, "notification.text", _LONGEST_TEXT),
        )
        claim = partial(
            notifications.claim, draft=draft, sender=_name(request.sender, "sender"), caller=caller.identity, ttl=ttl
        )
        claimed, row, remaining = await self._ledger().write(claim, caller.turn)
        response = pb.ClaimNotificationResponse(claimed=claimed, notification=_message(row))
        if remaining:
            response.remaining_seconds = remaining.total_seconds()
        return response

    async def confirm_notification(
        self, request: pb.ConfirmNotificationRequest, caller: Caller
    ) -> pb.ConfirmNotificationResponse:
        """Note how an attempt ended."""
        caller.take_of_rate(CHANGES, "claims of notifications")
        if request.status not in _ENDS:
            raise InvalidNotification(f"{request.status}", "SENT, FAILED or WAITING", field="status")
        retry = time_span(request.retry_delay_seconds, InvalidNotification, "retry_delay_seconds", timedelta())
        confirm = partial(
            notifications.confirm,
            key=(_name(request.id, "id", _LONGEST_ID), _name(request.target, "target")),
            sender=_name(request.sender, "sender"),
            status=Status(request.status),
            failure=_text(request.failure, "failure", _LONGEST_FAILURE),
            caller=caller.identity,
            retry=retry,
        )
        return pb.ConfirmNotificationResponse(confirmed=await self._ledger().write(confirm, caller.turn))

    async def list_notifications(
        self, request: pb.ListNotificationsRequest, caller: Caller
    ) -> pb.ListNotificationsResponse:
        """Return the notifications of the last days, newest first."""
        size = page_size(request.page_size)
        created, id_, target = decode_key(_LIST, request.page_token, notifications.NEWEST)
        after = (int(created), str(id_), str(target))
        newest = partial(notifications.newest, limit=size + 1, after=after)
        rows = await self._reads.look_up(newest, caller.turn)
        page, next_page_token = page_of(_LIST, rows, lambda row: (row.created_us, *row.key), size)
        return pb.ListNotificationsResponse(notifications=map(_message, page), next_page_token=next_page_token)


def _name(text: str, field: str, longest: int = LONGEST_NAME) -> str:
    return check_name(text, field, longest, InvalidNotification)


def _text(text: str, field: str, longest: int) -> str:
    if len(text) > longest or not text.isprintable():
        raise InvalidNotification(quoted(text), f"at most {longest} printable characters", field=field)
    return text


def _message(row: NotificationRow) -> pb.Notification:
    return message_of(
        pb.Notification,
        row,
        published_by=row.caller,
        create_time=from_microseconds(row.created_us),
        update_time=from_microseconds(row.updated_us),
    )
