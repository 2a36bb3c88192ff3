"""Follows a ledger: this process's own commits from memory, others by reading.

A transaction of this process is handed over with the sequence of the entry before it. If that is the tail's position,
its forecasts are the next page. Otherwise another process has written, or the transaction added something other than
forecasts, and the ledger is read. Every forecast of a game's owner and every outcome comes once, in order, because the
tail continues only from its position.

While its reader is idle, the tail skips to the newest entry without reading the ledger. Otherwise each of several
workers would read and parse the entries of all others.

A resume token names the position of a stream: opaque to clients, URL-safe, bound to a ledger, its epoch and an entry.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from dejavu_common.clock import wait_until_set
from dejavu_ledger.database.backend import Backend, CommitListener
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.errors import InvalidResumeToken
from dejavu_ledger.recording import Appended
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.errors import quoted

_TOKEN_VERSION = 1
_TOKEN_LAYOUT = struct.Struct(">B16s8sQ9s")
"""Version, ledger id, epoch, sequence, beginning of the hash: 42 bytes, 56 characters without padding."""

HASH_BYTES = 9
"""Bytes of an entry's hash in a token: a restore that keeps the epoch puts other entries at the same sequences."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """Position in a ledger.

    Attributes:
        ledger_id: 32 hexadecimal digits.
        epoch: 16 hexadecimal digits.
        sequence: the last sequence that was received; 0: none.
        hash: beginning of the hash of the entry there, HASH_BYTES; at 0, of the start of the chain.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: bytes


def encode_token(token: ResumeToken) -> str:
    """Encode a token as text."""
    ledger_id, epoch = UUID(token.ledger_id).bytes, bytes.fromhex(token.epoch)
    packed = _TOKEN_LAYOUT.pack(_TOKEN_VERSION, ledger_id, epoch, token.sequence, token.hash)
    return base64.urlsafe_b64encode(packed).decode()


def decode_token(text: str) -> ResumeToken:
    """Decode a token.

    Raises:
        InvalidResumeToken: if `encode_token` did not produce it.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, sequence, hash_ = _TOKEN_LAYOUT.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidResumeToken(quoted(text), "a resume_token of an earlier response") from None
    if version != _TOKEN_VERSION:
        raise InvalidResumeToken(f"a token of form {version}", f"form {_TOKEN_VERSION}")
    return ResumeToken(ledger_id.hex(), epoch.hex(), sequence, hash_)


Entry: TypeAlias = IssuedForecast | ReportedOutcome

PAGE_SIZE: Final = 500
"""Entries that a tail reads per page."""

MAX_HANDED: Final = 1000
"""Maximum number of handed-over forecasts that wait for a tail; beyond it the tail reads the ledger, to save memory."""


class EntrySource(Protocol):
    """Source of a tail: a ledger."""

    async def read_after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the first `limit` forecasts of owners, and outcomes, after a sequence, in order."""

    async def newest(self) -> ChainHead:
        """Return sequence and hash of the newest forecast or outcome; without any, the start of the chain."""


class TailReader(Protocol):
    """Reader of a tail."""

    @property
    def idle(self) -> bool:
        """Whether it has no use for entries at the moment."""

    def skip_to(self, position: ChainHead) -> None:
        """Take note that entries up to this position, that of a forecast or outcome, were skipped."""


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
        self._is_waiting = False  # waiting to be woken: everything known was returned or skipped

    def hand(self, appended: Appended) -> None:
        """Hand over the entries appended by a transaction of this process, in the order of the transactions."""
        if self._skips(appended):
            return
        self._handed.append(appended)
        self._waiting += len(appended.forecasts)
        if self._waiting > MAX_HANDED:
            self._drop(appended.through)
            self._unread = True
        self._woken.set()

    def _skips(self, appended: Appended) -> bool:
        """Skip a transaction if the reader is idle, without waking it; return whether it did."""
        if self._reader is None or not (self._is_waiting and self._reader.idle):
            return False
        if self._woken.is_set() or appended.after != self._through:
            return False
        self._through = appended.through
        if appended.forecasts:
            last = appended.forecasts[-1]
            self._reader.skip_to(ChainHead(last.sequence, last.hash))
        return True

    def wake(self) -> None:
        """Make the tail read the ledger: another process, or an unknown transaction of this one, may have written."""
        self._unread = True
        self._woken.set()

    async def pages(self, poll_seconds: float, closed: Callable[[], bool]) -> AsyncGenerator[list[Entry], None]:
        """Yield pages of entries, none of them empty, until `closed` returns true.

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
        self._unread = False  # before reading: later commits cause another read
        # This entry was committed before the read, so a page that is not full reaches at least up to it; it may be of a
        # kind that is not read.
        committed = self._handed[-1].through if self._handed else 0
        if self._reader is not None and self._reader.idle:
            newest = await self._source.newest()
            if self._reader.idle:  # check again: entries between the read and the skip would be lost
                self._through = max(self._through, newest.sequence, committed)
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
        """Drop the handed-over transactions that were returned, or whose beginning was or will be read."""
        while self._handed and self._handed[0].after < through:
            self._waiting -= len(self._handed.popleft().forecasts)


class Followers:
    """Tails and events that commits wake. Use it in one event loop.

    Args:
        backend: the database of the ledger.

    Attributes:
        tails: open tails.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._woken: set[asyncio.Event] = set()
        self.tails: set[Tail] = set()
        self._listener: CommitListener | None = None

    @contextmanager
    def tail(self, source: EntrySource, after: int, reader: TailReader | None) -> Iterator[Tail]:
        """Yield a tail of the ledger that starts after a sequence; commits wake it until the end of the block."""
        tail = Tail(source, after, reader)
        self.tails.add(tail)
        self._start_listening()
        try:
            yield tail
        finally:
            self.tails.discard(tail)

    def listen(self, committed: asyncio.Event) -> None:
        """Set an event after every commit that may have added more than forecasts, until this is closed."""
        self._woken.add(committed)
        self._start_listening()

    def appended(self, appended: Appended | None) -> None:
        """Notify the tails of a transaction of this process, given its appended entries; None if they are not known."""
        for tail in self.tails:
            if appended is None:
                tail.wake()
            else:
                tail.hand(appended)
        if appended is None or not appended.only_forecasts:
            self._set_events()

    def close(self) -> None:
        """End the subscription to the commits of other processes."""
        if self._listener is not None:
            self._listener.close()

    def _start_listening(self) -> None:
        if self._listener is None:
            self._listener = self._backend.listen(self._on_foreign_commit)

    def _on_foreign_commit(self) -> None:
        for tail in self.tails:
            tail.wake()
        self._set_events()

    def _set_events(self) -> None:
        for event in self._woken:
            event.set()
