"""A worker as its supervisor sees it: a child process that is told once what to serve, reports once, and then serves,
with a beat every second, until it is told to end.

A plain subprocess rather than a fork: nothing of the supervisor's threads and files gets into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Self

from dejavu_server.settings import Settings
from dejavu_server.supervisor.heartbeat import HEARTBEAT_SECONDS, HeartbeatReader
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus

START_SECONDS = 60.0
"""How long a worker may take to serve once it was told what."""

HUNG_SECONDS = 30.0
"""How long a worker that serves may be silent; far more than a busy machine makes of a second."""


class StartError(Exception):
    """A worker, or the server, can't start; its text is for people."""


class WorkerDiedOnStart(StartError):
    """A worker ended before it reported anything."""


class WorkerProcess:
    """A worker's process; made by `spawn`.

    Attributes:
        slot: which of the server's workers it is; -1 for a spare.
        models: versions of its models, the active one first, once it serves.
        serves: whether it came to serve, …
        serves_since: … and when, by the monotonic clock.
        asked: whether it was asked to end.
    """

    def __init__(self, process: Process, report: int, report_to: int) -> None:
        self._process = process
        self._report = report
        self._report_to = report_to
        self._pipe: asyncio.BaseTransport | None = None
        self._hearing: HeartbeatReader | None = None
        self._reported = WorkerStatus()
        self.slot = -1
        self.models: tuple[str, ...] = ()
        self.serves = False
        self.serves_since = 0.0
        self.asked = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ledger(self) -> bool:
        """Whether it had the ledger open as it came to serve, or since."""
        return self._reported.ledger or (self.serves and self._hearing is not None and self._hearing.has_ledger)

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._process.returncode is not None

    @classmethod
    async def spawn(cls, environment: Mapping[str, str]) -> Self:
        """Starts a process that makes ready and waits for `serve`.

        Raises:
            StartError: if no process can be started.
        """
        with contextlib.ExitStack() as pipe:
            try:
                report, report_to = os.pipe()
                pipe.callback(os.close, report)
                try:
                    process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-P",  # what lies in the working directory is none of its imports
                        "-m",
                        "dejavu_server.worker_main",
                        str(os.getpid()),
                        stdin=PIPE,
                        pass_fds=(report_to,),
                        process_group=0,  # the terminal's Ctrl-C is for the supervisor alone
                        env=environment,
                    )
                finally:
                    os.close(report_to)
            except OSError as error:
                raise StartError(f"cannot start a process: {error.strerror}") from error
            pipe.pop_all()
        return cls(process, report, report_to)

    async def serve(self, slot: int, settings: Settings, *, make_ledger: bool) -> None:
        """Tells it what to serve, and returns once it does.

        Args:
            slot: which of the server's workers it is to be.
            settings: what it is to run by.
            make_ledger: whether it is to make a ledger where there is none.

        Raises:
            EndedUnheard: if it dies before it says anything.
            StartError: if it says that it can't, or takes too long.
        """
        self.slot = slot
        if self._process.stdin is not None:
            order = WorkerStart(settings, slot, self._report_to, make_ledger)
            self._process.stdin.write(f"{order.to_json()}\n".encode())
            self._process.stdin.close()
        pipe, self._report = os.fdopen(self._report, "rb"), -1
        self._pipe, self._hearing = await asyncio.get_running_loop().connect_read_pipe(HeartbeatReader, pipe)
        try:
            self._reported = await self._heard(self._hearing)
        except BaseException:
            self._pipe.close()
            raise
        self.models = self._reported.models
        self.serves, self.serves_since = True, time.monotonic()

    async def _heard(self, hearing: HeartbeatReader) -> WorkerStatus:
        """Its report that it serves.

        Raises:
            StartError: see `serve`.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await hearing.report()
                code = None if line else await self.wait()
        except TimeoutError:
            raise StartError(f"a worker did not serve within {START_SECONDS:g} s") from None
        if code is not None:
            raise WorkerDiedOnStart(f"a worker ended before it served: {ending(code)}")
        report = WorkerStatus.from_json(line)
        if report.refusal:
            raise StartError(report.refusal)
        if self.ended:
            raise StartError(f"a worker ended as it began to serve: {ending(await self.wait())}")
        return report

    async def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        code = await self._process.wait()
        if self._pipe is not None and self._hearing is not None and self._hearing.reported:
            self._pipe.close()  # not sooner: what it reported as it ended is still to be read
        if self._report >= 0:  # a spare that was never told anything
            os.close(self._report)
            self._report = -1
        return code

    async def until_hung(self) -> float:
        """Waits until it has served for HUNG_SECONDS without a beat, and returns for how many seconds it had.

        That is never, where it was asked to end, or is of a release that has no beats.
        """
        silent = 0
        # In turns rather than by the clock, for each has the pipe read before: where this process itself was stopped,
        # with its workers or alone, the time that it slept through is one turn, and no silence of theirs.
        while silent * HEARTBEAT_SECONDS < HUNG_SECONDS:
            if self._hearing is not None:
                self._hearing.last_heartbeat = False
            await asyncio.sleep(HEARTBEAT_SECONDS)
            watched = self._reported.beats and not self.asked
            silent = silent + 1 if watched and self._hearing is not None and not self._hearing.last_heartbeat else 0
        return silent * HEARTBEAT_SECONDS

    def drain(self) -> None:
        """Asks it to finish what it does and end."""
        self.asked = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it may reap a process that has just died, and then nobody learns how it ended.
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
