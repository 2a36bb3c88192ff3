"""Fork server as its supervisor sees it: a process from which workers are forked, and the loop that keeps one running.

The fork server has done the imports and loaded the bundles, so a forked worker serves at once and shares its memory.
Without a fork server (after its death, in an older installed release, on a platform without subreapers), each worker is
a new interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import structlog

from dejavu_common.processes import become_subreaper
from dejavu_server.settings import Settings
from dejavu_server.supervisor.child_process import ForkedProcess, Launched, launch_pipes, reap_group
from dejavu_server.supervisor.fork_server_process import ForkServerProcess, launch
from dejavu_server.supervisor.protocol import MAX_MESSAGE, ForkReply, ForkServerStart
from dejavu_server.supervisor.restart_backoff import RestartBackoff
from dejavu_server.supervisor.worker_process import START_SECONDS, StartError, describe_exit

FORK_SECONDS = 10.0
"""Time limit for a fork, which takes some milliseconds."""

_log = structlog.get_logger(__name__)


class ForkServer:
    """A fork server's process; created by `spawn`, or from a process that was started already.

    Args:
        launched: the process.
        start: its start message.

    Raises:
        OSError: if the process cannot be watched.
    """

    def __init__(self, launched: ForkServerProcess, start: ForkServerStart) -> None:
        self._process = ForkedProcess(launched.pid)
        self._control = launched.control
        self._control.setblocking(False)
        with contextlib.suppress(ConnectionError):  # it has ended, as `ready` will say
            self._control.send(start.to_json().encode())
        self._forking = asyncio.Lock()
        self._abandoned = set[asyncio.Task[None]]()
        self._ended = asyncio.create_task(self._wait(), name=f"fork-server-{launched.pid}")
        self.is_ready = False
        """Whether the fork server has reported that it can fork."""

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @classmethod
    def spawn(cls, start: ForkServerStart, environment: Mapping[str, str]) -> Self:
        """Start a process that does its imports and loads the bundles.

        Args:
            start: its start message.
            environment: environment variables of the process and of all workers that it forks.

        Raises:
            StartError: if no process can be started.
        """
        try:
            return cls(launch(environment), start)
        except OSError as error:
            raise StartError(f"cannot start a process: {error.strerror}") from error

    async def ready(self) -> None:
        """Wait until it can fork.

        Raises:
            StartError: if it ends before that, cannot fork, or takes too long; it is then ended.
        """
        try:
            async with self._forking, asyncio.timeout(START_SECONDS):
                reply = await self._reply()
            if not reply:
                raise StartError(f"the fork server ended before it could fork: {describe_exit(await self.wait())}")
            if refusal := ForkReply.from_json(reply.decode()).refusal:
                raise StartError(refusal)
        except TimeoutError:
            await self.end()
            raise StartError(f"the fork server could not fork within {START_SECONDS:g} s") from None
        except StartError:
            await self.end()
            raise
        self.is_ready = True

    async def fork(self) -> Launched:
        """Fork a process that waits for its start message.

        Raises:
            StartError: if it cannot; a fork server that does not answer is killed.
        """
        forking = asyncio.create_task(self._fork())
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            # A process that is forked nevertheless must be reaped. It ends because it gets no start message.
            abandoning = asyncio.create_task(_abandon(forking))
            self._abandoned.add(abandoning)
            abandoning.add_done_callback(self._abandoned.discard)
            raise

    async def _fork(self) -> Launched:
        try:
            async with self._forking:
                with launch_pipes() as (ours, theirs):
                    reply = await self._request_fork(theirs)
                    process = _adopted(reply.pid)
        except OSError as error:
            raise StartError(f"cannot start a process: {error.strerror}") from error
        return Launched(process, *ours, reply.files[1])

    async def _request_fork(self, files: Sequence[int]) -> ForkReply:
        try:
            socket.send_fds(self._control, [b"fork"], files)  # a single request always finds room in the socket
            async with asyncio.timeout(FORK_SECONDS):
                reply = await self._reply()
        except TimeoutError:
            self.kill()
            raise StartError(f"the fork server did not fork within {FORK_SECONDS:g} s") from None
        except OSError as error:
            raise StartError(f"the fork server cannot be reached: {error.strerror}") from error
        if not reply:
            raise StartError("the fork server has ended")
        answer = ForkReply.from_json(reply.decode())
        if not answer.pid:
            raise StartError(answer.refusal)
        return answer

    async def _reply(self) -> bytes:
        """Return the next message of the fork server; an empty one if it has ended."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._control, MAX_MESSAGE)
        except ConnectionError:
            return b""

    async def wait(self) -> int:
        """Wait until it and its leftovers have ended; return the exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def _wait(self) -> int:
        code = await self._process.wait()
        await reap_group(self.pid)
        async with self._forking:  # its last reply may still be read
            self._control.close()
        return code

    def kill(self) -> None:
        """Kill it at once; its workers continue, because they are not its children."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it and wait for its end."""
        self.kill()
        await self.wait()


