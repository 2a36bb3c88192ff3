"""Runs a `dejavu-server` as a child process: starts it, waits until it serves, drains it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

START_SECONDS = 60.0
DRAIN_SECONDS = 20.0


class ServerNotStarted(Exception):
    """The server exited or timed out before it served. The message contains the end of its log."""


@asynccontextmanager
async def running_server(*arguments: str) -> AsyncIterator[str]:
    """Runs a server on a free port of 127.0.0.1. Yields its address once it serves, and drains it on exit.

    Settings come only from the arguments: DEJAVU_* environment variables, meant for other servers, are not passed on.

    Raises:
        ServerNotStarted: if it does not start to serve.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dejavu_server", "--listen", "127.0.0.1:0", "--log-format", "json", *arguments),
        stdin=DEVNULL,
        stderr=PIPE,
        start_new_session=True,  # keep Ctrl-C from the server: it is drained after everything else has ended
        env={name: value for name, value in os.environ.items() if not name.startswith("DEJAVU_")},
    )
    tail: deque[str] = deque(maxlen=20)
    reading: asyncio.Task[None] | None = None
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                address = await _wait_for_address(process, tail)
        except TimeoutError:
            address = None
        if address is None:
            raise ServerNotStarted("dejavu-server did not start:\n" + "\n".join(tail))
        reading = asyncio.create_task(_discard_log(process, tail))  # a full pipe would block the server
        yield address
    finally:
        await _drain(process)
        if reading is not None:
            await reading


async def _wait_for_address(process: Process, tail: deque[str]) -> str | None:
    """Returns the address in the log's `listening` event; None if the log ends without one."""
    async for line in _lines(process, tail):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("event") == "listening":
                return str(entry["address"])
    return None


async def _discard_log(process: Process, tail: deque[str]) -> None:
    async for _ in _lines(process, tail):
        pass


async def _lines(process: Process, tail: deque[str]) -> AsyncIterator[str]:
    if process.stderr is None:
        raise RuntimeError("the server was started without a stderr pipe")
    async for raw in process.stderr:
        tail.append(raw.decode(errors="replace").rstrip())
        yield tail[-1]


async def _drain(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
