"""Background reads of the feed: at most one per source at a time, in daemon threads, each with a timeout."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from dejavu_client.logs import get_logger
from dejavu_feed.errors import FeedError, FeedUnavailable

T = TypeVar("T")

READ_TIMEOUT: Final = 30.0
"""Seconds after which a read of the feed is abandoned, even if its thread still waits."""

log = get_logger()


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


async def read_in_thread(read: Callable[..., T], *arguments: str) -> T:
    """Run a blocking read of the feed in a thread and return its result.

    Raises:
        FeedError: if `read` raises it, or after `READ_TIMEOUT`.
    """
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await in_daemon_thread(read, *arguments)
    except TimeoutError as error:
        raise FeedUnavailable(f"no answer within {READ_TIMEOUT:g} s") from error


async def in_daemon_thread(work: Callable[..., T], *arguments: str) -> T:
    """Run `work` in its own thread. Returns its result or raises its exception.

    Cancellation abandons the thread. It is a daemon thread, so that neither the event loop nor the interpreter waits
    for it at exit; an executor's threads are joined at exit, and a thread that hangs in a socket or in DNS would delay
    the exit.
    """
    done = Future[T]()
    done.set_running_or_notify_cancel()  # from here on the thread can always set the result

    def run() -> None:
        try:
            done.set_result(work(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="dejavu-blocking-work", daemon=True).start()
    return await asyncio.wrap_future(done)
