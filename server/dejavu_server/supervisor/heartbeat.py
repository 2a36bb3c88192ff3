"""Status pipe of a worker: one status report, then one heartbeat byte per second from its event loop.

The kernel keeps assigning connections to a process that was stopped or whose event loop hangs, and those calls are
never answered. The supervisor detects such a worker by its missing heartbeats.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

HEARTBEAT_SECONDS = 1.0
"""Interval at which a worker writes a heartbeat and its supervisor checks for one."""

_HEARTBEAT = b"."
_HEARTBEAT_WITH_LEDGER = b"L"


async def send_heartbeats(pipe: int, has_ledger: Callable[[], bool]) -> None:
    """Writes heartbeats of a worker that has reported its status, until the reading end of the pipe is closed.

    Args:
        pipe: file descriptor of the pipe's writing end; not shared, because it is made non-blocking.
        has_ledger: returns whether the worker has the ledger open; every heartbeat carries it.
    """
    os.set_blocking(pipe, False)
    while True:
        try:
            os.write(pipe, _HEARTBEAT_WITH_LEDGER if has_ledger() else _HEARTBEAT)
        except BlockingIOError:
            pass  # the pipe is full because the supervisor has not read for hours; it has enough heartbeats to read
        except BrokenPipeError:
            return  # the supervisor is gone, or an older release that reads the status only
        await asyncio.sleep(HEARTBEAT_SECONDS)


class HeartbeatReader(asyncio.Protocol):
    """The supervisor's end of the status pipe. Create it in the supervisor's event loop.

    Attributes:
        received: whether data has arrived since the supervisor last reset this to false.
        has_ledger: whether any heartbeat reported that the worker has the ledger open.
    """

    def __init__(self) -> None:
        self.received = False
        self.has_ledger = False
        self._partial_line = b""
        self._report: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def reported(self) -> bool:
        """Whether the status report, or the end of the pipe instead, has arrived."""
        return self._report.done()

    async def report(self) -> str:
        """Returns the worker's status line, or an empty string if it ended before reporting. Await it only once."""
        return (await self._report).decode()

    def data_received(self, data: bytes) -> None:
        """Parses received bytes; called by the event loop."""
        self.received = True
        if not self._report.done():
            line, newline, data = (self._partial_line + data).partition(b"\n")
            if not newline:
                self._partial_line = line
                return
            self._report.set_result(line)
        self.has_ledger |= _HEARTBEAT_WITH_LEDGER in data

    def connection_lost(self, error: Exception | None) -> None:
        """Completes the report with an empty line if it is still missing; called by the event loop."""
        if not self._report.done():
            self._report.set_result(b"")


HUNG_SECONDS = 30.0
"""Time without a heartbeat after which a serving worker counts as hung; far above the delays of a busy machine."""
