"""Leases in the ledger's database: mutual exclusion of programs.

The database's clock decides when a lease expires, read in the granting transaction, which holds the write lock. So any
server can be asked, and the clocks of servers and holders may differ. A holder counts the time from its request, by a
monotonic clock, and so stops before the lease expires.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from dejavu_common.clock import from_microseconds
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sql import database_time
from dejavu_ledger.database.store import LONGEST_US, is_valid
from dejavu_models.errors import DejavuError, InvalidInput, quoted

MAX_LEASES: Final = 64
"""Maximum number of concurrent leases, not counting those of the servers."""

MAX_LEASES_OF_CALLER: Final = 8
"""Maximum number of concurrent leases of one caller, if its identity is known."""

MIN_TTL: Final = timedelta(seconds=1)
MAX_TTL: Final = timedelta(minutes=5)
_MICROSECOND: Final = timedelta(microseconds=1)

MODEL_GATE: Final = "model-gate"
"""The lease of the worker that judges the models."""

RESERVED: Final = frozenset({MODEL_GATE})
"""Leases of the servers themselves, which no caller gets."""

LONGEST_NAME: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


class InvalidLeaseName(InvalidInput, reason="INVALID_LEASE_NAME", field="name"):
    """The name of a lease, or of its holder, is malformed."""


class InvalidLeaseTtl(InvalidInput, reason="INVALID_LEASE_TTL", field="ttl_seconds"):
    """The time for which a lease is requested is out of bounds."""


class TooManyLeases(DejavuError, reason="TOO_MANY_LEASES", category="FAILED_PRECONDITION"):
    """The ledger, or the caller, already has the maximum number of concurrent leases."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A current lease.

    Attributes:
        name: name of the lease.
        holder: name of its holder.
        caller: identity of the caller who acquired it; empty if it is not known.
        acquired_time: time since which the holder has had it without interruption. Like all times here, it is aware,
            in UTC, and by the database's clock.
        expire_time: when it expires.
        remaining: remaining time when it was read.
    """

    name: str
    holder: str
    caller: str
    acquired_time: datetime
    expire_time: datetime
    remaining: timedelta


def check_name(text: str, field: str, longest: int = LONGEST_NAME, error: type[InvalidInput] = InvalidLeaseName) -> str:
    """Return the name of a lease or of a holder, or another one of this form.

    Raises:
        InvalidInput: the error given, if it is malformed.
    """
    if len(text) > longest or not _NAME.fullmatch(text):
        rule = f"1 to {longest} letters, digits and . _ : / @ + -, beginning with a letter or digit"
        raise error(quoted(text), rule, field=field)
    return text


def check_free_name(text: str, field: str) -> str:
    """Return the name of a lease that a caller may have.

    Raises:
        InvalidLeaseName: if it is malformed, or names a lease of the servers.
    """
    if check_name(text, field) in RESERVED:
        raise InvalidLeaseName(quoted(text), "a lease that the servers do not use themselves", field=field)
    return text


def time_span(
    seconds: float,
    error: type[InvalidInput] = InvalidLeaseTtl,
    field: str = "ttl_seconds",
    shortest: timedelta = MIN_TTL,
) -> timedelta:
    """Return a time to live, or another time up to MAX_TTL, that a request gives in seconds.

    Args:
        seconds: the seconds.
        error: type of the error.
        field: the field, for the error.
        shortest: least time.

    Raises:
        InvalidInput: the error given, if the time is out of bounds.
    """
    if not shortest.seconds <= seconds <= MAX_TTL.seconds:  # also refuses NaN
        raise error(f"{seconds:g} s", f"{shortest.seconds} s to {MAX_TTL.seconds} s", field=field)
    return timedelta(seconds=seconds)


def acquire(
    connection: Connection, name: str, holder: str, caller: str, ttl: timedelta, now: int | None = None
) -> tuple[bool, Lease]:
    """Grant a lease, or renew it, unless another holder has it.

    Args:
        connection: a connection in a transaction that holds the write lock.
        name: name of the lease.
        holder: the requesting holder.
        caller: identity of the caller, who alone can renew and release its leases; empty if it is not known.
        ttl: time to live.
        now: time by the database's clock; None: now.

    Returns:
        Whether the holder has it, and the current lease.

    Raises:
        TooManyLeases: if there would be more than MAX_LEASES, or more than MAX_LEASES_OF_CALLER of the caller.
    """
    time = database_time(connection) if now is None else now
    current = standing(connection, name, time)
    if current is not None and (current.holder, current.caller) != (holder, caller):
        return False, current
    expires = time + round(ttl / _MICROSECOND)
    if current is not None:
        sql.rows(connection, "UPDATE leases SET expires_us = :expires WHERE name = :name", name=name, expires=expires)
        return True, replace(current, expire_time=from_microseconds(expires), remaining=ttl)
    _make_room(connection, name, caller, time)
    values = {"name": name, "holder": holder, "caller": caller, "acquired_us": time, "expires_us": expires}
    sql.insert(connection, "leases", [values])
    return True, Lease(name, holder, caller, from_microseconds(time), from_microseconds(expires), ttl)


def release(connection: Connection, name: str, holder: str, caller: str, now: int | None = None) -> bool:
    """End a lease; return whether that holder had it until now. The arguments are those of `acquire`."""
    time = database_time(connection) if now is None else now
    remove = "DELETE FROM leases WHERE name = :name AND holder = :holder AND caller = :caller RETURNING expires_us"
    expires = sql.value(connection, remove, name=name, holder=holder, caller=caller)
    return expires is not None and is_valid(expires, time)


def standing(connection: Connection, name: str, now: int | None = None) -> Lease | None:
    """Return the lease of a name; None if it is free. The arguments are those of `acquire`."""
    time = database_time(connection) if now is None else now
    find = "SELECT holder, caller, acquired_us, expires_us FROM leases WHERE name = :name"
    row = sql.row(connection, find, name=name)
    if row is None or not is_valid(row[3], time):
        return None
    holder, caller, acquired, expires = row
    return Lease(
        name, holder, caller, from_microseconds(acquired), from_microseconds(expires), (expires - time) * _MICROSECOND
    )


def _make_room(connection: Connection, name: str, caller: str, time: int) -> None:
    """Remove the leases that are not valid, then check that there is room for one more of a caller."""
    sql.rows(
        connection,
        "DELETE FROM leases WHERE expires_us <= :now OR expires_us > :latest",
        now=time,
        latest=time + LONGEST_US,
    )
    if name in RESERVED:
        return
    count = "SELECT COUNT(*), SUM(CASE WHEN caller = :caller THEN 1 ELSE 0 END) FROM leases WHERE NOT name IN :reserved"
    [(total, own)] = sql.rows(connection, count, caller=caller, reserved=list(RESERVED))
    if total >= MAX_LEASES:
        raise TooManyLeases(f"{MAX_LEASES} leases stand; expected fewer: release one, or wait until it expires")
    if caller and (own or 0) >= MAX_LEASES_OF_CALLER:
        raise TooManyLeases(f"the caller has {MAX_LEASES_OF_CALLER} leases; expected fewer: release one")
