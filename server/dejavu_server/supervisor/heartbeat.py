"""The pipe on which a worker reports, and then shows that it lives: its event loop writes a byte every second.

A process that was stopped, or whose loop hangs, lives on for the kernel, which goes on giving it connections that
nobody answers. The bytes stay away, and that is how its supervisor learns of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

HEARTBEAT_SECONDS = 1.0
"""How often a worker writes a byte, and how often its supervisor looks for one."""

_BEAT = b"."
_BEAT_WITH_LEDGER = b"L"


async def send_heartbeats(pipe: int, has_ledger: Callable[[], bool]) -> None:
    """Writes the beats of a worker that has reported, until nobody can read them any more.

    Args:
        pipe: file descriptor of the pipe's end; of its own, for it is made non-blocking.
        has_ledger: whether the worker has the ledger open, which every beat tells.
    """
    os.set_blocking(pipe, False)
    while True:
        try:
            os.write(pipe, _BEAT_WITH_LEDGER if has_ledger() else _BEAT)
        except BlockingIOError:
            pass  # the supervisor has not read for hours; it finds enough of them when it does
        except BrokenPipeError:
            return  # it is gone, or of a release that reads no more than the report
        await asyncio.sleep(HEARTBEAT_SECONDS)


class HeartbeatReader(asyncio.Protocol):
    """The supervisor's end of the pipe. Made in its event loop.

    Attributes:
        beaten: whether anything came since this was last set to false.
        with_ledger: whether a beat told that the worker has the ledger open.
    """

    def __init__(self) -> None:
        self.last_heartbeat = False
        self.has_ledger = False
        self._begun = b""
        self._report: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def reported(self) -> bool:
        """Whether the report, or the end in its place, has come."""
        return self._report.done()

    async def report(self) -> str:
        """The line that the worker reports in; empty if it ended before that. To be awaited once."""
        return (await self._report).decode()

    def data_received(self, data: bytes) -> None:
        """Takes what came; called by the event loop."""
        self.last_heartbeat = True
        if not self._report.done():
            line, newline, data = (self._begun + data).partition(b"\n")
            if not newline:
                self._begun = line
                return
            self._report.set_result(line)
        self.has_ledger |= _BEAT_WITH_LEDGER in data

    def connection_lost(self, error: Exception | None) -> None:
        """Takes note that nothing more can come; called by the event loop."""
        if not self._report.done():
            self._report.set_result(b"")
