"""A `dejavu-dashboard` process, a relay before it, and browsers that follow its events.

with spawned_gateway("--target", address) as gateway: …     # gateway.address, gateway.process, gateway.wait_for
async with following(gateway.address) as browser: …         # browser.sequences, browser.until(…)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import httpx
from tests.support.processes.servers import SpawnedServer

from dejavu_common.address import Address

SECONDS = 60.0


@contextmanager
def spawned_gateway(*args: str, environment: dict[str, str] | None = None) -> Iterator[SpawnedServer]:
    """Runs a gateway on a free port of 127.0.0.1, unless the arguments name another address."""
    listen = () if "--listen" in args else ("--listen", "127.0.0.1:0")
    process = subprocess.Popen(
        [sys.executable, "-m", "dejavu_gateway", *listen, "--log-format", "json", *args],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
        env={**os.environ, **(environment or {})},
    )
    gateway = SpawnedServer(process)
    try:
        yield gateway
    finally:
        gateway.close()


class SilencingRelay:
    """Passes on what browsers and a gateway say, until it lets the live streams that are open fall silent.

    A context manager, in threads: a proxy, or a network that lost its state, which closes nothing.

    Args:
        address: HOST:PORT of the gateway.

    Attributes:
        address: HOST:PORT of the relay.
    """

    def __init__(self, address: str) -> None:
        self._to = Address.parse(address)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._sockets = list[socket.socket]()
        self._streams = set[socket.socket]()
        self._silent = set[socket.socket]()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def fall_silent(self) -> None:
        """Passes on nothing any more over the connections of streams that are open; other connections work."""
        self._silent.update(self._streams)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listening.accept()
                gateway = socket.create_connection(self._to)
                self._sockets += (browser, gateway)
                for read, write in ((browser, gateway), (gateway, browser)):
                    threading.Thread(target=self._pass_on, args=(read, write), daemon=True).start()

    def _pass_on(self, read: socket.socket, write: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := read.recv(65536):
                if data.startswith(b"GET /api/stream"):
                    self._streams.update((read, write))
                if read not in self._silent:
                    write.sendall(data)
            write.shutdown(socket.SHUT_WR)


class FollowingBrowser:
    """Follows a gateway's server-sent events as a browser does: after a lost connection it resumes by the last id.

    Attributes:
        sequences: sequences of all events, in the order in which they came.
        texts: their data.
        statuses: all statuses.
        resets: all resets.
        last_id: the last id.
        connections: number of connections so far.
    """

    def __init__(self, address: str, query: str = "") -> None:
        self._url = f"http://{address}/api/stream{query}"
        self.sequences: list[int] = []
        self.texts: list[str] = []
        self.statuses: list[dict[str, Any]] = []
        self.resets: list[dict[str, Any]] = []
        self.last_id = ""
        self.connections = 0
        self._more = asyncio.Condition()

    async def until(self, holds: Callable[[FollowingBrowser], bool]) -> None:
        """Waits until something holds."""
        async with asyncio.timeout(SECONDS), self._more:
            await self._more.wait_for(lambda: holds(self))

    async def follow(self) -> None:
        """Follows until cancelled."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(SECONDS)) as client:
            while True:
                headers = {"last-event-id": self.last_id} if self.last_id else {}
                try:
                    async with client.stream("GET", self._url, headers=headers) as response:
                        assert response.status_code == 200, await response.aread()
                        self.connections += 1
                        await self._read(response)
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def _read(self, response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if not line:
                async with self._more:
                    self._dispatch(fields)
                    self._more.notify_all()
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")

    def _dispatch(self, fields: dict[str, str]) -> None:
        self.last_id = fields.get("id", self.last_id)
        data = fields.get("data")
        if data is None:
            return
        value = json.loads(data)
        match fields["event"]:
            case "prediction":
                self.sequences.append(int((value.get("forecast") or value["outcome"])["sequence"]))
                self.texts.append(data)
            case "status":
                self.statuses.append(value)
            case "reset":
                self.resets.append(value)


@asynccontextmanager
async def following(address: str, query: str = "") -> AsyncIterator[FollowingBrowser]:
    """Runs a browser, which is at a position of the stream when the block begins."""
    browser = FollowingBrowser(address, query)
    task = asyncio.create_task(browser.follow())
    try:
        await browser.until(lambda each: bool(each.last_id) or task.done())
        yield browser
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
