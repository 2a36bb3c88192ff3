"""One of a server's places for a worker: filled, found vacant when its worker dies, and renewed without a gap."""

from __future__ import annotations

import asyncio

from dejavu_server.supervisor.worker_pool import WorkerPool
from dejavu_server.supervisor.worker_process import WorkerProcess


class WorkerSlot:
    """A place for a worker.

    Args:
        number: which of the server's slots it is, from 0 on.
        crew: starts and ends workers.
    """

    def __init__(self, number: int, crew: WorkerPool) -> None:
        self.number = number
        self._pool = crew
        self._worker: WorkerProcess | None = None
        self._starting = asyncio.Lock()  # one worker at a time comes to serve here
        self._vacated = asyncio.Event()
        self._served = 0.0

    async def vacated(self) -> float:
        """Waits until the slot has lost its worker; returns how many seconds that one had served."""
        await self._vacated.wait()
        self._vacated.clear()
        return self._served

    async def fill(self) -> None:
        """Starts a worker, if there is none; returns once it serves.

        Raises:
            StartError: if it does not come to serve.
        """
        async with self._starting:
            if self._worker is None:
                self._worker = await self._pool.start(self.number, self._on_end)

    async def renew(self) -> None:
        """Puts another worker in the place of the one there is, which is drained once its successor serves.

        Raises:
            StartError: if the successor does not come to serve; the old one then stays.
        """
        async with self._starting:
            successor = await self._pool.start(self.number, self._on_end)
            worker, self._worker = self._worker, successor
        if worker is not None:  # it may have died meanwhile
            await self._pool.retire(worker)

    def _on_end(self, worker: WorkerProcess, served: float) -> None:
        if worker is self._worker:
            self._worker = None
            self._served = served
            self._vacated.set()
