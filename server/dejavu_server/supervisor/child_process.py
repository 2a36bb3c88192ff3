"""Processes that become workers: started with a new interpreter, or forked by the fork server.

The supervisor is a subreaper: it also becomes the parent of orphans of a worker or the fork server. Each worker and the
fork server lead a process group, which identifies their orphans (and only the supervisor gets the terminal's Ctrl-C).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REAP_SECONDS = (0.01, 1.0)
"""First and longest pause between two checks of a process group's leftovers."""


class ForkedProcess:
    """A process that was forked by another process, and whose parent this process became.

    It has the interface of `asyncio.subprocess.Process`: `returncode` is None until the end of the process is known.

    Args:
        pid: its process id.

    Raises:
        OSError: if there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._on_end)

    async def wait(self) -> int:
        """Wait until the process ends; return the exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # reported as asyncio does for a child that someone else has waited for
            self.returncode = 255
        self._ended.set_result(self.returncode)


@dataclass
class Launched:
    """A process that waits for its start message.

    Attributes:
        process: the process.
        start: writing end of its standard input.
        report: reading end of the pipe for its status and heartbeats.
        report_to: the number that the writing end has in the process.
    """

    process: asyncio.subprocess.Process | ForkedProcess
    start: int
    report: int
    report_to: int

    def close(self) -> None:
        """Close the descriptors that are still open; if the process still waits for its start message, it ends."""
        for name in ("start", "report"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


@contextlib.contextmanager
def launch_pipes() -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Create the pipes of a process that the block launches.

    Yields:
        The descriptors that this process keeps (writing end of the other's standard input, reading end of its report),
        and those of the other process (its standard input, writing end of its report). The latter are closed after the
        block, all of them if it raises.

    Raises:
        OSError: if there are too many open files.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        start, start_to = os.pipe()
        theirs.callback(os.close, start)
        ours.callback(os.close, start_to)
        report, report_to = os.pipe()
        theirs.callback(os.close, report_to)
        ours.callback(os.close, report)
        yield (start_to, report), (start, report_to)
        ours.pop_all()


async def launch(environment: Mapping[str, str]) -> Launched:
    """Start a new interpreter that does its imports and wait for its start message.

    Args:
        environment: its environment variables.

    Raises:
        OSError: if no process can be started.
    """
    with launch_pipes() as (ours, (stdin, report_to)):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # never import modules from the working directory
            "-m",
            "dejavu_server.worker_main",
            str(os.getpid()),
            stdin=stdin,
            pass_fds=(report_to,),
            process_group=0,
            env=environment,
        )
    return Launched(process, *ours, report_to)


async def reap_group(leader: int) -> None:
    """Wait for all children of this process in the group of an ended process; return when none are left.

    Args:
        leader: process id of the ended process, which was already waited for.
    """
    pause, longest = _REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-leader, os.WNOHANG)[0] == 0:  # noqa: ASYNC222 - does not wait
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
