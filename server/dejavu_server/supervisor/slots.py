"""Worker slot of a server: starts its worker, signals its death and replaces it without downtime."""

from __future__ import annotations

import asyncio

from dejavu_server.supervisor.worker_pool import WorkerPool
from dejavu_server.supervisor.worker_process import WorkerProcess


class WorkerSlot:
    """Slot for one worker.

    Args:
        number: index of the slot in the server, from 0.
        pool: starts and ends workers.
    """

    def __init__(self, number: int, pool: WorkerPool) -> None:
        self.number = number
        self._pool = pool
        self._worker: WorkerProcess | None = None
        self._starting = asyncio.Lock()  # one start at a time per slot
        self._vacated = asyncio.Event()
        self._served = 0.0

    async def wait_vacated(self) -> float:
        """Waits until the slot has lost its worker; returns the seconds that the worker had served."""
        await self._vacated.wait()
        self._vacated.clear()
        return self._served

    async def fill(self) -> None:
        """Starts a worker if the slot is empty; returns once it serves.

        Raises:
            StartError: if the worker fails to start.
        """
        async with self._starting:
            if self._worker is None:
                self._worker = await self._pool.start(self.number, self._on_end)

    async def replace(self) -> None:
        """Replaces the current worker, draining it once its successor serves.

        Raises:
            StartError: if the successor fails to start; the current worker then stays.
        """
        async with self._starting:
            successor = await self._pool.start(self.number, self._on_end)
            worker, self._worker = self._worker, successor
        if worker is not None:  # None if it died during the start of its successor
            await self._pool.retire(worker)

    def _on_end(self, worker: WorkerProcess, served: float) -> None:
        if worker is self._worker:
            self._worker = None
            self._served = served
            self._vacated.set()
