"""Runs a `dejavu-server`, or the page, as a child process: starts it, waits until it serves, drains it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import webbrowser
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
DRAIN_SECONDS = 20.0


class ServerNotStarted(Exception):
    """The server exited or timed out before it served. The message contains the end of its log."""


class PageNotStarted(Exception):
    """The page's gateway exited or timed out before it served. The message contains the end of its log."""


class LedgerInvalid(Exception):
    """`dejavu-server ledger verify` found that a ledger is not valid, or could not read it; the message says why."""


@asynccontextmanager
async def running_server(*arguments: str) -> AsyncIterator[str]:
    """Run a server on a free port of 127.0.0.1; yield its address once it serves, and drain it on exit.

    Settings come only from the arguments: DEJAVU_* environment variables, meant for other servers, are not passed on.
    There is no fork server, which would replace dead workers sooner, because the server runs for only a minute.

    Raises:
        ServerNotStarted: if it does not start to serve.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEJAVU_")}
    command = ("dejavu_server", "--listen", "127.0.0.1:0", "--log-format", "json", *arguments)
    try:
        async with _running(command, {**environment, "DEJAVU_STANDBY": "off"}) as address:
            yield address
    except _NotStarted as error:
        raise ServerNotStarted(f"dejavu-server did not start:\n{error}") from None


@asynccontextmanager
async def running_page(target: str, *arguments: str) -> AsyncIterator[str]:
    """Run the page of a server; yield its URL once it serves, and drain it on exit.

    Raises:
        PageNotStarted: if the extra `dashboard` is not installed, or the page does not start to serve.
    """
    missing = [name for name in ("starlette", "uvicorn", "websockets") if find_spec(name) is None]
    if missing:
        needs = f"the page needs {', '.join(missing)}, not installed: pip install 'dejavu-forecast[dashboard]'"
        raise PageNotStarted(needs)
    command = ("dejavu_gateway", "--target", target, "--log-format", "json", "--log-level", "info", *arguments)
    try:
        async with _running(command, dict(os.environ)) as address:
            yield f"http://{address}/"
    except _NotStarted as error:
        raise PageNotStarted(f"dejavu-dashboard did not start:\n{error}") from None


class _NotStarted(Exception):
    """A child process exited or timed out before it served; the message is the end of its log."""


@asynccontextmanager
async def _running(command: tuple[str, ...], environment: dict[str, str]) -> AsyncIterator[str]:
    """Run a module as a child process; yield the address of its `listening` event.

    Raises:
        _NotStarted: if there is no such event in time.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        stdin=DEVNULL,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C does not reach it: it is drained last
        env=environment,
    )
    tail: deque[str] = deque(maxlen=20)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, tail, address))  # to the end: a full pipe would block the server
    try:
        either: list[asyncio.Future[Any]] = [address, reading]
        await asyncio.wait(either, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not address.done():
            raise _NotStarted("\n".join(tail))
        yield address.result()
    finally:
        await _drain(process)
        await reading


def open_page(url: str) -> None:
    """Open a page in the user's browser, if there is a screen: a text browser would take over the terminal."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        threading.Thread(target=webbrowser.open, args=(url,), name="open-page", daemon=True).start()


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