def _adopted(pid: int) -> ForkedProcess:
    """Return a forked process, which leads a group of its own: its orphans can be told from the fork server's.

    Raises:
        StartError: if it is no child of this process.
    """
    try:
        os.setpgid(pid, pid)
        return ForkedProcess(pid)
    except OSError as error:
        raise StartError(f"the forked process {pid} is no child: {error.strerror}") from error


async def _abandon(forking: asyncio.Task[Launched]) -> None:
    with contextlib.suppress(StartError):
        launched = await forking
        launched.close()
        await launched.process.wait()


async def _end(task: asyncio.Task[None] | None, server: ForkServer | None) -> None:
    """Cancel the task that keeps a fork server, and end the fork server."""
    if server is not None:
        server.kill()
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
    if server is not None:
        await server.end()


class ForkServers:
    """Keeps one fork server running, called the present one, from which all workers are forked.

    Args:
        settings: settings of the server.
        environment: environment variables of the processes.
        folder: folder of the server.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str], folder: Path) -> None:
        self._start = ForkServerStart(settings=settings, folder=str(folder))
        self._environment = environment
        self._present: ForkServer | None = None
        self._settled = asyncio.Event()
        self._keep_task: asyncio.Task[None] | None = None
        self._usable = False

    def enable(self, launched: ForkServerProcess | None) -> None:
        """Keep a fork server running from now on; replace one that dies. Does nothing where there can be none.

        Args:
            launched: process of the first one, if that was started already.
        """
        try:
            become_subreaper()
            os.close(os.pidfd_open(os.getpid()))
        except (OSError, AttributeError) as error:
            _log.warning("no_spare", reason=f"this system has no fork server: {error}")
            if launched is not None:
                launched.control.close()
            return
        self._usable = True
        self._keep(ForkServer(launched, self._start) if launched is not None else None)

    async def get(self) -> ForkServer | None:
        """Return the present fork server as soon as it can fork; None if there is none at the moment."""
        if self._keep_task is None:
            return None
        await self._settled.wait()
        return self._present if self._present is not None and self._present.is_ready else None

    async def start_new(self) -> ForkServer | None:
        """Start a second fork server, with the code and the bundles that are installed now.

        Returns:
            The new fork server as soon as it can fork; None if it cannot.
        """
        if not self._usable:
            return None
        try:
            server = ForkServer.spawn(self._start, self._environment)
            try:
                await server.ready()
            except asyncio.CancelledError:
                await server.end()
                raise
        except StartError as error:
            _log.warning("no_spare", reason=str(error), retry_seconds=0.0)
            return None
        return server

    async def adopt(self, server: ForkServer | None) -> None:
        """Replace the present fork server by `server`; start a new one if that is None."""
        if self._usable:
            task, previous = self._keep_task, self._present
            self._keep(server)  # before anything is awaited, so that a cancellation leaves no server unattended
            await _end(task, previous)

    async def disable(self) -> None:
        """End the fork server, and keep none until another one is adopted."""
        task, self._keep_task = self._keep_task, None
        server, self._present = self._present, None
        self._settled.set()
        await _end(task, server)

    def _keep(self, first: ForkServer | None) -> None:
        self._present = first
        if first is not None and first.is_ready:
            self._settled.set()
        else:
            self._settled.clear()
        self._keep_task = asyncio.create_task(self._keep_one(), name="fork-server")

    async def _keep_one(self) -> None:
        try:
            await self._keep_running()
        except Exception:
            _log.exception("no_spare", effect="dead workers are replaced by new interpreters")
            self._present = None
            self._settled.set()

    async def _keep_running(self) -> None:
        backoff = RestartBackoff()
        while True:
            started = time.monotonic()
            try:
                if self._present is None:
                    self._present = ForkServer.spawn(self._start, self._environment)
                if not self._present.is_ready:
                    await self._present.ready()
                    self._settled.set()
                details: dict[str, str | int] = {
                    "pid": self._present.pid,
                    "ending": describe_exit(await self._present.wait()),
                }
                self._settled.clear()  # a worker to replace now waits for the next fork server, which is about to start
            except StartError as error:
                details = {"reason": str(error)}
                self._settled.set()
            self._present = None
            delay = backoff.after(time.monotonic() - started)
            if delay:
                self._settled.set()
            _log.warning("no_spare", **details, retry_seconds=delay)
            await asyncio.sleep(delay)
            self._settled.clear()
