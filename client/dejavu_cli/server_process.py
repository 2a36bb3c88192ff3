"""Runs a `dejavu-server`, or the page, as a child process: starts it, waits until it serves, drains it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import webbrowser
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from dejavu_common.build import install
from dejavu_common.clock import Backoff

START_SECONDS = 60.0
DRAIN_SECONDS = 20.0
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0


class NotStarted(Exception):
    """A server or the page exited or timed out before it served. The message contains the end of its log."""


class LedgerInvalid(Exception):
    """`dejavu-server ledger verify` found that a ledger is not valid, or could not read it; the message says why."""


@asynccontextmanager
async def running_server(*arguments: str) -> AsyncIterator[str]:
    """Run a server on a free port of 127.0.0.1; yield its address once it serves, and drain it on exit.

    Settings come only from the arguments: DEJAVU_* environment variables, meant for other servers, are not passed on.
    There is no fork server, which would replace dead workers sooner, because the server runs for only a minute.

    Raises:
        NotStarted: if it does not start to serve.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEJAVU_")}
    command = ("dejavu_server", "--listen", "127.0.0.1:0", "--log-format", "json", *arguments)
    child = await _Child.start("dejavu-server", command, {**environment, "DEJAVU_STANDBY": "off"})
    try:
        yield child.address
    finally:
        await child.drain()


@asynccontextmanager
async def running_page(target: str, *arguments: str, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Keep the page of a server running, and open it; drain it on exit.

    It is started again whenever it ends or does not start, and never stops its caller.

    Args:
        target: address of the server.
        arguments: options of `dejavu-dashboard`.
        tell: called with a sentence when it serves, when it ends, and once for each reason why it does not start.
    """
    missing = [name for name in ("starlette", "uvicorn", "websockets") if find_spec(name) is None]
    if missing:
        tell(f"The page needs {', '.join(missing)}, not installed: {install('dashboard')}")
        yield
        return
    command = ("dejavu_gateway", "--target", target, "--log-format", "json", "--log-level", "info", *arguments)
    keeping = asyncio.create_task(_keep_page(command, tell))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep_page(command: tuple[str, ...], tell: Callable[[str], None]) -> None:
    """Keep the page running until cancelled, from its first start on at the same address."""
    backoff, address, reported = Backoff(FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS), "", ""
    while True:
        listen = ("--listen", address) if address else ()
        try:
            child = await _Child.start("dejavu-dashboard", (*command, *listen), dict(os.environ))
        except (NotStarted, OSError) as error:
            reason = str(error).rpartition("\n")[2]
            if reason != reported:
                tell(f"The page does not start, and is tried again: {reason}")
            reported = reason
        else:
            reported, began = "", time.monotonic()
            tell(f"Page at http://{child.address}/")
            # A browser opens it if there is a screen: a text browser would take over the terminal.
            if not address and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                page = (f"http://{child.address}/",)
                threading.Thread(target=webbrowser.open, args=page, name="open-page", daemon=True).start()
            address = child.address
            try:
                code = await child.wait()
            except asyncio.CancelledError:
                await child.drain()
                raise
            if time.monotonic() - began > LONGEST_RESTART_SECONDS:
                backoff.reset()
            tell(f"The page ended (exit code {code}); it is started again.")
        await asyncio.sleep(backoff.next())


class _Child:
    """A module that runs as a child process, ends with this one, and serves.

    Attributes:
        address: where it serves.
    """

    def __init__(self, process: Process, reading: asyncio.Task[None], address: str) -> None:
        self._process = process
        self._reading = reading
        self.address = address

    @classmethod
    async def start(cls, name: str, command: tuple[str, ...], environment: dict[str, str]) -> Self:
        """Start it; return once its log has a `listening` event.

        Raises:
            NotStarted: if there is no such event in time.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dejavu_cli.child", str(os.getpid()), *command),
            stdin=DEVNULL,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C does not reach it: it is drained last
            env=environment,
        )
        tail: deque[str] = deque(maxlen=20)
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # To the end: a full pipe would block the process.
        reading = asyncio.create_task(_read_log(process, tail, address))
        try:
            either: list[asyncio.Future[Any]] = [address, reading]
            await asyncio.wait(either, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not address.done():
                raise NotStarted("\n".join([f"{name} did not start:", *(tail or ["it did not serve in time"])]))
        except (asyncio.CancelledError, NotStarted):
            await cls(process, reading, "").drain()
            raise
        return cls(process, reading, address.result())

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        await asyncio.wait([self._reading])  # which goes on if this is cancelled
        return await self._process.wait()

    async def drain(self) -> None:
        """End it: by force, if it does not end in time."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.wait([self._reading])


async def verify_ledger(url: str, checkpoint: Path) -> dict[str, Any]:
    """Run `dejavu-server ledger verify` against a checkpoint, whether or not a server is using the ledger.

    Returns:
        Result of the verification: counts by kind of entry, and whether it `failed`.

    Raises:
        LedgerInvalid: if the ledger is not valid.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dejavu_server", "ledger", "verify", "--json"),
        *("--ledger", url, "--checkpoint", str(checkpoint)),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise LedgerInvalid(f"the record is not valid: {(output or errors).decode(errors='replace').strip()}")
    result: dict[str, Any] = json.loads(output)
    return result


async def _read_log(process: Process, tail: deque[str], address: asyncio.Future[str]) -> None:
    """Append the lines of the log to `tail`, and take the address from its `listening` event."""
    assert process.stderr is not None  # noqa: S101 - it was started with a pipe
    while True:
        try:
            raw = await process.stderr.readline()
        except ValueError:  # a line beyond the limit of the reader, which drops it
            continue
        if not raw:
            return
        tail.append(raw.decode(errors="replace").rstrip())
        if not address.done():
            with suppress(ValueError):
                entry = json.loads(tail[-1])
                if isinstance(entry, dict) and entry.get("event") == "listening":
                    address.set_result(str(entry["address"]))
