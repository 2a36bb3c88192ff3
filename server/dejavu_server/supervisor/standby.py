"""Standby worker: an extra process that has done its slow imports and waits for its start message.

A worker needs a second of one core before it can load a bundle, and more on a busy machine. The standby saves that time
when it replaces a worker that died.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog

from dejavu_server.supervisor.worker_process import RestartBackoff, StartError, WorkerProcess, describe_exit

_log = structlog.get_logger(__name__)

DELAY_SECONDS = 3.0
"""Time after `enable` until the standby process starts.

Right after workers started, the clients that waited for them connect and call: imports would compete with these calls.
"""


class StandbyWorker:
    """Keeps one spare process running.

    Args:
        environment: environment variables of the processes.
        counts: descriptor of the counts that the workers share; -1: each has its own.
    """

    def __init__(self, environment: Mapping[str, str], counts: int = -1) -> None:
        self._environment = environment
        self._counts = counts
        self._waiting: WorkerProcess | None = None
        self._keep_task: asyncio.Task[None] | None = None

    def enable(self) -> None:
        """Keeps one standby process running, from DELAY_SECONDS on; one that dies is replaced."""
        if self._keep_task is None:
            self._keep_task = asyncio.create_task(self._keep(), name="standby")

    async def take(self) -> WorkerProcess | None:
        """Returns the standby process, if it is alive, and stops replacing it until `enable` is called again."""
        worker = await self._release()
        return None if worker is None or worker.ended else worker

    async def disable(self) -> None:
        """Kills the standby process, if any, and stops replacing it."""
        worker = await self._release()
        if worker is not None:
            worker.kill()
            await worker.wait()

    async def _release(self) -> WorkerProcess | None:
        task, self._keep_task = self._keep_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        worker, self._waiting = self._waiting, None
        return worker

    async def _keep(self) -> None:
        backoff = RestartBackoff()
        await asyncio.sleep(DELAY_SECONDS)
        while True:
            started = time.monotonic()
            try:
                if self._waiting is None or self._waiting.ended:
                    self._waiting = await WorkerProcess.spawn(self._environment, self._counts)
                details: dict[str, str | int] = {
                    "pid": self._waiting.pid,
                    "ending": describe_exit(await self._waiting.wait()),
                }
            except StartError as error:
                details = {"reason": str(error)}
            delay = backoff.after(time.monotonic() - started)
            _log.warning("no_spare", **details, retry_seconds=delay)
            await asyncio.sleep(delay)
