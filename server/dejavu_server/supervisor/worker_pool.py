"""Pool of worker processes: starts, monitors, counts, drains and kills them. A slot keeps the place of one worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable

import structlog

from dejavu_server.observability.multiprocess import FOLDER_VARIABLE, SupervisorMetrics
from dejavu_server.settings import Settings
from dejavu_server.supervisor.child_process import reap_group
from dejavu_server.supervisor.fork_server_process import VARIABLES, ForkServerProcess
from dejavu_server.supervisor.forked_processes import ForkServer, ForkServers
from dejavu_server.supervisor.worker_process import StartError, WorkerDiedOnStart, WorkerProcess, describe_exit

KILL_AFTER_SECONDS = 5.0
"""Time after the grace time until a draining worker is killed."""

LONGEST_OUTAGE_SECONDS = 1.0
"""Longest delay before the next start while no worker serves."""

_POLL_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class WorkerPool:
    """The workers of a server, in all slots.

    Attributes:
        killed: whether workers had to be killed when the server ended.
        failed_starts: number of consecutive failed starts while no worker served.

    Args:
        settings: settings of all workers.
        metrics: metrics of the server, and the folder that its processes share.
    """

    def __init__(self, settings: Settings, metrics: SupervisorMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._environment = {**os.environ, FOLDER_VARIABLE: str(metrics.folder), **VARIABLES}
        self._fork_servers = ForkServers(settings, self._environment, metrics.folder)
        # One start per core, because more would only delay each other. At least two, so that a hanging start does not
        # block the others.
        self._start_limit = asyncio.Semaphore(max(2, len(os.sched_getaffinity(0))))
        self._watch_tasks = dict[WorkerProcess, asyncio.Task[None]]()
        self._reap_tasks = set[asyncio.Task[None]]()
        self.killed = False
        self.failed_starts = 0
        self._ledger_seen = False

    def enable_fork_server(self, launched: ForkServerProcess | None = None) -> None:
        """Start the fork server, from which workers are forked; without it, each worker is a new interpreter.

        Args:
            launched: its process, if that was started already.
        """
        self._fork_servers.enable(launched)

    async def release_fork_server(self) -> None:
        """End the fork server, unless the settings keep it for the successors of workers that die."""
        if self._settings.standby == "off":
            await self._fork_servers.disable()

    async def start(
        self, slot: int, on_end: Callable[[WorkerProcess, float], None], *, renew: bool = False
    ) -> WorkerProcess:
        """Start a worker as soon as a core is free for it; return it once it serves.

        Args:
            slot: index of the worker in the server.
            on_end: called with the worker and the seconds that it served, once it has ended.
            renew: whether to replace the fork server, since code and bundles may have changed since it loaded them. The
                present one is kept until the worker serves: if this start fails, it can still fork other successors.

        Raises:
            StartError: if the worker fails to start.
        """
        try:
            async with self._start_limit:
                if renew:
                    worker = await self._start_renewed(slot, on_end)
                else:
                    worker = await self._start(slot, on_end, await self._fork_servers.get())
        except StartError:
            self._metrics.failed_starts.inc()
            self.failed_starts = 0 if self.serving() else self.failed_starts + 1
            raise
        self.failed_starts = 0
        self._metrics.worker_serves()
        return worker

    async def _start_renewed(self, slot: int, on_end: Callable[[WorkerProcess, float], None]) -> WorkerProcess:
        fork_server = await self._fork_servers.start_new()
        try:
            worker = await self._start(slot, on_end, fork_server)
        except BaseException:
            if fork_server is not None:
                await fork_server.end()
            raise
        await self._fork_servers.adopt(fork_server)
        return worker

    async def _start(
        self, slot: int, on_end: Callable[[WorkerProcess, float], None], fork_server: ForkServer | None
    ) -> WorkerProcess:
        if fork_server is not None:
            try:
                launched = await fork_server.fork()
            except StartError as error:
                _log.warning("no_spare", pid=fork_server.pid, reason=str(error), retry_seconds=0.0)
            else:
                try:
                    return await self._serve(WorkerProcess(launched), slot, on_end)
                except WorkerDiedOnStart as error:  # the fork server's loaded state may be damaged: try without it
                    _log.warning("no_spare", pid=launched.process.pid, reason=str(error), retry_seconds=0.0)
        return await self._serve(await WorkerProcess.spawn(self._environment), slot, on_end)

    async def _serve(
        self, worker: WorkerProcess, slot: int, on_end: Callable[[WorkerProcess, float], None]
    ) -> WorkerProcess:
        self._watch_tasks[worker] = asyncio.create_task(self._watch(worker, on_end), name=f"watch-{worker.pid}")
        # If the ledger existed before and is gone, creating a new one would split the record into two files.
        self._ledger_seen |= any(other.has_ledger for other in self._watch_tasks)
        try:
            await worker.serve(slot, self._settings, self._metrics.folder, make_ledger=not self._ledger_seen)
        except StartError:
            worker.kill()  # needed after a timeout, otherwise a precaution
            raise
        return worker

    def serving(self) -> list[WorkerProcess]:
        """Return the workers that serve and were not asked to end."""
        return [
            worker for worker in self._watch_tasks if worker.serves and not worker.end_requested and not worker.ended
        ]

    def next_pause(self, seconds: float) -> float:
        """Return the seconds that `pause` would wait now; it waits less if the last worker ends meanwhile."""
        return seconds if self.serving() else min(seconds, LONGEST_OUTAGE_SECONDS)

    async def pause(self, seconds: float) -> None:
        """Wait before the next attempt to start a worker; LONGEST_OUTAGE_SECONDS at most while no worker serves."""
        now = time.monotonic()
        shortest, longest = now + min(seconds, LONGEST_OUTAGE_SECONDS), now + seconds
        while (now := time.monotonic()) < (longest if self.serving() else shortest):  # noqa: ASYNC110 - no single event ends the wait
            await asyncio.sleep(min(_POLL_SECONDS, longest - now))

    async def retire(self, worker: WorkerProcess) -> None:
        """Drain a worker; return when it has ended."""
        worker.drain()
        await self._wait_ended([worker])

    async def end(self) -> None:
        """Drain all workers; return when they have ended."""
        await self._fork_servers.disable()
        workers = list(self._watch_tasks)
        for worker in workers:
            worker.drain()
        if not await self._wait_ended(workers):  # `kill` may have set the flag already
            self.killed = True

    def kill(self) -> None:
        """Kill all workers at once."""
        self.killed |= _kill(self._watch_tasks, "a second signal")

    async def _wait_ended(self, workers: list[WorkerProcess]) -> bool:
        """Wait for drained workers to end; kill those that outlive the grace time by KILL_AFTER_SECONDS.

        Returns:
            Whether all ended in time.
        """
        tasks = [self._watch_tasks[worker] for worker in workers if worker in self._watch_tasks]
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=self._settings.grace_seconds + KILL_AFTER_SECONDS)
        if late:
            _kill(workers, "the grace time is over")
            await asyncio.wait(late)
        return not late

    async def _watch(self, worker: WorkerProcess, on_end: Callable[[WorkerProcess, float], None]) -> None:
        hang_check = asyncio.create_task(self._kill_if_hung(worker), name=f"hang-check-{worker.pid}")
        code = await worker.wait()
        hang_check.cancel()
        reaping = asyncio.create_task(reap_group(worker.pid), name=f"reap-{worker.pid}")  # its leftovers
        self._reap_tasks.add(reaping)
        reaping.add_done_callback(self._reap_tasks.discard)
        del self._watch_tasks[worker]
        self._ledger_seen |= worker.has_ledger
        self._metrics.worker_ended(worker.pid, served=worker.serves, asked=worker.end_requested)
        if worker.serves:
            if code > 0 or not worker.end_requested:
                _log.warning("worker_died", slot=worker.slot, pid=worker.pid, ending=describe_exit(code))
            on_end(worker, time.monotonic() - worker.serves_since)

    async def _kill_if_hung(self, worker: WorkerProcess) -> None:
        hang = await worker.until_hung(self._settings.hang_seconds)
        self._metrics.hangs.labels(hang.part).inc()
        _log.error(
            "worker_hung",
            slot=worker.slot,
            pid=worker.pid,
            part=hang.part,
            seconds=round(hang.seconds, 3),
            state=hang.state,
            effect="the worker is killed",
        )
        worker.kill()


class WorkerSlot:
    """Slot for one worker.

    Args:
        number: index of the slot in the server, from 0.
        pool: starts and ends workers.

    Attributes:
        worker: the worker in this slot, while it serves.
    """

    def __init__(self, number: int, pool: WorkerPool) -> None:
        self.number = number
        self._pool = pool
        self.worker: WorkerProcess | None = None
        self._starting = asyncio.Lock()  # one start at a time per slot
        self._vacated = asyncio.Event()
        self._served = 0.0

    async def wait_vacated(self) -> float:
        """Wait until the slot has lost its worker; return the seconds that the worker had served."""
        await self._vacated.wait()
        self._vacated.clear()
        return self._served

    async def fill(self) -> None:
        """Start a worker if the slot is empty; return once it serves.

        Raises:
            StartError: if the worker fails to start.
        """
        async with self._starting:
            if self.worker is None:
                self.worker = _living(await self._pool.start(self.number, self._on_end))

    async def replace(self, *, first: bool) -> None:
        """Replace the current worker, draining it once its successor serves.

        Args:
            first: whether it is the first to be replaced of a round, whose workers are forked from a new fork server.

        Raises:
            StartError: if the successor fails to start; the current worker then stays.
        """
        async with self._starting:
            successor = _living(await self._pool.start(self.number, self._on_end, renew=first))
            worker, self.worker = self.worker, successor
        if worker is not None:  # None if it died during the start of its successor
            await self._pool.retire(worker)

    def _on_end(self, worker: WorkerProcess, served: float) -> None:
        if worker is self.worker:
            self.worker = None
            self._served = served
            self._vacated.set()


def _living(worker: WorkerProcess) -> WorkerProcess:
    """Return a worker that has just begun to serve.

    Raises:
        StartError: if it has ended since. Its end was reported before its slot had it, and is not reported again.
    """
    if worker.ended:
        raise StartError(f"worker {worker.pid} ended as soon as it served")
    return worker


def _kill(workers: Iterable[WorkerProcess], reason: str) -> bool:
    """Kill the workers that are still alive; return whether there were any."""
    living = [worker for worker in workers if not worker.ended]
    if living:
        _log.warning(
            "killing_workers",
            slots=[worker.slot for worker in living],
            pids=[worker.pid for worker in living],
            reason=reason,
        )
    for worker in living:
        worker.kill()
    return bool(living)
