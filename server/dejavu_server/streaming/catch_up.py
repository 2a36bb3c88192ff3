"""Pages of the ledger for subscribers that catch up; subscribers of all games at one position share a page.

When a worker ends, its subscribers connect to another worker together, slightly behind. If each read the ledger
separately, the worker would encode every message once per subscriber, and under load the subscribers might never catch
up. A page ends at a multiple of PAGE_MESSAGES, so subscribers that start at different positions soon share their pages.
A running read is shared, but not the wait for one: nobody waits behind the many reads of another caller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from cachetools import LRUCache

from dejavu_common.slots import FairSlots
from dejavu_common.tasks import retrieve
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Connection, Query
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.errors import copy_of
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.errors import DejavuError
from dejavu_server.streaming.subscription import StreamEvent

PAGE_MESSAGES: Final = 16
"""Maximum number of messages of a page, a few kilobytes each; a subscriber that stops reading holds no more than
these."""

MAX_PAGES_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of the messages that are kept for other subscribers, in bytes."""


class CatchUpPage(NamedTuple):
    """Entries after a sequence.

    Attributes:
        events: the messages, in order of sequence.
        through: every entry up to this position is among the events or was filtered out. If no entry follows the page's
            start, the start.
    """

    events: tuple[StreamEvent, ...]
    through: ChainHead


class _Key(NamedTuple):
    """Identity of a page: the requested games (empty: all), and the position after which it starts."""

    game_ids: frozenset[str]
    after: ChainHead


class CatchUpPages:
    """Reads pages for the subscribers of one event loop; must be used from that loop only.

    Args:
        turns: a read of a page takes one of these; callers wait in turn.
        query: runs a query on a reader thread.
        serialize: converts an entry to a message of the stream; called on reader threads.
    """

    def __init__(
        self,
        turns: FairSlots,
        query: Callable[[Query[CatchUpPage]], Awaitable[CatchUpPage]],
        serialize: Callable[[IssuedForecast | ReportedOutcome], bytes],
    ) -> None:
        self._turns = turns
        self._query = query
        self._serialize = serialize
        self._reads: dict[_Key, asyncio.Future[CatchUpPage]] = {}
        self._pages: LRUCache[_Key, CatchUpPage] = LRUCache(MAX_PAGES_BYTES, _size)
        self._readers = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Mark the block as a time in which a subscriber catches up. Pages are kept while any subscriber does."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._pages.clear()

    async def get(self, game_ids: frozenset[str], after: ChainHead, caller: str) -> CatchUpPage:
        """Return the page that starts after a position: a kept page, one that is being read already, or a new one.

        Args:
            game_ids: the games that are wanted; empty: all.
            after: the position; at least one forecast or outcome must follow, unless it was lost by a restore.
            caller: name of the caller whose turn it takes.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        key = _Key(game_ids, after)
        read = self._reads.get(key)
        if key not in self._pages and read is None:
            await self._turns.acquire(caller)
            read = self._reads.get(key)
            if key not in self._pages and read is None:
                read = self._reads[key] = asyncio.ensure_future(self._query(partial(self._read, key)))
                read.add_done_callback(partial(self._finish, key, caller))
            else:  # another subscriber's turn came first
                self._turns.release(caller)
        if read is None:
            return self._pages[key]
        try:
            return await asyncio.shield(read)
        except DejavuError as error:
            raise copy_of(error) from error.__cause__

    def _finish(self, key: _Key, caller: str, read: asyncio.Future[CatchUpPage]) -> None:
        self._turns.release(caller)
        del self._reads[key]
        retrieve(read)  # also if all subscribers have gone
        if not self._readers or read.cancelled() or read.exception() is not None:
            return
        page = read.result()
        if page.through == key.after or key.game_ids:  # lost; or of games that hardly anybody else wants
            return
        with contextlib.suppress(ValueError):  # it alone is larger than all pages may be
            self._pages[key] = page

    def _read(self, key: _Key, connection: Connection) -> CatchUpPage:
        # Read first: all entries up to it are seen then.
        newest = store.newest(connection) if key.game_ids else key.after
        entries = store.read_after(connection, key.after.sequence, PAGE_MESSAGES, key.game_ids)
        of_page = [entry for entry in entries if key.game_ids or _aligned(entry) == _aligned(entries[0])]
        events = tuple(StreamEvent(ChainHead(entry.sequence, entry.hash), self._serialize(entry)) for entry in of_page)
        through = events[-1].position if events else key.after
        if len(entries) < PAGE_MESSAGES and newest.sequence > through.sequence:
            through = newest
        return CatchUpPage(events, through)


def _aligned(entry: IssuedForecast | ReportedOutcome) -> int:
    """Return the number of the page that an entry belongs to: 0 for the sequences 1 to PAGE_MESSAGES, and so on."""
    return (entry.sequence - 1) // PAGE_MESSAGES


def _size(page: CatchUpPage) -> int:
    return sum(len(event.data) for event in page.events)
