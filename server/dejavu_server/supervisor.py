"""Starts the workers, watches them, restarts one that dies, and drains them. Imports no gRPC.

The port: a probe finds out whether somebody listens already, which SO_REUSEPORT alone would hide; then a socket that is
bound but never listens holds the port, so that it stays this server's between two workers' lives.

The first signal (SIGTERM or SIGINT) drains, a second one kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import structlog

from dejavu_server.exposition import FOLDER_VARIABLE, Exposition, exposition
from dejavu_server.processes import StartError, WorkerProcess, ending
from dejavu_server.settings import Address, Settings

STEADY_SECONDS = 30.0
"""A worker that lived this long is restarted at once; one that dies sooner waits longer each time."""

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0

KILL_AFTER_SECONDS = 5.0
"""How long after the grace time a draining worker may still live."""

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def held_port(address: Address) -> Iterator[Address]:
    """Holds a port for workers to share; yields the address that they are to listen on, with a numeric host.

    Raises:
        StartError: if the host can't be resolved, or the port is in use or can't be bound.
    """
    try:
        family, kind, protocol, _, numeric = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"{address.host}: {error.strerror}") from error
    with contextlib.ExitStack() as stack:
        try:
            holder = stack.enter_context(socket.socket(family, kind, protocol))
            if address.port:
                # Without SO_REUSEPORT this fails where anybody listens, our own kind included. SO_REUSEADDR lets
                # connections of a server that is gone be: they are no hindrance.
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(numeric)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(numeric)
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {error.strerror}") from error
        host, port = holder.getsockname()[:2]
        yield Address(host, port)


class Backoff:
    """How long to wait before a worker is started again: not at all, unless it keeps dying young."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait, given how many seconds the worker lived."""
        if lived >= STEADY_SECONDS:
            self._next = 0.0
        wait = self._next
        self._next = min(max(2 * wait, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
        return wait


class Supervisor:
    """Runs a server, its workers and its port, until a signal ends it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers = set[WorkerProcess]()
        self._stopping = asyncio.Event()
        self._killed = False

    async def run(self) -> int:
        """Serves until SIGTERM or SIGINT; returns the exit code: 0 if every worker ended by itself, in time.

        Raises:
            StartError: if the server can't start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        with held_port(Address.parse(self._settings.listen)) as address, self._exposition() as figures:
            settings = replace(self._settings, listen=str(address))
            _log.info("starting", address=settings.listen, workers=settings.workers, ledger=settings.ledger)
            reports = [asyncio.Future[None]() for _ in range(settings.workers)]
            keepers = [
                asyncio.create_task(self._keep(slot, settings, figures, report), name=f"worker-{slot}")
                for slot, report in enumerate(reports)
            ]
            for keeper in keepers:
                # One that ends has failed, unless the server is stopping anyhow: it must not go on a worker short.
                keeper.add_done_callback(lambda _: self._stopping.set())
            try:
                if await self._all_serve(reports):
                    _log.info(
                        "listening",
                        address=str(address),
                        workers=settings.workers,
                        metrics=figures.address and str(figures.address),
                    )
                    await self._stopping.wait()
            finally:
                await self._drain(keepers)
        _log.info("stopped", killed=self._killed)
        return int(self._killed)

    @contextlib.contextmanager
    def _exposition(self) -> Iterator[Exposition]:
        listen = self._settings.metrics_listen
        with contextlib.ExitStack() as stack:
            try:
                figures = stack.enter_context(exposition(Address.parse(listen) if listen else None))
            except OSError as error:
                raise StartError(f"cannot serve metrics on {listen}: {error.strerror}") from error
            yield figures

    async def _all_serve(self, reports: list[asyncio.Future[None]]) -> bool:
        """Waits until every worker serves; false if the server is stopped before that.

        Raises:
            StartError: if one can't; the others would fare no better.
        """
        serving = asyncio.gather(*reports)
        stopping = asyncio.ensure_future(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [serving, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            return False
        await serving
        return True

    async def _keep(self, slot: int, settings: Settings, figures: Exposition, report: asyncio.Future[None]) -> None:
        """Keeps a slot filled with a worker; reports the first one's start, and gives up if that fails."""
        backoff = Backoff()
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                await self._run_worker(slot, settings, figures, report)
            except StartError as error:
                if self._stopping.is_set():
                    return
                if not report.done():
                    report.set_exception(error)
                    return
                _log.error("worker_not_started", slot=slot, error=str(error))
            wait = backoff.after(time.monotonic() - started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _run_worker(
        self, slot: int, settings: Settings, figures: Exposition, report: asyncio.Future[None]
    ) -> None:
        """One worker's life."""
        worker = await WorkerProcess.start(slot, settings, _environment(figures))
        self._workers.add(worker)
        try:
            if self._stopping.is_set():
                worker.drain()
            await worker.serving()
            figures.worker_serves()
            if not report.done():
                report.set_result(None)
            code = await worker.wait()
            asked = self._stopping.is_set()
            figures.worker_died(worker.pid, asked=asked)
            if not asked or code > 0:
                _log.warning("worker_died", slot=slot, pid=worker.pid, ending=ending(code))
        finally:
            worker.kill()  # no more than a precaution where it has ended
            await worker.wait()
            self._workers.discard(worker)

    async def _drain(self, keepers: list[asyncio.Task[None]]) -> None:
        """Ends all workers: those that run calls get the grace time, and a little more for the rest of their end."""
        self._stopping.set()
        for worker in self._workers:
            worker.drain()
        _, late = await asyncio.wait(keepers, timeout=self._settings.grace_seconds + KILL_AFTER_SECONDS)
        if late:
            self._kill()
        await asyncio.gather(*keepers)

    def _on_signal(self, number: int) -> None:
        if self._stopping.is_set():
            self._kill()
        else:
            _log.info("draining", signal=signal.Signals(number).name, grace_seconds=self._settings.grace_seconds)
            self._stopping.set()

    def _kill(self) -> None:
        _log.warning("killing_workers", workers=len(self._workers))
        self._killed = True
        for worker in self._workers:
            worker.kill()


def _environment(figures: Exposition) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
    if figures.folder is not None:
        environment[FOLDER_VARIABLE] = str(figures.folder)
    return environment
