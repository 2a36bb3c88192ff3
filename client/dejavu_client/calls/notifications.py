"""Notification calls of the synchronous client, generated from aio_notifications.py by `make gen`: edit that one."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu.ops.v1.notification_service_pb2 import (
    ClaimNotificationRequest,
    ClaimNotificationResponse,
    ConfirmNotificationRequest,
    ListNotificationsRequest,
    Notification,
    NotificationStatus,
)
from dejavu_client.transport.caller import Caller


class NotificationCalls(Caller):
    """The methods of DejavuClient for notifications, which decide which of several programs sends each."""

    def claim_notification(
        self, notification: Notification, sender: str, ttl: float, *, timeout: float | None = None
    ) -> ClaimNotificationResponse:
        """Claim a notification before sending it. Returns whether the sender has it, and the notification.

        Args:
            notification: id, target, rule, game_id and text.
            sender: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the claim is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ClaimNotificationRequest(notification=notification, sender=sender)
        request.ttl.FromNanoseconds(round(ttl * 1e9))
        return self._unary("ClaimNotification", lambda stubs: stubs.notifications.ClaimNotification, request, timeout)

    def confirm_notification(
        self,
        id: str,  # noqa: A002 - the contract's name
        target: str,
        sender: str,
        status: NotificationStatus.ValueType,
        *,
        failure: str = "",
        retry_delay: float = 0.0,
        timeout: float | None = None,
    ) -> bool:
        """Confirm how an attempt to send a notification ended; return whether it was noted.

        Args:
            id: id of the notification.
            target: name of its target.
            sender: name of the process that sent it.
            status: NOTIFICATION_STATUS_SENT, NOTIFICATION_STATUS_FAILED or, before another attempt,
                NOTIFICATION_STATUS_WAITING.
            failure: why the attempt failed.
            retry_delay: seconds until the notification can be claimed again, at most 300.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ConfirmNotificationRequest(id=id, target=target, sender=sender, status=status, failure=failure)
        request.retry_delay.FromNanoseconds(round(retry_delay * 1e9))
        response = self._unary(
            "ConfirmNotification", lambda stubs: stubs.notifications.ConfirmNotification, request, timeout
        )
        return response.confirmed

    def list_notifications(self, *, limit: int = 0, timeout: float | None = None) -> Sequence[Notification]:
        """Return the notifications of the last three days, newest first.

        Args:
            limit: maximum number, up to 1,000; 0 for 100.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ListNotificationsRequest(limit=limit)
        response = self._unary(
            "ListNotifications", lambda stubs: stubs.notifications.ListNotifications, request, timeout
        )
        return response.notifications
