"""A worker as its supervisor sees it: a child process that is told once what to serve, reports once, and then serves
until it is told to end.

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

from dejavu_server.orders import WorkerOrder, WorkerReport
from dejavu_server.settings import Settings

START_SECONDS = 60.0
"""How long a worker may take to serve once it was told what."""


class StartError(Exception):
    """A worker, or the server, can't start; its text is for people."""


class WorkerProcess:
    """A worker's process; made by `spawn`.

    Attributes:
        slot: which of the server's workers it is; -1 for a spare.
        models: versions of its models, the active one first, once it serves.
        has_ledger: whether it had the ledger open as it came to serve.
        serves: whether it came to serve, …
        serves_since: … and when, by the monotonic clock.
        asked: whether it was asked to end.
    """

    def __init__(self, process: Process, report: int, report_to: int) -> None:
        self._process = process
        self._report = report
        self._report_to = report_to
        self.slot = -1
        self.models: tuple[str, ...] = ()
        self.has_ledger = False
        self.serves = False
        self.serves_since = 0.0
        self.asked = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

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
            StartError: if it says that it can't, dies before it says anything, or takes too long.
        """
        self.slot = slot
        if self._process.stdin is not None:
            order = WorkerOrder(settings, slot, self._report_to, make_ledger)
            self._process.stdin.write(f"{order.to_json()}\n".encode())
            self._process.stdin.close()
        reader = asyncio.StreamReader()
        pipe, self._report = os.fdopen(self._report, "rb"), -1
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await reader.readline()
                code = None if line else await self.wait()
        except TimeoutError:
            raise StartError(f"a worker did not serve within {START_SECONDS:g} s") from None
        finally:
            transport.close()
        if code is not None:
            raise StartError(f"a worker ended before it served: {ending(code)}")
        report = WorkerReport.from_json(line.decode())
        if report.refusal:
            raise StartError(report.refusal)
        if self.ended:
            raise StartError(f"a worker ended as it began to serve: {ending(await self.wait())}")
        self.models, self.has_ledger = report.models, report.ledger
        self.serves, self.serves_since = True, time.monotonic()

    async def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        code = await self._process.wait()
        if self._report >= 0:  # a spare that was never told anything
            os.close(self._report)
            self._report = -1
        return code

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
