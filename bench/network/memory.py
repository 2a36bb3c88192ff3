"""Reads the memory of a server's workers."""

from __future__ import annotations

import asyncio
import time

from bench.servers import anonymous_mib
from tests.support.processes.servers import SpawnedServer

STILL_SECONDS = 1.0
"""Memory is measured once it has not grown for this time."""


class Memory:
    """Reads the memory of a server's workers."""

    def __init__(self, server: SpawnedServer) -> None:
        self._pids = [int(entry["worker"].partition("-")[2]) for entry in server.events if entry["event"] == "serving"]

    def mib(self) -> list[float]:
        """Return each worker's anonymous memory in MiB."""
        return [round(anonymous_mib(pid), 1) for pid in self._pids]

    async def still(self) -> list[float]:
        """Return each worker's memory once it has not grown for STILL_SECONDS."""
        most, since = self.mib(), time.monotonic()
        while time.monotonic() - since < STILL_SECONDS:
            await asyncio.sleep(0.1)
            now = self.mib()
            if sum(now) > sum(most) + 0.5:
                most, since = now, time.monotonic()
        return self.mib()
