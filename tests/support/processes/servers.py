"""Real servers for tests: a worker in the test's own process, or `dejavu-server` as a separate process.

async with async_worker(tmp_path) as worker: …       # in the test's loop; for grpc.aio and AsyncDejavuClient
async with worker_and_channel(tmp_path) as (worker, channel): …     # the same, with a connection
with running_worker(tmp_path) as address: …          # in a loop and thread of its own; for synchronous clients
with spawned_server("--workers", "2", "--ledger", …) as server: …   # server.address, server.process, server.wait_for
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from tests.support.builders.empty_ledger import put_empty_ledger
from tests.support.builders.made_once import FOLDER_VARIABLE
from tests.support.builders.shipped import shipped_bundle
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes import preloaded
from tests.support.processes.postgres import ledger_url, on_postgres

from dejavu_models.forecaster import Forecaster
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.settings import Settings
from dejavu_server.worker.worker import Worker


def settings_in(folder: Path, **changes: Any) -> Settings:
    """Return settings of a server on a free port of 127.0.0.1, with its ledger in a folder."""
    defaults: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "ledger": ledger_url(folder),
        "workers": 1,
        "grace_seconds": 5.0,
    }
    return Settings(**{**defaults, **changes})


def new_worker(folder: Path, *forecasters: Forecaster, shipped: bool = False, **changes: Any) -> Worker:
    """Create a worker without starting it, with hand-written models or, if `shipped`, with the default bundle."""
    registry = None if shipped else ServingModels(forecasters or [PersistenceForecaster()])
    if shipped and not changes.keys() & {"bundles", "model_store"}:
        registry = ServingModels([copy.copy(shipped_bundle())])  # settings are applied to the copy
    settings = settings_in(folder, **changes)
    if "ledger" not in changes:
        put_missing_ledger(settings.ledger)
    return Worker(settings, registry=registry)


def put_missing_ledger(url: str) -> None:
    """Put an empty ledger where there is none, if the URL is of a file: creating one takes longer than most tests."""
    if on_postgres():
        return
    ledger = Path(url.removeprefix("sqlite:///"))
    if FOLDER_VARIABLE in os.environ and ledger.parent.is_dir() and not ledger.exists():
        put_empty_ledger(ledger)


@asynccontextmanager
async def async_worker(
    folder: Path, *forecasters: Forecaster, shipped: bool = False, **changes: Any
) -> AsyncIterator[Worker]:
    """Run a real worker in the test's loop."""
    async with new_worker(folder, *forecasters, shipped=shipped, **changes) as worker:
        yield worker


