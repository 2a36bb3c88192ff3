"""Starts the workers, replaces those that die, renews all of them on SIGHUP, and drains them. Imports no gRPC.

The first SIGTERM or SIGINT drains, a second one kills. SIGHUP replaces the workers one by one, each when its successor
serves: that one loads the bundles anew from their paths and runs the code that is installed by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

import structlog

from dejavu_server.observability.multiprocess import SupervisorMetrics, supervisor_metrics
from dejavu_server.settings import Address, Settings
from dejavu_server.supervisor.backoff import Backoff
from dejavu_server.supervisor.hangup import ControllingTerminal
from dejavu_server.supervisor.ports import held_port
from dejavu_server.supervisor.slots import WorkerSlot
from dejavu_server.supervisor.worker_pool import WorkerPool
from dejavu_server.supervisor.worker_process import StartError

MAX_FAILED_STARTS = 8
"""How many starts of every worker may fail in a row, while none serves, before the server gives up."""

_log = structlog.get_logger(__name__)


class Supervisor:
    """Runs a server, its workers and its port, until a signal ends it or no worker comes to serve any more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: WorkerPool | None = None
        self._terminal = ControllingTerminal()
        self._stopping = asyncio.Event()
        self._reload_asked = asyncio.Event()
        self._reloading = False
        self._gave_up = False

    async def run(self) -> int:
        """Serves until SIGTERM or SIGINT; returns the exit code: 0 if every worker ended by itself, in time.

        Raises:
            StartError: if the server can't start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_end_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        async with held_port(Address.parse(self._settings.listen)) as address:
            with self._exposition() as figures:
                killed = await self._serve(replace(self._settings, listen=str(address)), figures)
        _log.info("stopped", killed=killed)
        return int(killed or self._gave_up)

    async def _serve(self, settings: Settings, figures: SupervisorMetrics) -> bool:
        """Serves until the server is to stop; says whether a worker had to be killed then."""
        crew = self._pool = WorkerPool(settings, figures)
        slots = [WorkerSlot(number, crew) for number in range(settings.workers)]
        metrics = figures.address and str(figures.address)
        _log.info("starting", address=settings.listen, workers=settings.workers, ledger=settings.ledger)
        try:
            if await self._unless_stopped(*(slot.fill() for slot in slots)):
                _log.info("listening", address=settings.listen, workers=settings.workers, metrics=metrics)
                keeping = (self._keep(slot, crew) for slot in slots)
                await self._unless_stopped(*keeping, self._reload_when_asked(slots, crew, figures))
        finally:
            self._stopping.set()
            await crew.end()
        return crew.killed

    @contextlib.contextmanager
    def _exposition(self) -> Iterator[SupervisorMetrics]:
        listen = self._settings.metrics_listen
        with contextlib.ExitStack() as stack:
            try:
                figures = stack.enter_context(supervisor_metrics(Address.parse(listen) if listen else None))
            except OSError as error:
                raise StartError(f"cannot serve metrics on {listen}: {error.strerror}") from error
            yield figures

    async def _unless_stopped(self, *work: Coroutine[Any, Any, None]) -> bool:
        """Does some work at once; false if the server is to stop before it is done. Leaves nothing of it running.

        Raises:
            Exception: the first that fails some of the work; the rest is then cancelled.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        tasks = [asyncio.create_task(each) for each in work]
        together = asyncio.gather(*tasks)
        either: list[asyncio.Future[Any]] = [stopping, together]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        done = together.done()
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.wait(tasks)
        try:
            await together
        except asyncio.CancelledError:
            return False
        return done

    async def _keep(self, slot: WorkerSlot, crew: WorkerPool) -> None:
        """Has every worker of a slot that dies succeeded by another."""
        backoff = Backoff()
        while True:
            wait = backoff.after(await slot.vacated())
            filled = False
            while not filled:
                await crew.pause(wait)
                try:
                    await slot.fill()
                    filled = True
                except StartError as error:
                    wait = backoff.after(0.0)
                    _log.error("worker_not_started", slot=slot.number, reason=str(error), retry_seconds=wait)
                    self._give_up_if_in_vain(crew, error)
            if not self._reloading:
                _warn_if_models_differ(crew)

    def _give_up_if_in_vain(self, crew: WorkerPool, error: StartError) -> None:
        # As long as one worker serves, a server a worker short is better than none.
        if crew.failed_starts >= MAX_FAILED_STARTS * self._settings.workers and not self._stopping.is_set():
            _log.error("cannot_go_on", reason=str(error), starts_failed=crew.failed_starts)
            self._gave_up = True
            self._stopping.set()

    async def _reload_when_asked(
        self, slots: Sequence[WorkerSlot], crew: WorkerPool, figures: SupervisorMetrics
    ) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()  # asked again from here on, there will be another round
            self._reloading = True
            try:
                await self._reload(slots, crew)
                figures.reloaded("done")
            except StartError:
                figures.reloaded("failed")
            finally:
                self._reloading = False

    async def _reload(self, slots: Sequence[WorkerSlot], crew: WorkerPool) -> None:
        """Renews one slot after the other.

        Raises:
            StartError: if a worker does not come to serve; it and those that come after it are left as they are.
        """
        started = time.monotonic()
        _log.info("reloading", workers=len(slots))
        await crew.forget_code()
        for slot in slots:
            try:
                await slot.renew()
            except StartError as error:
                told = {"slot": slot.number, "renewed": slot.number, "workers": len(slots)}
                _log.error("reload_failed", reason=str(error), **told)
                raise
        models = sorted({version for worker in crew.serving() for version in worker.models})
        _log.info("reloaded", workers=len(slots), seconds=round(time.monotonic() - started, 3), models=models)

    def _on_end_signal(self, number: int) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            _log.info("draining", signal=signal.Signals(number).name, grace_seconds=self._settings.grace_seconds)
        elif self._pool is not None:
            self._pool.kill()

    def _on_hangup(self) -> None:
        if self._terminal.is_closed():
            self._on_end_signal(signal.SIGHUP)
        else:
            self._reload_asked.set()


def _warn_if_models_differ(crew: WorkerPool) -> None:
    """A worker that was started anew loads what lies at the bundles' paths by then."""
    held = {worker.models for worker in crew.serving() if worker.models}
    if len(held) > 1:
        advice = "the bundles were changed: SIGHUP has all workers load them"
        _log.warning("models_differ", models=sorted(held), advice=advice)
