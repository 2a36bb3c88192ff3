"""Worker as its supervisor sees it: a child process that gets one start message, reports its status once, then serves.

It sends a heartbeat every second until it is asked to end. It is a fork of the fork server, or a new interpreter, but
never a fork of the supervisor, whose threads and files it must not inherit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from dejavu_common.activity import ThreadUsage, own_seconds
from dejavu_common.processes import resident_mebibytes
from dejavu_server.settings import Settings
from dejavu_server.supervisor.child_process import Launched, launch
from dejavu_server.supervisor.heartbeat import HEARTBEAT_SECONDS, LOOP, HeartbeatReader
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus

START_SECONDS = 60.0
"""Time limit from a worker's start message until it serves."""


class StartError(Exception):
    """A worker or the server cannot start; the message is shown to users."""


class WorkerDiedOnStart(StartError):
    """A worker ended before it reported its status."""


class Hang(NamedTuple):
    """Why a worker counts as hung.

    Attributes:
        part: the part that makes no progress: LOOP, or as the worker named it.
        seconds: minimum time without progress, in seconds.
        state: state of its main thread as reported by the kernel (R, S, D, T); empty if unknown.
    """

    part: str
    seconds: float
    state: str


class WorkerProcess:
    """A worker's process, which waits for its start message.

    Attributes:
        slot: index of the worker in the server; -1 before its start message.
        models: versions of its models, the active one first, once it serves.
        versions: versions of dejavu-forecast, its revision, grpcio and Python, by name, once it serves.
        serves: whether it started to serve.
        serves_since: when it started to serve, by the monotonic clock.
        first_mebibytes: its resident memory when it started to serve.
        end_requested: whether it was asked to end.
    """

    def __init__(self, launched: Launched) -> None:
        self._launched = launched
        self._process = launched.process
        self._pipe: asyncio.BaseTransport | None = None
        self._reader: HeartbeatReader | None = None
        self._status = WorkerStatus()
        self.slot = -1
        self.models: tuple[str, ...] = ()
        self.versions: dict[str, str] = {}
        self.serves = False
        self.serves_since = 0.0
        self.first_mebibytes = 0.0
        self.end_requested = False

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def has_ledger(self) -> bool:
        """Whether it has had the ledger open at its start or later."""
        return self._status.ledger or (self.serves and self._reader is not None and self._reader.has_ledger)

    @property
    def beat_age(self) -> float:
        """Seconds since its last heartbeat; 0 before it serves."""
        return 0.0 if self._reader is None else time.monotonic() - self._reader.heard_at

    @property
    def ended(self) -> bool:
        """Whether the process is known to have ended."""
        return self._process.returncode is not None

    @classmethod
    async def spawn(cls, environment: Mapping[str, str]) -> Self:
        """Start a new interpreter that does its imports and wait for `serve`.

        Args:
            environment: its environment variables.

        Raises:
            StartError: if no process can be started.
        """
        try:
            return cls(await launch(environment))
        except OSError as error:
            raise StartError(f"cannot start a process: {error.strerror}") from error

    async def serve(self, slot: int, settings: Settings, folder: Path, *, make_ledger: bool) -> None:
        """Send the start message and return once the worker serves.

        Args:
            slot: index of the worker in the server.
            settings: settings of the server.
            folder: folder of the server.
            make_ledger: whether to create a ledger if none exists.

        Raises:
            WorkerDiedOnStart: if it dies before it reports its status.
            StartError: if it reports a failure or takes too long.
        """
        self.slot = slot
        start = WorkerStart(
            settings=settings,
            slot=slot,
            report_fd=self._launched.report_to,
            make_ledger=make_ledger,
            folder=str(folder),
        )
        loop = asyncio.get_running_loop()
        stdin, self._launched.start = os.fdopen(self._launched.start, "wb", 0), -1
        writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, stdin)
        writing.write(f"{start.to_json()}\n".encode())
        writing.close()  # once all is written
        pipe, self._launched.report = os.fdopen(self._launched.report, "rb"), -1
        self._pipe, self._reader = await loop.connect_read_pipe(HeartbeatReader, pipe)
        try:
            self._status = await self._read_status(self._reader)
        except BaseException:
            self._pipe.close()
            raise
        self.models, self.versions = self._status.models, self._status.versions
        self.serves, self.serves_since = True, time.monotonic()
        self.first_mebibytes = resident_mebibytes(self.pid)

    async def _read_status(self, reader: HeartbeatReader) -> WorkerStatus:
        """Return the status of a worker that serves.

        Raises:
            StartError: see `serve`.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await reader.report()
                code = None if line else await self.wait()
        except TimeoutError:
            raise StartError(f"a worker did not serve within {START_SECONDS:g} s") from None
        if code is not None:
            raise WorkerDiedOnStart(f"a worker ended before it served: {describe_exit(code)}")
        report = WorkerStatus.from_json(line)
        if report.refusal:
            raise StartError(report.refusal)
        if self.ended:
            raise StartError(f"a worker ended as it started to serve: {describe_exit(await self.wait())}")
        return report

    async def wait(self) -> int:
        """Wait until the process ends; return the exit code, negative for a signal."""
        code = await self._process.wait()
        if self._pipe is not None and self._reader is not None and self._reader.reported:
            self._pipe.close()  # not before: a status written just before the end must still be read
        self._launched.close()  # if it never got a start message
        return code

    async def until_hung(self, hang_seconds: float) -> Hang:
        """Wait until the worker reports a hung part, or has sent no heartbeat for `hang_seconds`; return the hung part.

        Never returns once the worker was asked to end. Heartbeats count once it serves.

        Args:
            hang_seconds: seconds without a heartbeat after which it counts as hung. Time in which its main thread
                waited for a core does not count.
        """
        silent = 0.0
        usage = ThreadUsage.of(self.pid, self.pid)
        # Count intervals rather than clock time: the pipe is read in each one. If the supervisor itself was stopped,
        # with or without its workers, that time counts as one interval and not as missing heartbeats.
        while silent < hang_seconds:
            if self._reader is not None:
                self._reader.received = False
            await asyncio.sleep(HEARTBEAT_SECONDS)
            before, usage = usage, ThreadUsage.of(self.pid, self.pid)
            reader = self._reader if self.serves and not self.end_requested else None
            if reader is not None and reader.hung_part:
                return Hang(reader.hung_part, hang_seconds, usage.state if usage else "")
            silent = (
                0.0 if reader is None or reader.received else silent + own_seconds(before, usage, HEARTBEAT_SECONDS)
            )
        return Hang(LOOP, silent, usage.state if usage else "")

    def drain(self) -> None:
        """Ask the worker to finish its calls and end."""
        self.end_requested = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the worker at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it may reap a process that has just died, and its exit code would be lost.
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def describe_exit(code: int) -> str:
    """Describe the end of a process."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
