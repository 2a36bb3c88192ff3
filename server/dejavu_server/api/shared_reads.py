"""Shares expensive reads of the ledger between callers with the same query, and ends reads whose callers have gone.

A read is identified by its query and by the ledger's newest entry when its caller asked, so that no caller gets an
answer older than an entry that it knows of. The most recently used answers are kept. At most one small and one large
read run at a time. A small read never waits for a large one, which pauses for it. A limited number of reads of each
size waits, and callers have turns; further reads are refused. All callers share a read that runs, but only callers of
one identity share a read that waits: a caller must not wait behind the many reads of another one.
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
from dejavu_server.admission.callers import limited_caller
from dejavu_server.admission.refusals import Overloaded

MAX_WAITING_SMALL = 64
"""Maximum number of waiting small reads; each takes some ten milliseconds."""

MAX_WAITING_LARGE = 32
"""Maximum number of waiting large reads. They are quick if the settled forecasts are in memory, else they take seconds;
callers that have waited too long give up, and their reads never start.
"""

PAUSE_SECONDS = 0.005
"""Longest pause of a large read in favor of small ones, after every few milliseconds of work: half of its time.

Two threads that read take turns at Python's lock row by row, which slows a small read down much more than by half. With
longer pauses the large read never ends while many small ones come, and all of them are quicker once it has ended.
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

    async def acquire(self) -> Callable[[], None]:
        """Wait for the slot on behalf of the current caller; return a function that gives it back.

        Raises:
            Overloaded: if too many reads wait, and no other caller has more of them.
        """
        caller = limited_caller.get()
        with self._refusing():
            await self._slots.acquire(caller)
        return partial(self._slots.release, caller)

    async def run(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for the slot on behalf of the current caller, and hold it until a read ends; see `FairSlots.run`.

        Raises:
            Overloaded: if too many reads wait, and no other caller has more of them.
            Exception: whatever the read raised.
        """
        with self._refusing():
            return await self._slots.run(limited_caller.get(), read)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except TooManyWaitError:
            waiting = f"{self._max_waiting} other reads of this size wait already"
            raise Overloaded(f"{waiting}; retry later, or ask for less") from None


class _Stop:
    """Tells a read to stop, and a large one to pause while a small one runs; see `StopSignal`.

    Attributes:
        makes_way: event that is set while no small read runs; None for a small read.
    """

    def __init__(self) -> None:
        self.makes_way: threading.Event | None = None
        self._stopped = threading.Event()

    def set(self) -> None:
        """Stop the read."""
        self._stopped.set()

    def is_set(self) -> bool:
        """Return whether the read is to stop, after a pause if it has to make way."""
        if self.makes_way is not None and not self._stopped.is_set():
            self.makes_way.wait(PAUSE_SECONDS)
        return self._stopped.is_set()


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
    stop: _Stop = field(default_factory=_Stop)


class SharedReads:
    """Reads shared by the calls of one event loop; must be used from that loop only."""

    def __init__(self) -> None:
        self._answers: LRUCache[Hashable, Any] = LRUCache(MAX_ANSWER_BYTES, _size)
        self._running: dict[Hashable, _Read] = {}
        self._waiting: dict[tuple[Hashable, str], _Read] = {}  # by key and caller
        self._small, self._large = ReadSlot(MAX_WAITING_SMALL), ReadSlot(MAX_WAITING_LARGE)
        self._no_small_read = threading.Event()
        self._no_small_read.set()

    async def get(
        self,
        key: Hashable,
        is_small: Callable[[], Awaitable[bool]],
        read: Callable[[StopSignal, bool], Awaitable[_M]],
    ) -> _M:
        """Return an answer: one that is kept, that of a read in progress, or that of a new read.

        If this call is cancelled and no other waits for the same read, the read ends soon, or never starts.

        Args:
            key: identifies the answer, and with it its type.
            is_small: returns whether a read belongs in the lane of small ones; called at most once for each read.
            read: reads the answer, given a signal and whether the read is small; it ends early, with any exception,
                once the signal is set.

        Raises:
            Overloaded: if too many other reads wait.
            Exception: whatever the read raised.
        """
        kept: _M | None = self._answers.get(key)
        if kept is not None:
            return kept
        caller = limited_caller.get()
        shared = self._running.get(key) or self._waiting.get((key, caller))
        if shared is None:
            shared = self._waiting[key, caller] = _Read(key, caller)
            shared.task = asyncio.create_task(self._run(shared, is_small, read), name="shared-read")
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
        is_small: Callable[[], Awaitable[bool]],
        read: Callable[[StopSignal, bool], Awaitable[_M]],
    ) -> _M:
        small = await is_small()
        lane = self._small if small else self._large
        release = await lane.acquire()  # for the first caller, whose context this task has
        kept: _M | None = self._answers.get(shared.key)
        if kept is not None:  # another caller's turn came first
            release()
            return kept
        shared.running = True
        self._running[shared.key] = shared
        if small:
            self._no_small_read.clear()
        else:
            shared.stop.makes_way = self._no_small_read
        try:
            answer = await read(shared.stop, small)
            with suppress(ValueError):  # it alone is larger than all answers may be
                self._answers[shared.key] = answer
            return answer
        finally:
            if small:
                self._no_small_read.set()
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
