"""One process more than there are workers, which has loaded what takes long and waits to be told what to serve.

A worker needs a second of one core before it can load a bundle, and more on a busy machine. The successor of one that
died has that second behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog

from dejavu_server.supervisor.backoff import Backoff
from dejavu_server.supervisor.worker_process import StartError, WorkerProcess, ending

_log = structlog.get_logger(__name__)


class StandbyWorker:
    """Keeps one process waiting.

    Args:
        environment: of the processes.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._waiting: WorkerProcess | None = None
        self._keeping: asyncio.Task[None] | None = None

    def want(self) -> None:
        """Has a process wait from now on, if none does; one that dies is replaced."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="spare")

    async def take(self) -> WorkerProcess | None:
        """The process that waits, if one does; there is no spare until one is wanted again."""
        worker = await self._let_go()
        return None if worker is None or worker.ended else worker

    async def fresh(self) -> WorkerProcess:
        """A process that has not waited.

        Raises:
            StartError: if no process can be started.
        """
        return await WorkerProcess.spawn(self._environment)

    async def dismiss(self) -> None:
        """Ends the spare, if there is one."""
        worker = await self._let_go()
        if worker is not None:
            worker.kill()
            await worker.wait()

    async def _let_go(self) -> WorkerProcess | None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        worker, self._waiting = self._waiting, None
        return worker

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            started = time.monotonic()
            try:
                if self._waiting is None or self._waiting.ended:
                    self._waiting = await WorkerProcess.spawn(self._environment)
                told: dict[str, str | int] = {"pid": self._waiting.pid, "ending": ending(await self._waiting.wait())}
            except StartError as error:
                told = {"reason": str(error)}
            wait = backoff.after(time.monotonic() - started)
            _log.warning("no_spare", **told, retry_seconds=wait)
            await asyncio.sleep(wait)
