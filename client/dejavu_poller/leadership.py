"""Leader election among pollers: the leader holds a lease of the ledger (docs/decisions/0047).

A leader renews its lease four times within its time to live. It counts the time to live from the start of each request,
by a clock that keeps running while the process is stopped. So a leader that hung or was cut off knows that its lease
has expired before it acts again. A follower requests the lease again as soon as it may have expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final, NamedTuple

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError, PermissionDeniedError, UnauthenticatedError
from dejavu_client.logs import get_logger

LEASE_SECONDS: Final = 10.0
"""Time to live of the lease. A follower takes over at most this long after the leader's last renewal, plus one call."""

LEASE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}")
LEASE_NAME_RULE: Final = "1 to 64 letters, digits and . _ : / @ + -, beginning with a letter or digit"
"""Pattern of the name of a lease; the server has the same."""

_RENEWALS: Final = 4
"""Number of renewals within the time to live."""
_LEADS_FOR: Final = 0.8
"""Share of the time to live for which a leader acts; the rest is a margin for its calls in progress."""
_FOLLOWER_PAUSE: Final = 2.0
"""Longest pause, in seconds, between two requests of a follower: a leader that ends releases its lease early."""
_REFUSED_PAUSE: Final = 5.0
"""Pause, in seconds, until a server that refused the token is asked again."""
_FAILED_PAUSE: Final = 1.0
_NAME_LENGTH: Final = 40

log = get_logger()


class LeaderRole(StrEnum):
    """Role of a poller."""

    WAITING = "waiting"
    """The leader is not known yet, or this poller lost its lease."""
    LEADING = "leading"
    """This poller works."""
    STANDBY = "standby"
    """This poller waits: another one works."""


class Leadership(NamedTuple):
    """The poller that works, as far as this poller knows.

    Attributes:
        role: role of this poller.
        term: number of terms led; a leader that lost and regained its lease begins a new one.
        leader: the leader, if it is another poller.
        reason: why it does not know who leads, or gets no lease.
    """

    role: LeaderRole = LeaderRole.WAITING
    term: int = 0
    leader: str = ""
    reason: str = ""


def steady_time() -> float:
    """Return the seconds of a clock that is never set, and runs even while the process or machine is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def lease_name(*work: object) -> str:
    """Return the name of the lease of a piece of work: pollers that would do the same work get the same name."""
    return f"poll/{hashlib.sha256(repr(work).encode()).hexdigest()[:12]}"


def holder_name() -> str:
    """Return a unique name for this process: host, process id, and random digits."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:_NAME_LENGTH].lstrip(".-") or "poller"
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


class LeaderElection:
    """Takes part in the election of one poller while inside `running`.

    Args:
        client: requests the lease.
        name: name of the lease.
        holder: name of this process.
        ttl: time to live of the lease, in seconds.
        clock: steady clock, in seconds.

    Attributes:
        status: the poller that works, as last known.
    """

    def __init__(
        self,
        client: AsyncDejavuClient,
        name: str,
        holder: str | None = None,
        *,
        ttl: float = LEASE_SECONDS,
        clock: Callable[[], float] = steady_time,
    ) -> None:
        self.status = Leadership()
        self._client = client
        self._name = name
        self._holder = holder or holder_name()
        self._ttl = ttl
        self._clock = clock
        self._until = float("-inf")
        self._acquired = 0
        self._changed: Callable[[], None] = lambda: None

    @property
    def leads(self) -> bool:
        """Whether this poller leads now. Check right before each action that only the leader may take."""
        return self.status.role is LeaderRole.LEADING and self._clock() < self._until

    @asynccontextmanager
    async def running(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        """Request the lease repeatedly; release it at the end.

        Args:
            changed: called whenever `status` changes.
        """
        self._changed = changed
        task = asyncio.create_task(self._run(), name="leader-election")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._until = float("-inf")
            with contextlib.suppress(DejavuClientError):
                await self._client.release_lease(self._name, self._holder, timeout=self._ttl / _RENEWALS)

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._ask()
            except Exception as error:  # despite a bug here, this poller must still be able to take over
                log.exception("poll.election_failed", error=type(error).__name__)
                pause = _FAILED_PAUSE
            await asyncio.sleep(pause)

    async def _ask(self) -> float:
        """Request the lease once; return the seconds until the next request."""
        asked = self._clock()
        try:
            answer = await self._client.acquire_lease(
                self._name, self._holder, self._ttl, timeout=self._ttl / _RENEWALS
            )
        except (PermissionDeniedError, UnauthenticatedError) as error:
            if not self.leads:
                self._set(LeaderRole.WAITING, reason=f"no lease: {error.message}")
            return _REFUSED_PAUSE
        except DejavuClientError as error:
            if not self.leads:
                self._set(LeaderRole.WAITING, reason=f"it is not known who leads: {error.message}")
            return _FAILED_PAUSE
        if not answer.acquired:
            self._set(LeaderRole.STANDBY, leader=answer.lease.holder)
            return min(_FOLLOWER_PAUSE, max(0.05, answer.lease.remaining_seconds))
        acquired = answer.lease.acquired_time.ToNanoseconds()
        begun = acquired != self._acquired or self.status.role is not LeaderRole.LEADING
        self._until, self._acquired = asked + _LEADS_FOR * self._ttl, acquired
        self._set(LeaderRole.LEADING, begun=begun)
        return max(0.0, asked + self._ttl / _RENEWALS - self._clock())

    def _set(self, role: LeaderRole, *, leader: str = "", reason: str = "", begun: bool = False) -> None:
        status = Leadership(role, self.status.term + begun, leader, reason)
        if status._replace(reason="") != self.status._replace(reason="") or (reason and not self.status.reason):
            log.info("poll.leadership", role=role, leader=leader, reason=reason)
            self.status = status
            self._changed()