@asynccontextmanager
async def worker_and_channel(
    folder: Path, *forecasters: Forecaster, **changes: Any
) -> AsyncIterator[tuple[Worker, grpc.aio.Channel]]:
    """Run a real worker in the test's loop, with a connection to it."""
    async with (
        async_worker(folder, *forecasters, **changes) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        yield worker, channel


@contextmanager
def running_worker(folder: Path, *forecasters: Forecaster, shipped: bool = False, **changes: Any) -> Iterator[str]:
    """Run a real worker in its own thread; yield its HOST:PORT."""
    stop, started = asyncio.Event(), Future[tuple[asyncio.AbstractEventLoop, str]]()

    async def serve() -> None:
        async with async_worker(folder, *forecasters, shipped=shipped, **changes) as worker:
            started.set_result((asyncio.get_running_loop(), worker.address))
            await stop.wait()

    with ThreadPoolExecutor(1, "worker") as thread:
        served = thread.submit(asyncio.run, serve())
        either: list[Future[Any]] = [served, started]
        wait(either, 60, FIRST_COMPLETED)
        if served.done():
            served.result()  # raises why it did not start
        loop, address = started.result(0)
        try:
            yield address
        finally:
            loop.call_soon_threadsafe(stop.set)
            served.result(60)


class SpawnedServer:
    """A `dejavu-server` process, with a reader of its log.

    Attributes:
        process: the supervisor.
        events: the log entries read so far.
    """

    def __init__(self, process: subprocess.Popen[str] | preloaded.Child) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.other_lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="server-log", daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        """HOST:PORT of the listening event."""
        return str(self.wait_for("listening")["address"])

    @property
    def troubles(self) -> list[dict[str, Any]]:
        """The warnings and errors so far, except the one about the shipped bundle's outdated ratings."""
        return [
            entry
            for entry in self.events
            if entry["level"] in {"warning", "error"} and entry["event"] != "ratings_outdated"
        ]

    @property
    def workers(self) -> list[psutil.Process]:
        """The living workers that serve. The supervisor has one more child, the fork server."""
        with self._more:
            pids = [int(entry["worker"].partition("-")[2]) for entry in self.events if entry.get("event") == "serving"]
        children = {child.pid: child for child in psutil.Process(self.process.pid).children()}
        return [children[pid] for pid in pids if pid in children]

    def wait_for(
        self, event: str, where: Callable[[dict[str, Any]], bool] = lambda _: True, *, seconds: float = 60.0
    ) -> dict[str, Any]:
        """Wait for the first log entry with that name for which `where` is true; return it.

        Raises:
            AssertionError: if there is none in time; the message contains the log.
        """

        def found() -> dict[str, Any] | None:
            return next((entry for entry in self.events if entry.get("event") == event and where(entry)), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or self._ended, seconds)
            entry = found()
        if entry is None:
            raise AssertionError(f"no {event!r} in the log:\n{self.log()}")
        return entry

    def log(self) -> str:
        """Return the log read so far."""
        return "\n".join([*map(json.dumps, self.events), *self.other_lines])

    def stop(self, sent: signal.Signals = signal.SIGTERM, *, seconds: float = 30.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(sent)
        return self.exit_code(seconds=seconds)

    def exit_code(self, *, seconds: float = 30.0) -> int:
        """Wait for the end of the process, read the rest of the log and return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """Drain the server if it still runs; kill it if that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            with self._more:
                if isinstance(entry, dict):
                    self.events.append(entry)
                else:
                    self.other_lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


@contextmanager
def spawned(
    module: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    within: Sequence[str] = (),
    *,
    new_interpreter: bool = False,
) -> Iterator[SpawnedServer]:
    """Run `python -m MODULE ARGUMENTS`, preloaded by day; drain it at the end, and kill it if that takes too long."""
    if new_interpreter or within or not preloaded.enabled():
        process: subprocess.Popen[str] | preloaded.Child = subprocess.Popen(
            [*within, sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",  # gRPC's own log lines may contain bytes of callers
            env=environment,
        )
    else:
        process = preloaded.Child(module, arguments, environment)
    server = SpawnedServer(process)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def spawned_server(
    *args: str,
    environment: dict[str, str] | None = None,
    within: Sequence[str] = (),
    makes_ledger: bool = False,
    standby: bool = False,
    new_interpreter: bool = False,
) -> Iterator[SpawnedServer]:
    """Start `dejavu-server` with these arguments and a JSON log; on a free port unless they include --listen.

    Does not wait until it listens: `server.address` does. Drains it at the end; kills it if that takes too long.
    By day, the server and its workers are forks of a preloaded interpreter.

    Args:
        args: arguments of the server.
        environment: environment variables beside those of this process.
        within: command that executes the server in a new interpreter, for example `setpriv`.
        makes_ledger: whether the server creates its ledger, which takes longer; else it finds an empty one.
        standby: whether it keeps a fork server.
        new_interpreter: whether not to fork it: for tests that depend on imports, on the code on disk or on the memory
            of a process.
    """
    if not makes_ledger and "--ledger" in args:
        put_missing_ledger(args[args.index("--ledger") + 1])
    listen = () if "--listen" in args else ("--listen", "127.0.0.1:0")
    arguments = [*listen, "--log-format", "json", *args]
    variables = {**os.environ, "DEJAVU_STANDBY": "on" if standby else "off", **(environment or {})}
    with spawned("dejavu_server", arguments, variables, within, new_interpreter=new_interpreter) as server:
        yield server
