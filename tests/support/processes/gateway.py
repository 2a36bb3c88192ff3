"""A `dejavu-dashboard` process, and browsers that follow its events.

with spawned_gateway("--target", address) as gateway: …     # gateway.address, gateway.process, gateway.wait_for
async with following(gateway.address) as browser: …         # browser.sequences, browser.until(…)
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from tests.support.processes.servers import SpawnedServer

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
