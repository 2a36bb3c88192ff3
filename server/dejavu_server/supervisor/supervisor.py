"""Starts the workers, replaces those that die, restarts them one by one on SIGHUP, and drains them. Imports no gRPC.

The first SIGTERM or SIGINT drains, a second one kills. SIGHUP replaces the workers one by one: each is drained once its
successor serves. The successor reloads the bundles from their paths and runs the code installed at that time.

SIGHUP also signals that the controlling terminal was closed. A server in the foreground ends with its terminal; it
would otherwise keep running unseen and hold its port. A server under nohup keeps running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any

import structlog

from dejavu_common.address import Address
from dejavu_common.processes import raise_file_limit
from dejavu_server.observability.multiprocess import SupervisorMetrics, server_folder
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.observability.statistics import SAMPLE_SECONDS, Statistics, StatisticsWriter, WorkerStatistics
from dejavu_server.observability.worker_usage import ServingWorker
from dejavu_server.settings import Settings
from dejavu_server.supervisor.fork_server_process import ForkServerProcess
from dejavu_server.supervisor.ports import reserved_port
from dejavu_server.supervisor.recycling import Recycler
from dejavu_server.supervisor.restart_backoff import RestartBackoff
from dejavu_server.supervisor.worker_pool import WorkerPool, WorkerSlot
from dejavu_server.supervisor.worker_process import StartError

MAX_FAILED_STARTS = 8
"""Number of consecutive failed starts, per worker of the server, after which a server without a serving worker gives
up."""

FEW_DESCRIPTORS = 4096
"""Limit of open files below which the start logs a warning: a worker needs one per client connection, and some
files."""

_log = structlog.get_logger(__name__)


class Supervisor:
    """Runs a server with its workers and port until a signal ends it or no worker can be started any more.

    Args:
        settings: settings of the server.
        launched: process of the fork server, if that was started already.
    """

    def __init__(self, settings: Settings, launched: ForkServerProcess | None = None) -> None:
        self._settings = settings
        self._launched = launched
        self._pool: WorkerPool | None = None
        # Checked before `run` installs its handler; under nohup the signal is ignored.
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and _has_terminal()
        self._stopping = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self._reloading = False
        self._replacing = asyncio.Lock()  # one slot at a time, so that only one worker drains
        self._gave_up = False

    async def run(self) -> int:
        """Serve until a signal or the end of the terminal, or until no worker can be started.

        Returns:
            The exit code: 0 if every worker drained in time; 1 if workers were killed or the server gave up.

        Raises:
            StartError: if the server cannot start.
        """
        if (files := raise_file_limit()) < FEW_DESCRIPTORS:
            _log.warning(
                "few_descriptors",
                limit=files,
                effect="new connections are refused when a worker runs out of them",
                advice=f"raise the hard limit of open files (ulimit -Hn, LimitNOFILE of systemd) to {FEW_DESCRIPTORS}",
            )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_end_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        async with reserved_port(Address.parse(self._settings.listen)) as address:
            settings = self._settings.model_copy(update={"listen": str(address)})
            with self._metrics() as server_metrics:
                killed = await self._serve(settings, server_metrics)
        _log.info("stopped", killed=killed)
        return int(killed or self._gave_up)

    async def _serve(self, settings: Settings, server_metrics: SupervisorMetrics) -> bool:
        """Serve until the server is stopped; return whether a worker had to be killed."""
        pool = self._pool = WorkerPool(settings, server_metrics)
        slots = [WorkerSlot(number, pool) for number in range(settings.workers)]
        server_metrics.watch(lambda: _serving_workers(slots))
        metrics = server_metrics.address and str(server_metrics.address)
        _log.info("starting", address=settings.listen, workers=settings.workers, ledger=settings.ledger)
        statistics = Statistics(server_metrics.registry, secrets.token_hex(8), lambda: _worker_statistics(slots))
        writer = StatisticsWriter(server_metrics.folder, statistics)
        await writer.write()  # before a worker serves: without statistics, it would answer with its own counts
        sampling = PeriodicTask("statistics", SAMPLE_SECONDS, writer.write)
        sampling.start()
        try:
            pool.enable_fork_server(self._launched)
            if await self._unless_stopped(*(slot.fill() for slot in slots)):
                await pool.release_fork_server()
                _log.info("listening", address=settings.listen, workers=settings.workers, metrics=metrics)
                replacing = (self._keep(slot, pool) for slot in slots)
                recycler = Recycler(slots, settings.max_rss, server_metrics, self._replacing)
                reloading = self._reload_on_request(slots, pool, server_metrics)
                await self._unless_stopped(*replacing, reloading, recycler.run())
        finally:
            self._stopping.set()
            await pool.end()
            await sampling.close()
        return pool.killed

    @contextlib.contextmanager
    def _metrics(self) -> Iterator[SupervisorMetrics]:
        listen = self._settings.metrics_listen
        with contextlib.ExitStack() as stack:
            try:
                metrics = SupervisorMetrics(stack.enter_context(server_folder()))
            except OSError as error:
                raise StartError(
                    f"cannot create a folder for metrics: {error}; set TMPDIR to a folder that can be written"
                ) from error
            try:
                if listen:
                    stack.enter_context(metrics.served(Address.parse(listen)))
            except OSError as error:
                raise StartError(f"cannot serve metrics on {listen}: {error.strerror}") from error
            yield metrics

    async def _unless_stopped(self, *work: Coroutine[Any, Any, None]) -> bool:
        """Run coroutines concurrently until they finish or the server stops, then cancel the rest.

        Returns:
            Whether the coroutines finished; False if the server was stopped first.

        Raises:
            Exception: the first exception of a coroutine; the others are then cancelled.
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

    async def _keep(self, slot: WorkerSlot, pool: WorkerPool) -> None:
        """Replace every worker of a slot that dies."""
        backoff = RestartBackoff()
        while True:
            delay = backoff.after(await slot.wait_vacated())
            filled = False
            while not filled:
                await pool.pause(delay)
                try:
                    await slot.fill()
                    filled = True
                except StartError as error:
                    delay = backoff.after(0.0)
                    pause = pool.next_pause(delay)
                    _log.error("worker_not_started", slot=slot.number, reason=str(error), retry_seconds=pause)
                    self._give_up_if_none_starts(pool, error)
            if not self._reloading:
                _warn_if_models_differ(pool)

    def _give_up_if_none_starts(self, pool: WorkerPool, error: StartError) -> None:
        # `failed_starts` is 0 while a worker serves: a server with one worker too few is better than none.
        if pool.failed_starts >= MAX_FAILED_STARTS * self._settings.workers and not self._stopping.is_set():
            _log.error("cannot_go_on", reason=str(error), starts_failed=pool.failed_starts)
            self._gave_up = True
            self._stopping.set()

    async def _reload_on_request(
        self, slots: Sequence[WorkerSlot], pool: WorkerPool, server_metrics: SupervisorMetrics
    ) -> None:
        """Replace the workers one slot at a time, whenever that was requested.

        If a replacement fails to start, the workers of its slot and of the later slots are kept.
        """
        while True:
            await self._reload_requested.wait()
            self._reload_requested.clear()  # a SIGHUP from here on triggers another round
            self._reloading = True
            started, renewed = time.monotonic(), 0
            _log.info("reloading", workers=len(slots))
            try:
                for renewed, slot in enumerate(slots):
                    async with self._replacing:
                        await slot.replace(first=not renewed)
            except StartError as error:
                server_metrics.reloads.labels("failed").inc()
                server_metrics.last_reload.set(1)
                effect = "the old workers serve; one that dies may not be replaced"
                _log.error("reload_failed", reason=str(error), renewed=renewed, workers=len(slots), effect=effect)
            else:
                server_metrics.reloads.labels("done").inc()
                server_metrics.last_reload.set(0)
                models = sorted({version for worker in pool.serving() for version in worker.models})
                _log.info("reloaded", workers=len(slots), seconds=round(time.monotonic() - started, 3), models=models)
            finally:
                self._reloading = False
                await pool.release_fork_server()

    def _on_end_signal(self, number: int) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            _log.info("draining", signal=signal.Signals(number).name, grace_seconds=self._settings.grace_seconds)
        elif self._pool is not None:
            self._pool.kill()

    def _on_hangup(self) -> None:
        if self._ends_with_terminal and not _has_terminal():
            self._on_end_signal(signal.SIGHUP)
        else:
            self._reload_requested.set()


def _serving_workers(slots: Iterable[WorkerSlot]) -> list[ServingWorker]:
    now = time.monotonic()
    return [
        ServingWorker(worker.slot, worker.pid, worker.beat_age, now - worker.serves_since, worker.versions)
        for slot in slots
        if (worker := slot.worker) is not None
    ]


def _worker_statistics(slots: Iterable[WorkerSlot]) -> list[WorkerStatistics]:
    return [
        WorkerStatistics.of(f"{slot}-{pid}", pid, time.time() - served, versions)
        for slot, pid, _, served, versions in _serving_workers(slots)
    ]


def _warn_if_models_differ(pool: WorkerPool) -> None:
    """Warn if workers serve different models: a restarted worker loads the bundles now at the paths."""
    loaded = {worker.models for worker in pool.serving() if worker.models}
    if len(loaded) > 1:
        advice = "the bundles have changed: send SIGHUP to make all workers load them"
        _log.warning("models_differ", models=sorted(loaded), advice=advice)


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
