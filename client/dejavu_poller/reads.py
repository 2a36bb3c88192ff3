"""Background reads of the feed: at most one per source at a time, in a bounded number of threads, with a timeout.

Also files that somebody else writes, read again whenever they change.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Generic, ParamSpec, TypeVar

from dejavu_client.logs import get_logger
from dejavu_feed.errors import DataError, FeedError, FeedUnavailable
from dejavu_feed.nba.live_payloads import MAX_GAMES

P = ParamSpec("P")
T = TypeVar("T")

READ_TIMEOUT: Final = 30.0
"""Seconds after which a read of the feed is abandoned, even if its thread still waits."""

MAX_THREADS: Final = 2 * MAX_GAMES + 8
"""Maximum number of threads: one each for plays and box score of every game that is followed, and a few for the
scoreboard, the odds and files, so that no source waits for a slow one. A thread begins when no other is free."""

log = get_logger()


class DaemonThreads(Executor):
    """Executor of at most `size` daemon threads.

    Neither the event loop nor the interpreter waits for a daemon thread at exit. A `ThreadPoolExecutor` joins its
    threads, and one that hangs in a socket, in DNS or in a network share would delay the exit.

    Args:
        size: maximum number of threads; further work waits until one is free.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._work = SimpleQueue[Callable[[], None]]()
        self._lock = threading.Lock()
        self._threads = self._free = 0

    def submit(self, work: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Future[T]:
        """Run work in a thread, unless its future is cancelled first."""
        done = Future[T]()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work(*args, **options))
            except BaseException as error:
                done.set_exception(error)

        with self._lock:
            if not self._free and self._threads < self._size:
                threading.Thread(target=self._serve, name="dejavu-read", daemon=True).start()
                self._threads += 1
            else:
                self._free -= 1  # below 0: work that waits for a thread
            self._work.put(run)
        return done

    def _serve(self) -> None:
        while True:
            self._work.get()()
            with self._lock:
                self._free += 1


THREADS: Final = DaemonThreads(MAX_THREADS)
"""Where everything is read."""


class FeedReads(dict[str, asyncio.Task[None]]):
    """Reads in progress, by source."""

    def start(
        self, source: str, read: Callable[[], Awaitable[None]], failed: Callable[[FeedError], Awaitable[None]]
    ) -> None:
        """Start a background read of a source, unless one is in progress.

        Calls `failed` with the feed's error, or with an internal error.
        """
        if source in self:
            return

        async def guarded() -> None:
            try:
                await read()
            except FeedError as error:
                await failed(error)
            except Exception as error:  # a bug in one read must not stop the poller
                log.exception("poll.read_failed", source=source)
                await failed(FeedError(f"{type(error).__name__}: {error}"))
            finally:
                self.pop(source, None)

        self[source] = asyncio.create_task(guarded(), name=f"read {source}")

    async def idle(self) -> None:
        """Wait until no read is in progress."""
        while self:
            await asyncio.gather(*self.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel the reads in progress. Threads that wait for the feed are abandoned."""
        pending = list(self.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self.clear()


async def read_in_thread(
    read: Callable[..., T], *arguments: Any, seconds: float = READ_TIMEOUT, threads: Executor = THREADS
) -> T:
    """Run a blocking read of the feed in a thread and return its result.

    Args:
        read: the read.
        arguments: its arguments.
        seconds: time after which it is given up, including the wait for a thread.
        threads: where it runs.

    Raises:
        FeedError: if `read` raises it, or if it is given up.
    """
    return await in_time(threads.submit(read, *arguments), seconds)


async def in_time(future: Future[T], seconds: float = READ_TIMEOUT) -> T:
    """Return the result of a read that runs in a thread; the thread is left alone if it is given up.

    Raises:
        FeedUnavailable: if there is none in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        raise FeedUnavailable(f"no answer within {seconds:g} s") from error


@dataclass(frozen=True, slots=True)
class FileContent(Generic[T]):
    """Content of a file.

    Attributes:
        value: what was read.
        written: time of the file's last modification before it was read, aware.
    """

    value: T
    written: datetime


class WatchedFile(Generic[T]):
    """A file that is read when it has changed since it was last read or refused, and stays refused until then.

    Args:
        path: the file.
        read: reads it; raises `DataError` if it can't be read, or is invalid.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self.path = path
        self._read = read
        self._stamp: tuple[int, int] | None = None
        self._refused: DataError | None = None
        self._reading: Future[tuple[tuple[int, int], FileContent[T] | DataError] | None] | None = None

    async def changed(self) -> FileContent[T] | None:
        """Return the content of the file; None if it is valid and has not changed.

        Raises:
            DataError: if the file can't be read, or is invalid: its content is read only once.
            FeedUnavailable: if it was not read in time, or the last read, which was given up, has not ended yet.
        """
        if self._reading is not None and not self._reading.done():
            raise FeedUnavailable(f"{self.path}: the last read of it has not ended yet")
        self._reading = THREADS.submit(self._read_changed, self._stamp)
        changed = await in_time(self._reading)
        self._stamp, content = changed or (self._stamp, self._refused)
        self._refused = content if isinstance(content, DataError) else None
        if isinstance(content, DataError):
            raise content.with_traceback(None)
        return content

    def _read_changed(self, stamp: tuple[int, int] | None) -> tuple[tuple[int, int], FileContent[T] | DataError] | None:
        """Return the file's stamp (time and size), and its content or what is wrong with it; None if it equals `stamp`.

        Raises:
            DataError: if the file can't be read now.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise DataError(f"{self.path}: there is no such file") from None
        except OSError as error:
            raise DataError(f"{self.path}: can't be read: {error.strerror or error}") from error
        now = found.st_mtime_ns, found.st_size
        if now == stamp:
            return None
        try:
            return now, FileContent(self._read(self.path), datetime.fromtimestamp(found.st_mtime, UTC))
        except DataError as error:
            if isinstance(error.__cause__, OSError):
                raise
            return now, error
