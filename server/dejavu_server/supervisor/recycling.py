"""Replaces workers that use too much memory, one at a time: starts a successor, then drains. Imports no gRPC.

Memory lost to an attack or a leak returns to the system only when the process ends. A worker that is far above the
limit is killed at once: an attack takes the memory of the whole machine in less time than a drain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from dejavu_common.clock import Backoff
from dejavu_common.processes import resident_mebibytes
from dejavu_server.observability.multiprocess import SupervisorMetrics
from dejavu_server.supervisor.worker_pool import WorkerSlot
from dejavu_server.supervisor.worker_process import StartError, WorkerProcess

CHECK_SECONDS = 1.0
"""Interval between two checks of all workers."""

FIRST_SERVED_SECONDS = 30.0
LONGEST_SERVED_SECONDS = 300.0
"""Minimum time that a worker serves before it is recycled: doubled with each recycling, from the first to the longest.

A limit just above a worker's needs would otherwise replace workers all the time.
"""

KILL_FACTOR = 1.5
"""A worker above this multiple of the limit is killed."""

_log = structlog.get_logger(__name__)


class Recycler:
    """Replaces workers above a limit of memory.

    A worker that is above the limit as soon as it serves is kept: its successor would be above the limit too.

    Args:
        slots: the slots of the server.
        limit: limit of a worker's resident memory, in MiB; 0: none.
        metrics: counts the replaced workers.
        replacing: held while a worker is replaced, also by a rolling restart.
    """

    def __init__(
        self, slots: Sequence[WorkerSlot], limit: int, metrics: SupervisorMetrics, replacing: asyncio.Lock
    ) -> None:
        self._slots = slots
        self._limit = limit
        self._metrics = metrics
        self._replacing = replacing
        self._left_alone: dict[int, WorkerProcess] = {}  # by slot: above the limit from their start
        self._backoffs = [Backoff(FIRST_SERVED_SECONDS, LONGEST_SERVED_SECONDS) for _ in slots]
        self._pauses = [backoff.next() for backoff in self._backoffs]

    async def run(self) -> None:
        """Check all workers every CHECK_SECONDS, without end; return at once if there is no limit."""
        if self._limit:
            await asyncio.gather(self._replace_large(), self._kill_largest())

    async def _replace_large(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for index, slot in enumerate(self._slots):
                worker = slot.worker
                if worker is not None and self._has_to_go(index, worker):
                    async with self._replacing:
                        if slot.worker is worker:  # not replaced meanwhile
                            await self._recycle(index, worker)

    async def _kill_largest(self) -> None:
        """Kill workers far above the limit, also while another is being replaced."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for worker in [slot.worker for slot in self._slots]:
                if worker is None or worker.first_mebibytes > self._limit:
                    continue
                used = resident_mebibytes(worker.pid)
                if used > KILL_FACTOR * self._limit:
                    _log.error("worker_far_above_max_rss", **self._described(worker, used), effect="it is killed")
                    worker.kill()

    def _has_to_go(self, index: int, worker: WorkerProcess) -> bool:
        if worker.first_mebibytes > self._limit:
            if self._left_alone.get(index) is not worker:
                self._left_alone[index] = worker
                _log.error(
                    "max_rss_too_low",
                    **self._described(worker, worker.first_mebibytes),
                    effect="this worker is not recycled",
                    advice="raise --max-rss: a worker that has just started is above it",
                )
            return False
        served = time.monotonic() - worker.serves_since
        return served >= self._pauses[index] and resident_mebibytes(worker.pid) > self._limit

    async def _recycle(self, index: int, worker: WorkerProcess) -> None:
        described = self._described(worker, resident_mebibytes(worker.pid))
        _log.warning("worker_recycled", **described, effect="it is drained as soon as its successor serves")
        self._pauses[index] = self._backoffs[index].next()
        try:
            await self._slots[index].replace(first=False)
        except StartError as error:
            worker.serves_since = time.monotonic()  # it stays, and gets as long as a successor would
            _log.error("worker_not_recycled", **described, reason=str(error), effect="the worker stays")
        else:
            self._metrics.recycled.inc()

    def _described(self, worker: WorkerProcess, used: float) -> dict[str, int]:
        return {"slot": worker.slot, "pid": worker.pid, "rss_mib": round(used), "max_rss_mib": self._limit}
