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
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
DRAIN_SECONDS = 20.0


class ServerNotStarted(Exception):
    """The server exited or timed out before it served. The message contains the end of its log."""


class LedgerInvalid(Exception):
    """`dejavu-server ledger verify` found that a ledger is not valid, or could not read it; the message says why."""


@asynccontextmanager
async def running_server(*arguments: str) -> AsyncIterator[str]:
    """Runs a server on a free port of 127.0.0.1. Yields its address once it serves, and drains it on exit.

    Settings come only from the arguments: DEJAVU_* environment variables, meant for other servers, are not passed on.
    The server has no standby worker: it runs for a minute, and one takes a second of CPU to load.

    Raises:
        ServerNotStarted: if it does not start to serve.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEJAVU_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dejavu_server", "--listen", "127.0.0.1:0", "--log-format", "json", *arguments),
        stdin=DEVNULL,
        stderr=PIPE,
        start_new_session=True,  # keep Ctrl-C from the server: it is drained after everything else has ended
        env={**environment, "DEJAVU_STANDBY": "off"},
    )
    tail: deque[str] = deque(maxlen=20)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, tail, address))  # to its end: a full pipe would block the server
    try:
        either: list[asyncio.Future[Any]] = [address, reading]
        await asyncio.wait(either, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not address.done():
            raise ServerNotStarted("dejavu-server did not start:\n" + "\n".join(tail))
        yield address.result()
    finally:
        await _drain(process)
        await reading


async def verify_ledger(url: str, checkpoint: Path) -> dict[str, Any]:
    """Runs `dejavu-server ledger verify` against a checkpoint, while a server uses the ledger or not.

    Returns:
        What it found: counts by kind of entry, and whether it `failed`.

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
    """Appends the lines of the log to `tail`, and takes the address from its `listening` event."""
    assert process.stderr is not None  # noqa: S101 - it was started with a pipe
    async for raw in process.stderr:
        tail.append(raw.decode(errors="replace").rstrip())
        if not address.done():
            with suppress(ValueError):
                entry = json.loads(tail[-1])
                if isinstance(entry, dict) and entry.get("event") == "listening":
                    address.set_result(str(entry["address"]))


async def _drain(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
