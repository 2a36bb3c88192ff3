"""A worker as its supervisor sees it: a child process that reports once, and then serves until it is told to end.

A plain subprocess rather than a fork: nothing of the supervisor's threads and files gets into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Self

from dejavu_server.orders import WorkerOrder, WorkerReport
from dejavu_server.settings import Settings

START_SECONDS = 60.0
"""How long a worker may take to report."""


class StartError(Exception):
    """A worker, or the server, can't start; its text is for people."""


class WorkerProcess:
    """A worker's process; made by `start`.

    Attributes:
        address: where it serves, once it does.
    """

    def __init__(self, process: Process, report: int) -> None:
        self._process = process
        self._report = report
        self.address = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    async def start(cls, slot: int, settings: Settings, environment: Mapping[str, str]) -> Self:
        """Starts a worker and tells it what to do.

        Raises:
            StartError: if no process can be started.
        """
        try:
            report, write_end = os.pipe()
        except OSError as error:
            raise StartError(f"cannot start a process: {error.strerror}") from error
        order = WorkerOrder(settings, slot, os.getpid(), write_end)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the working directory is none of its imports
                "-m",
                "dejavu_server.worker",
                stdin=PIPE,
                pass_fds=(write_end,),
                process_group=0,  # the terminal's Ctrl-C is for the supervisor alone
                env=environment,
            )
        except OSError as error:
            os.close(report)
            raise StartError(f"cannot start a process: {error.strerror}") from error
        finally:
            os.close(write_end)
        if process.stdin is not None:
            process.stdin.write(f"{order.to_json()}\n".encode())
            process.stdin.close()
        return cls(process, report)

    async def serving(self) -> None:
        """Returns once it serves.

        Raises:
            StartError: if it says that it can't, dies before it says anything, or takes too long.
        """
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._report, "rb")
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await reader.readline()
        except TimeoutError:
            raise StartError(f"a worker did not serve within {START_SECONDS:g} s") from None
        finally:
            transport.close()
        if not line:
            raise StartError(f"a worker ended before it served: {ending(await self.wait())}")
        report = WorkerReport.from_json(line.decode())
        if report.refusal:
            raise StartError(report.refusal)
        self.address = report.address

    async def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        return await self._process.wait()

    def drain(self) -> None:
        """Asks it to finish what it does and end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it may reap a process that has just died, and then nobody learns how it ended.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
