"""Follows a ledger: what this process has just committed from memory, everything else by reading.

A transaction of this process is handed over with the sequence of the entry before it. If that is where the tail stands,
nothing lies between, and its forecasts are the next page. Otherwise another process has written, or the transaction
added something other than forecasts: then the ledger is read as for any other commit. Every entry comes once, in order,
because the tail goes on only from where it stands.

While its reader is idle, the tail does not read the ledger: it skips to the newest entry. With several workers, each of
them would otherwise read and parse what all others record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol, TypeAlias

from dejavu_common.clock import wait_until_set
from dejavu_server.ledger.database.recording.known_record import Appended
from dejavu_server.records import IssuedForecast, ReportedOutcome

Entry: TypeAlias = IssuedForecast | ReportedOutcome

PAGE_SIZE: Final = 500
"""Entries that a tail reads per page."""

MAX_HANDED: Final = 1000
"""Forecasts that wait for a tail before it reads them instead: one that is slow must not fill the memory."""


class EntrySource(Protocol):
    """What a tail reads: a ledger."""

    async def read_after(self, sequence: int, limit: int) -> list[Entry]:
        """Returns the first `limit` forecasts and outcomes after a sequence, in order."""

    async def newest(self) -> int:
        """Returns the sequence of the newest forecast or outcome; 0 if there is none."""


class TailReader(Protocol):
    """Who reads a tail."""

    @property
    def idle(self) -> bool:
        """Whether it has no use for entries at the moment."""

    def skip_to(self, sequence: int) -> None:
        """Called when entries were skipped: up to this sequence, that of a forecast or outcome."""


class Tail:
    """Position of one follower of a ledger. Use it in one event loop.

    Args:
        source: the ledger.
        after: the sequence to start after.
        reader: while it is idle, entries of other processes are skipped; None: every entry is returned.
    """

    def __init__(self, source: EntrySource, after: int, reader: TailReader | None = None) -> None:
        self._source = source
        self._reader = reader
        self._through = after  # every forecast and outcome up to this sequence was returned or skipped
        self._handed: deque[Appended] = deque()
        self._waiting = 0  # forecasts in `_handed`
        self._unread = True  # whether there may be entries that were not handed over
        self._woken = asyncio.Event()
        self._is_waiting = False  # to be woken: it has returned or skipped everything, as far as it knows

    def hand(self, appended: Appended) -> None:
        """Hands over what a transaction of this process has appended, in the order of the transactions."""
        if self._skips(appended):
            return
        self._handed.append(appended)
        self._waiting += len(appended.forecasts)
        if self._waiting > MAX_HANDED:
            self._drop(appended.through)
            self._unread = True
        self._woken.set()

    def _skips(self, appended: Appended) -> bool:
        """Skips a transaction, and returns whether it did: one that nobody reads is not worth waking anybody."""
        if self._reader is None or not (self._is_waiting and self._reader.idle):
            return False
        if self._woken.is_set() or appended.after != self._through:
            return False
        self._through = appended.through
        if appended.forecasts:
            self._reader.skip_to(appended.forecasts[-1].sequence)
        return True

    def wake(self) -> None:
        """Has the ledger read: another process, or something else of this one, may have written."""
        self._unread = True
        self._woken.set()

    async def pages(self, poll_seconds: float, closed: Callable[[], bool]) -> AsyncGenerator[list[Entry], None]:
        """Yields pages of entries, none of them empty, until `closed` returns true.

        Args:
            poll_seconds: time without being woken after which the ledger is read.
            closed: whether to end.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        while not closed():
            if page := self._next_handed():
                yield page
            elif self._unread or self._handed:
                if page := await self._next_read():
                    yield page
            else:
                self._woken.clear()
                self._is_waiting = True
                try:
                    await wait_until_set(self._woken, poll_seconds)
                finally:
                    self._is_waiting = False
                self._unread |= not self._woken.is_set()

    def _next_handed(self) -> list[Entry]:
        self._drop(self._through)
        page: list[Entry] = []
        while self._handed and self._handed[0].after == self._through:
            appended = self._handed.popleft()
            self._waiting -= len(appended.forecasts)
            self._through = appended.through
            page += appended.forecasts
        return page

    async def _next_read(self) -> list[Entry]:
        self._unread = False  # before reading: what is committed from here on causes another read
        # Committed before the read, so that a page that is not full goes at least so far. Its last entry may be one of
        # another kind, which is not among those read.
        committed = self._handed[-1].through if self._handed else 0
        if self._reader is not None and self._reader.idle:
            newest = await self._source.newest()
            if self._reader.idle:  # still: what comes between this and the skip would be lost
                self._through = max(self._through, newest, committed)
                self._reader.skip_to(newest)
                return []
        page = await self._source.read_after(self._through, PAGE_SIZE)
        if page:
            self._through = page[-1].sequence
        if len(page) < PAGE_SIZE:
            self._through = max(self._through, committed)
        else:
            self._unread = True
        return page

    def _drop(self, through: int) -> None:
        """Drops the transactions handed over of which everything, or the beginning, was returned or is to be read."""
        while self._handed and self._handed[0].after < through:
            self._waiting -= len(self._handed.popleft().forecasts)
