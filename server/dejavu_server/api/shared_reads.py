"""Reads the ledger for callers: one read of a kind at a time, for which callers have turns.

Each kind has at most one of the ledger's reader threads; the others stay free for streams. The kinds are lookups, which
are small, scorecards, and comparisons of models, which take longest. A limited number of reads of each kind waits;
further reads are refused.

Scorecards and comparisons are shared between callers with the same query, and end if their callers have gone. A read is
identified by its query and by the ledger's newest outcome when its caller asked, so that no caller gets an answer older
than an outcome that it knows of. The most recently used answers are kept. All callers share a read that runs, but only
callers of one identity share a read that waits: a caller must not wait behind the many reads of another one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from cachetools import LRUCache
from google.protobuf.message import Message

from dejavu_common.slots import FairSlots, TooManyWaitError
from dejavu_common.tasks import retrieve
from dejavu_ledger.database.backend import Query
from dejavu_ledger.errors import copy_of
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import scorecards
from dejavu_models.errors import DejavuError
from dejavu_server.limits import Overloaded

MAX_WAITING = 64
"""Maximum number of waiting scorecards, and of waiting comparisons. A scorecard of a season takes a fraction of a
second; callers that have waited too long give up, and their reads never start.
"""

MAX_LOOKUPS_WAITING = 256
"""Maximum number of waiting lookups: the default limit of calls of their kind. One takes up to some 40 ms."""

MAX_ANSWERS = 256
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Maximum number of answers that are kept, and their maximum total size as messages, in bytes; each counts for at least
its share of the bytes."""

_T = TypeVar("_T")
_M = TypeVar("_M", bound=Message)


class _Slot:
    """A slot for one read at a time, for which callers wait in turn.

    Args:
        max_waiting: maximum number of waiting reads.
    """

    def __init__(self, max_waiting: int) -> None:
        self._slots = FairSlots(1, max_waiting=max_waiting)
        self._max_waiting = max_waiting

    async def run(self, caller: str, read: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for the slot in a caller's turn, and hold it until a read ends; see `FairSlots.run`."""
        try:
            return await self._slots.run(caller, read)
        except TooManyWaitError:
            waiting = f"{self._max_waiting} other reads of this kind wait already"
            raise Overloaded(f"{waiting}; retry later, or ask for less") from None


@dataclass(eq=False)
class _Read:
    """A read that is waiting or running.

    Attributes:
        place: its answer's key, with the caller for whom it waits; None once it runs.
        callers: number of calls that wait for its answer.
        stop: ends it once it runs: a thread is then busy with it.
    """

    place: tuple[Hashable, str | None]
    task: asyncio.Task[Any] = field(init=False)
    callers: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class SharedReads:
    """Reads of the calls of one event loop; must be used from that loop only.

    Args:
        ledger: the ledger.
    """

    def __init__(self, ledger: CurrentLedger) -> None:
        self._ledger = ledger
        self._answers: LRUCache[Hashable, Any] = LRUCache(MAX_ANSWER_BYTES, _size)
        self._reads: dict[tuple[Hashable, str | None], _Read] = {}  # by place
        self._lookups = _Slot(MAX_LOOKUPS_WAITING)
        self._cards, self._comparisons = _Slot(MAX_WAITING), _Slot(MAX_WAITING)

    async def look_up(self, query: Query[_T], caller: str) -> _T:
        """Return the result of a small query, read for this call alone.

        Args:
            query: the query.
            caller: name of the caller whose turn it takes.

        Raises:
            Overloaded: if too many lookups wait, and no other caller has more of them.
            Exception: whatever the query raised.
        """
        return await self._lookups.run(caller, lambda: self._ledger().read(query))

    async def get(self, query: Hashable, build: Query[_M], caller: str, *, compares: bool = False) -> _M:
        """Return an answer: one that is kept, that of a read in progress, or that of a new read.

        If this call is cancelled and no other waits for the same read, the read ends soon, or never starts.

        Args:
            query: identifies the answer, and with it its type, as long as no outcome is recorded.
            build: reads the answer.
            caller: name of the caller whose turn it takes.
            compares: whether it compares models.

        Raises:
            Overloaded: if too many other reads wait.
            Exception: whatever the read raised.
        """
        key = await self.look_up(scorecards.position, caller), query
        kept: _M | None = self._answers.get(key)
        if kept is not None:
            return kept
        shared = self._reads.get((key, None)) or self._reads.get((key, caller))
        if shared is None:
            slot = self._comparisons if compares else self._cards
            shared = self._reads[key, caller] = _Read((key, caller))
            shared.task = asyncio.create_task(slot.run(caller, partial(self._run, shared, build)), name="shared-read")
            shared.task.add_done_callback(partial(self._finish, shared))
        shared.callers += 1
        try:
            answer: _M = await asyncio.shield(shared.task)
            return answer
        except DejavuError as error:
            raise copy_of(error) from error.__cause__
        finally:
            shared.callers -= 1
            if not shared.callers and not shared.task.done():
                self._forget(shared)  # the next call with its key starts another one
                shared.stop.set()
                shared.task.cancel()

    async def _run(self, shared: _Read, build: Query[_M]) -> _M:
        key, _ = shared.place
        kept: _M | None = self._answers.get(key)
        if kept is not None:  # another caller's turn came first
            return kept
        self._forget(shared)
        shared.place = key, None
        self._reads[shared.place] = shared
        answer = await self._ledger().read(build, stop=shared.stop)
        with suppress(ValueError):  # it alone is larger than all answers may be
            self._answers[key] = answer
        return answer

    def _finish(self, shared: _Read, task: asyncio.Task[Any]) -> None:
        self._forget(shared)
        retrieve(task)

    def _forget(self, shared: _Read) -> None:
        if self._reads.get(shared.place) is shared:
            del self._reads[shared.place]


def _size(answer: Message) -> int:
    return max(answer.ByteSize(), MAX_ANSWER_BYTES // MAX_ANSWERS)
