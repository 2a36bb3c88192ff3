"""Reads the memory of a server's workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.support.processes.servers import SpawnedServer

STILL_SECONDS = 1.0
"""Memory is measured once it has not grown for this time."""


def anonymous_mib(pid: int) -> float:
    """Return a process's anonymous memory in MiB. Its share of mapped files depends on other processes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:")) / 1024


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
