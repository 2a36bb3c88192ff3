"""Status pipe of a worker: one status report, then one heartbeat byte per second from its event loop.

The kernel keeps assigning connections to a stopped process or one with a hung event loop, and those calls are never
answered. The supervisor detects such a worker by its missing heartbeats. A worker with a hung thread names the hung
part once, and sends no heartbeats from then on. Any byte counts as a heartbeat; the supervisor interprets only the byte
L (the ledger is open) and the text after a ! (the hung part).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

HEARTBEAT_SECONDS = 1.0
"""Interval at which a worker writes a heartbeat and its supervisor checks for one."""

_HEARTBEAT = b"."
_HEARTBEAT_WITH_LEDGER = b"L"
_HUNG = b"!"
"""First byte of the message that a part hangs; the message ends with a newline."""

LOOP = "loop"
"""Name of the hung part of a worker whose heartbeats are missing: the event loop, or the process as a whole."""


async def send_heartbeats(pipe: int, has_ledger: Callable[[], bool], hung_part: Callable[[], str]) -> None:
    """Write heartbeats of a worker that has reported its status, until the reading end of the pipe is closed.

    Stop the heartbeats when a part of the worker hangs.

    Args:
        pipe: file descriptor of the pipe's writing end; not shared, because it is made non-blocking.
        has_ledger: returns whether the worker has the ledger open; every heartbeat carries it.
        hung_part: returns the name of the part that hangs, in lower case; empty if none does.
    """
    os.set_blocking(pipe, False)
    while True:
        try:
            if part := hung_part():
                os.write(pipe, b"%b%b\n" % (_HUNG, part.encode()))
                return
            os.write(pipe, _HEARTBEAT_WITH_LEDGER if has_ledger() else _HEARTBEAT)
        except BlockingIOError:
            pass  # the pipe is full because the supervisor has not read for hours; it has enough heartbeats to read
        except BrokenPipeError:
            return  # the supervisor is gone
        await asyncio.sleep(HEARTBEAT_SECONDS)


class HeartbeatReader(asyncio.Protocol):
    """The supervisor's end of the status pipe. Create it in the supervisor's event loop.

    Attributes:
        heard_at: when data arrived last, by the monotonic clock; before any data, when the reader was created.
        received: whether data has arrived since the supervisor last reset this to false.
        has_ledger: whether any heartbeat reported that the worker has the ledger open.
        hung_part: name of the part that the worker reported to hang; empty if it reported none.
    """

    def __init__(self) -> None:
        self.heard_at = time.monotonic()
        self.received = False
        self.has_ledger = False
        self.hung_part = ""
        self._partial_hung = b""
        self._partial_line = b""
        self._report: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def reported(self) -> bool:
        """Whether the status report, or the end of the pipe instead, has arrived."""
        return self._report.done()

    async def report(self) -> str:
        """Return the worker's status line, or an empty string if it ended before reporting. Await it only once."""
        return (await self._report).decode()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; called by the event loop."""
        self.received = True
        self.heard_at = time.monotonic()
        if not self._report.done():
            line, newline, data = (self._partial_line + data).partition(b"\n")
            if not newline:
                self._partial_line = line
                return
            self._report.set_result(line)
        heartbeats, hung, part = (self._partial_hung + data).partition(_HUNG)
        self.has_ledger |= _HEARTBEAT_WITH_LEDGER in heartbeats
        part, newline, _ = part.partition(b"\n")
        if newline:
            self.hung_part = part.decode(errors="replace")
        self._partial_hung = hung + part

    def connection_lost(self, error: Exception | None) -> None:
        """Complete the report with an empty line if it is still missing; called by the event loop."""
        if not self._report.done():
            self._report.set_result(b"")
