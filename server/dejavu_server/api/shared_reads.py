"""Shares expensive reads of the ledger between callers with the same query, and ends reads whose callers have gone.

A read is identified by its query and by the ledger's newest entry when its caller asked, so that no caller gets an
answer older than an entry that it knows of. The most recently used answers are kept. At most one scorecard and one
comparison of models, which takes longer, are read at a time. A limited number of reads of each kind waits, and callers
have turns; further reads are refused. All callers share a read that runs, but only callers of one identity share a read
that waits: a caller must not wait behind the many reads of another one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from cachetools import LRUCache
from google.protobuf.message import Message

from dejavu_common.slots import FairSlots, TooManyWaitError
from dejavu_common.tasks import retrieve
from dejavu_ledger.database.backend import StopSignal
from dejavu_ledger.errors import copy_of
from dejavu_models.errors import DejavuError
from dejavu_server.admission.refusals import Overloaded

MAX_WAITING = 64
"""Maximum number of waiting reads of a kind. A scorecard of a season takes a fraction of a second; callers that have
waited too long give up, and their reads never start.
"""

MAX_ANSWERS = 256
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Maximum number of answers that are kept, and their maximum total size as messages, in bytes; each counts for at least
its share of the bytes."""

_T = TypeVar("_T")
_M = TypeVar("_M", bound=Message)


class ReadSlot:
    """A slot for one read at a time, for which callers wait in turn.

    Args:
        max_waiting: maximum number of waiting reads.
    """

    def __init__(self, max_waiting: int) -> None:
        self._slots = FairSlots(1, max_waiting=max_waiting)
        self._max_waiting = max_waiting

    async def acquire(self, caller: str) -> Callable[[], None]:
        """Wait for the slot in a caller's turn; return a function that gives it back.

        Raises:
            Overloaded: if too many reads wait, and no other caller has more of them.
        """
        with self._refusing():
            await self._slots.acquire(caller)
        return partial(self._slots.release, caller)

    async def run(self, caller: str, read: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for the slot in a caller's turn, and hold it until a read ends; see `FairSlots.run`.

        Raises:
            Overloaded: if too many reads wait, and no other caller has more of them.
            Exception: whatever the read raised.
        """
        with self._refusing():
            return await self._slots.run(caller, read)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except TooManyWaitError:
            waiting = f"{self._max_waiting} other reads of this kind wait already"
            raise Overloaded(f"{waiting}; retry later, or ask for less") from None


@dataclass(eq=False)
class _Read:
    """A read that is waiting or running.

    Attributes:
        key: identifies its answer.
        caller: the caller for whom it waits.
        callers: number of calls that wait for its answer.
        running: whether it has its slot; a thread is then busy with it, and only `stop` ends that.
    """

    key: Hashable
    caller: str
    task: asyncio.Task[Any] = field(init=False)
    callers: int = 0
    running: bool = False
    stop: threading.Event = field(default_factory=threading.Event)


class SharedReads:
    """Reads shared by the calls of one event loop; must be used from that loop only."""

    def __init__(self) -> None:
        self._answers: LRUCache[Hashable, Any] = LRUCache(MAX_ANSWER_BYTES, _size)
        self._running: dict[Hashable, _Read] = {}
        self._waiting: dict[tuple[Hashable, str], _Read] = {}  # by key and caller
        self._cards, self._comparisons = ReadSlot(MAX_WAITING), ReadSlot(MAX_WAITING)

    async def get(
        self,
        key: Hashable,
        read: Callable[[StopSignal], Awaitable[_M]],
        caller: str,
        *,
        compares: bool = False,
    ) -> _M:
        """Return an answer: one that is kept, that of a read in progress, or that of a new read.

        If this call is cancelled and no other waits for the same read, the read ends soon, or never starts.

        Args:
            key: identifies the answer, and with it its type.
            read: reads the answer, given a signal; it ends early, with any exception, once the signal is set.
            caller: name of the caller whose turn it takes.
            compares: whether it compares models.

        Raises:
            Overloaded: if too many other reads wait.
            Exception: whatever the read raised.
        """
        kept: _M | None = self._answers.get(key)
        if kept is not None:
            return kept
        shared = self._running.get(key) or self._waiting.get((key, caller))
        if shared is None:
            shared = self._waiting[key, caller] = _Read(key, caller)
            shared.task = asyncio.create_task(
                self._run(shared, read, self._comparisons if compares else self._cards), name="shared-read"
            )
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
                self._abandon(shared)

    async def _run(
        self,
        shared: _Read,
        read: Callable[[StopSignal], Awaitable[_M]],
        slot: ReadSlot,
    ) -> _M:
        release = await slot.acquire(shared.caller)
        kept: _M | None = self._answers.get(shared.key)
        if kept is not None:  # another caller's turn came first
            release()
            return kept
        shared.running = True
        self._running[shared.key] = shared
        try:
            answer = await read(shared.stop)
            with suppress(ValueError):  # it alone is larger than all answers may be
                self._answers[shared.key] = answer
            return answer
        finally:
            release()

    def _abandon(self, shared: _Read) -> None:
        """End a read that lost its last caller; the next call with its key starts another one."""
        self._forget(shared)
        if shared.running:
            shared.stop.set()
        else:
            shared.task.cancel()

    def _finish(self, shared: _Read, task: asyncio.Task[Any]) -> None:
        self._forget(shared)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it

    def _forget(self, shared: _Read) -> None:
        if self._waiting.get((shared.key, shared.caller)) is shared:
            del self._waiting[shared.key, shared.caller]
        if self._running.get(shared.key) is shared:
            del self._running[shared.key]


def _size(answer: Message) -> int:
    return max(answer.ByteSize(), MAX_ANSWER_BYTES // MAX_ANSWERS)


class LatestRead(Generic[_T]):
    """Shares reads of a value that changes: each caller gets the value of a read that started after it asked.

    Args:
        read: reads the value.
    """

    def __init__(self, read: Callable[[], Awaitable[_T]]) -> None:
        self._read = read
        self._next: asyncio.Future[_T] | None = None
        self._task: asyncio.Task[None] | None = None

    async def get(self) -> _T:
        """Return the value.

        Raises:
            Exception: whatever the read raised.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="latest-read")
        try:
            return await asyncio.shield(self._next)
        except DejavuError as error:
            raise copy_of(error) from error.__cause__

    async def _run(self) -> None:
        try:
            while self._next is not None:
                answer, self._next = self._next, None
                answer.add_done_callback(retrieve)  # also if all callers have gone
                # Read in a task of its own. Otherwise the frame of this coroutine, which continues, would be in the
                # traceback of an error: its frames are cleared once a caller has it (`interceptors.clear_frames`).
                reading = asyncio.ensure_future(self._read())
                await asyncio.wait([reading])
                if reading.cancelled():
                    answer.cancel()
                elif (error := reading.exception()) is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(reading.result())
        finally:
            self._task = None
