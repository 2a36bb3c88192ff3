"""All processes of a server that serve, come to serve or end: started, watched, counted, drained, killed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable

import structlog

from dejavu_server.observability.multiprocess import FOLDER_VARIABLE, SupervisorMetrics
from dejavu_server.settings import Settings
from dejavu_server.supervisor.standby import StandbyWorker
from dejavu_server.supervisor.worker_process import StartError, WorkerDiedOnStart, WorkerProcess, ending

KILL_AFTER_SECONDS = 5.0
"""How long after the grace time a draining worker may still live."""

LONGEST_OUTAGE_SECONDS = 1.0
"""How long a server without any worker waits, at the most, before it tries to start one again."""

_LOOK_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class WorkerPool:
    """The workers of a server, in whatever slot.

    Attributes:
        killed: whether workers had to be killed at the server's end.
        in_vain: how many starts in a row have failed while no worker served.

    Args:
        settings: what all of them run by.
        figures: where they are counted.
    """

    def __init__(self, settings: Settings, figures: SupervisorMetrics) -> None:
        self._settings = settings
        self._figures = figures
        self._standby = StandbyWorker(_environment(figures))
        self._turns = asyncio.Semaphore(_starts_at_once())
        self._watches = dict[WorkerProcess, asyncio.Task[None]]()
        self.killed = False
        self.failed_starts = 0
        self._ledger_seen = False

    async def start(self, slot: int, on_end: Callable[[WorkerProcess, float], None]) -> WorkerProcess:
        """Starts a worker, as soon as there is a core for it; returns it once it serves.

        Args:
            slot: which of the server's workers it is to be.
            on_end: called when it has ended, with how many seconds it had served.

        Raises:
            StartError: if it does not come to serve.
        """
        try:
            async with self._turns:
                worker = await self._start(slot, on_end)
        except StartError:
            self._figures.start_failed()
            self.failed_starts = 0 if self.serving() else self.failed_starts + 1
            raise
        finally:
            if not self._turns.locked():
                self._standby.want()  # only now: it would compete with those that start
        self.failed_starts = 0
        self._figures.worker_serves()
        return worker

    async def _start(self, slot: int, on_end: Callable[[WorkerProcess, float], None]) -> WorkerProcess:
        spare = await self._standby.take()
        if spare is not None:
            try:
                return await self._serve(spare, slot, on_end)
            except WorkerDiedOnStart as error:  # it may have been dead already, and nobody had noticed
                _log.warning("no_spare", pid=spare.pid, reason=str(error), retry_seconds=0.0)
        return await self._serve(await self._standby.fresh(), slot, on_end)

    async def _serve(
        self, worker: WorkerProcess, slot: int, on_end: Callable[[WorkerProcess, float], None]
    ) -> WorkerProcess:
        self._watches[worker] = asyncio.create_task(self._watch(worker, on_end), name=f"watch-{worker.pid}")
        # Where a ledger was, and is no more, a new one would have the record go on in two places.
        self._ledger_seen |= any(other.has_ledger for other in self._watches)
        try:
            await worker.serve(slot, self._settings, make_ledger=not self._ledger_seen)
        except StartError:
            worker.kill()  # no more than a precaution, unless it took too long
            raise
        return worker

    def serving(self) -> list[WorkerProcess]:
        """The workers that serve and were not asked to end."""
        return [worker for worker in self._watches if worker.serves and not worker.asked and not worker.ended]

    async def pause(self, seconds: float) -> None:
        """Waits before a start is tried again; a second at most while no worker serves, for any is better than none."""
        now = time.monotonic()
        least, most = now + min(seconds, LONGEST_OUTAGE_SECONDS), now + seconds
        while (now := time.monotonic()) < (most if self.serving() else least):  # noqa: ASYNC110 - no one event ends it
            await asyncio.sleep(min(_LOOK_SECONDS, most - now))

    async def forget_code(self) -> None:
        """Has workers to come load the code that is installed now: a spare has loaded it already, when it was older."""
        await self._standby.dismiss()

    async def retire(self, worker: WorkerProcess) -> None:
        """Drains one worker; returns when it has ended."""
        worker.drain()
        await self._ended([worker])

    async def end(self) -> None:
        """Drains all workers; returns when they have ended."""
        await self._standby.dismiss()
        workers = list(self._watches)
        for worker in workers:
            worker.drain()
        if not await self._ended(workers):  # meanwhile `kill` may have been called
            self.killed = True

    def kill(self) -> None:
        """Ends all workers at once."""
        self.killed |= _kill(self._watches, "a second signal")

    async def _ended(self, workers: list[WorkerProcess]) -> bool:
        """Waits for drained workers; false if some outlived the grace time, and a little more, and were killed."""
        watches = [self._watches[worker] for worker in workers if worker in self._watches]
        if not watches:
            return True
        _, late = await asyncio.wait(watches, timeout=self._settings.grace_seconds + KILL_AFTER_SECONDS)
        if late:
            _kill(workers, "the grace time is over")
            await asyncio.wait(late)
        return not late

    async def _watch(self, worker: WorkerProcess, on_end: Callable[[WorkerProcess, float], None]) -> None:
        hanging = asyncio.create_task(_kill_if_hung(worker), name=f"hanging-{worker.pid}")
        code = await worker.wait()
        hanging.cancel()
        del self._watches[worker]
        self._ledger_seen |= worker.has_ledger
        self._figures.worker_ended(worker.pid, served=worker.serves, asked=worker.asked)
        if worker.serves:
            if code > 0 or not worker.asked:
                _log.warning("worker_died", slot=worker.slot, pid=worker.pid, ending=ending(code))
            on_end(worker, time.monotonic() - worker.serves_since)


async def _kill_if_hung(worker: WorkerProcess) -> None:
    seconds = await worker.until_hung()
    _log.error("worker_hung", slot=worker.slot, pid=worker.pid, seconds=seconds, effect="it is killed")
    worker.kill()


def _kill(workers: Iterable[WorkerProcess], reason: str) -> bool:
    """Kills those of the workers that live; says whether there were any."""
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


def _starts_at_once() -> int:
    """How many workers may start at once: a start keeps a core busy, and those in excess would only be later, together.

    Two at least, so that one that hangs is in nobody's way.
    """
    return max(2, len(os.sched_getaffinity(0)))


def _environment(figures: SupervisorMetrics) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
    if figures.folder is not None:
        environment[FOLDER_VARIABLE] = str(figures.folder)
    return environment
