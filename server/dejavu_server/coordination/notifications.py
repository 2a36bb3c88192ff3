"""Notifications in the ledger's database: which of several senders sends each, and what was sent.

No part of the record. As with leases, the database's clock alone decides when a claim expires.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from enum import IntEnum
from typing import Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sql import database_time
from dejavu_ledger.database.store import is_valid
from dejavu_models.errors import DejavuError

KEPT: Final = timedelta(days=3)
"""Time for which a notification is kept after its first claim."""

MAX_NOTIFICATIONS: Final = 20_000
"""Maximum number of notifications kept."""

MAX_NOTIFICATIONS_OF_CALLER: Final = 5_000
"""Maximum number of them that one caller changed last."""


NEWEST: Final = (2**63 - 1, "", "")
"""The position before the newest notification."""


class NotificationsFull(DejavuError, reason="NOTIFICATIONS_FULL", category="FAILED_PRECONDITION"):
    """Too many notifications are kept already."""


class Status(IntEnum):
    """Status of a notification: the values of dejavu.ops.v1.NotificationStatus."""

    CLAIMED = 1
    WAITING = 2
    SENT = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification to one target.

    Attributes:
        id: id, equal for all senders of the same notification.
        target: name of the target.
        rule: name of the rule that it is from.
        game_id: id of its game; empty if it is of no game.
        text: its text.
    """

    id: str
    target: str
    rule: str
    game_id: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Id and target, which identify it."""
        return self.id, self.target


@dataclass(frozen=True, slots=True)
class NotificationRow(Draft):
    """A notification that was claimed.

    Attributes:
        status: its status.
        attempts: number of claims.
        sender: sender of the newest attempt.
        failure: why that attempt failed; empty if it did not.
        caller: identity of the caller of the newest change; empty if it is not known.
        created_us: time of the first claim, in microseconds since 1970, UTC, by the database's clock.
        updated_us: time of the newest change.
        expires_us: time from which another sender can claim it.
    """

    status: int
    attempts: int
    sender: str
    failure: str
    caller: str
    created_us: int
    updated_us: int
    expires_us: int


def claim(
    connection: Connection, draft: Draft, sender: str, caller: str, ttl: timedelta, now: int | None = None
) -> tuple[bool, NotificationRow, timedelta]:
    """Give a notification to a sender, unless it was sent or given up, or another sender has it.

    A claim of the sender and caller that have it renews the claim, and is no further attempt.

    Args:
        connection: a connection in a transaction that holds the write lock.
        draft: the notification; if it is known already, its text stays.
        sender: name of the requesting process.
        caller: identity of the caller; empty if it is not known.
        ttl: time to live of the claim.
        now: time by the database's clock; None: now.

    Returns:
        Whether the sender has it, the notification, and the time until it can be claimed.

    Raises:
        NotificationsFull: if there would be more than MAX_NOTIFICATIONS, or more than MAX_NOTIFICATIONS_OF_CALLER of
            the caller.
    """
    time = database_time(connection) if now is None else now
    known, expires = _find(connection, draft.key), time + round(ttl / timedelta(microseconds=1))
    if known is None:
        sql.rows(connection, "DELETE FROM notifications WHERE created_us <= :oldest", oldest=time - _KEPT_US)
        _check_room(connection, caller)
        row = NotificationRow(
            **asdict(draft),
            status=Status.CLAIMED,
            attempts=1,
            sender=sender,
            failure="",
            caller=caller,
            created_us=time,
            updated_us=time,
            expires_us=expires,
        )
    elif known.status in {Status.SENT, Status.FAILED}:
        return False, known, timedelta()
    else:
        stands = is_valid(known.expires_us, time)
        renewed = (known.status, known.sender, known.caller) == (Status.CLAIMED, sender, caller)
        if stands and not renewed:
            return False, known, timedelta(microseconds=known.expires_us - time)
        row = replace(known, status=Status.CLAIMED, attempts=known.attempts + (not (stands and renewed)))
    row = replace(row, sender=sender, caller=caller, updated_us=time, expires_us=expires)
    _put(connection, row)
    return True, row, ttl


def confirm(
    connection: Connection,
    key: tuple[str, str],
    sender: str,
    status: Status,
    failure: str,
    caller: str,
    retry: timedelta,
    now: int | None = None,
) -> bool:
    """Note how an attempt ended; return whether it was noted.

    A success is noted whoever has the claim by now: the target has the notification. A failure is noted only for the
    sender that has the claim.

    Args:
        connection: a connection in a transaction that holds the write lock.
        key: id and target of the notification.
        sender: name of the sender.
        status: how it ended: SENT, FAILED, or WAITING for another attempt.
        failure: why it failed; empty if it did not.
        caller: identity of the caller; empty if it is not known.
        retry: time after which it can be claimed again, for WAITING.
        now: time by the database's clock; None: now.
    """
    time = database_time(connection) if now is None else now
    known = _find(connection, key)
    if known is None:
        return False
    if known.status == status and known.sender == sender:
        return True
    if known.status == Status.SENT:
        return False
    if status != Status.SENT and (known.status, known.sender) != (Status.CLAIMED, sender):
        return False
    expires = time + round(retry / timedelta(microseconds=1))
    changed = replace(known, status=status, sender=sender, failure=failure, caller=caller)
    _put(connection, replace(changed, updated_us=time, expires_us=expires))
    return True


def newest(
    connection: Connection, limit: int, after: tuple[int, str, str] = NEWEST, now: int | None = None
) -> list[NotificationRow]:
    """Return notifications of the last three days, newest first.

    Args:
        connection: a connection.
        limit: maximum number.
        after: created_us, id and target of the notification before the first one; NEWEST: the newest is the first.
        now: time by the database's clock; None: now.
    """
    time = database_time(connection) if now is None else now
    created, id_, target = after
    rows = sql.rows(connection, _NEWEST, oldest=time - _KEPT_US, created=created, id=id_, target=target, limit=limit)
    return [NotificationRow(*row) for row in rows]


def _find(connection: Connection, key: tuple[str, str]) -> NotificationRow | None:
    row = sql.row(connection, f"{_SELECT} WHERE id = :id AND target = :target", id=key[0], target=key[1])
    return None if row is None else NotificationRow(*row)


def _put(connection: Connection, row: NotificationRow) -> None:
    """Write a notification in place of the one with its id and target, if there is one."""
    sql.insert(connection, "notifications", [asdict(row) | {"status": int(row.status)}], key=("id", "target"))


def _check_room(connection: Connection, caller: str) -> None:
    count = "SELECT COUNT(*) FROM notifications"
    if sql.value(connection, count) >= MAX_NOTIFICATIONS:
        raise NotificationsFull(f"{MAX_NOTIFICATIONS} notifications of the last days; expected fewer")
    if (
        caller
        and sql.value(connection, f"{count} WHERE caller = :caller", caller=caller) >= MAX_NOTIFICATIONS_OF_CALLER
    ):
        raise NotificationsFull(f"{MAX_NOTIFICATIONS_OF_CALLER} notifications of the caller in the last days")


_KEPT_US: Final = KEPT // timedelta(microseconds=1)

_COLUMNS: Final = [each.name for each in fields(NotificationRow)]

_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM notifications"  # noqa: S608 - of our own names

_NEWEST: Final = f"""
    {_SELECT} WHERE created_us > :oldest
        AND (created_us < :created OR created_us = :created AND (id, target) > (:id, :target))
    ORDER BY created_us DESC, id, target LIMIT :limit"""
