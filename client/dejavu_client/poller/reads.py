"""Reads of the feed that go on beside everything else: of each source at most one at a time, none for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from dejavu_client.logs import get_logger
from dejavu_client.poller.threads import in_daemon_thread
from dejavu_feed.errors import FeedError, FeedUnavailable

T = TypeVar("T")

READ_TIMEOUT: Final = 30.0
"""Seconds after which a read of the feed is given up, whatever its thread may still wait for."""

log = get_logger()


class FeedReads:
    """The reads under way, by their sources."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, source: str) -> bool:
        return source in self._tasks

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(
        self, source: str, read: Callable[[], Awaitable[None]], failed: Callable[[FeedError], Awaitable[None]]
    ) -> None:
        """Reads a source beside everything else; `failed` is told what the feed, or a fault of ours, made of it."""

        async def watched() -> None:
            try:
                await read()
            except FeedError as error:
                await failed(error)
            except Exception as error:  # the evening goes on
                log.exception("poll.read_failed", source=source)
                await failed(FeedError(f"{type(error).__name__}: {error}"))
            finally:
                self._tasks.pop(source, None)

        self._tasks[source] = asyncio.create_task(watched(), name=f"read {source}")

    async def idle(self) -> None:
        """Returns when nothing is being read."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Gives up what is under way. A thread that waits for the feed is left to itself."""
        pending = list(self._tasks.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._tasks.clear()


async def read_in_thread(read: Callable[..., T], *arguments: str) -> T:
    """What a feed answers.

    Raises:
        FeedError: as `read` does, or after `READ_TIMEOUT`.
    """
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await in_daemon_thread(read, *arguments)
    except TimeoutError as error:
        raise FeedUnavailable(f"no answer within {READ_TIMEOUT:g} s") from error
